"""The trained models that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from theory.errors import InputError

SHIPPED = ("smnist_s5", "digits_s5")
"""By preference."""


def shipped_checkpoint(name: str | None = None) -> Path:
    """Path of a trained model that comes with the package.

    Parameters
    ----------
    name : str, optional
        One of :data:`SHIPPED`; the first that is present when left out.

    Raises
    ------
    InputError
        There is no such model.
    """
    folder = Path(str(resources.files("ssmreduce"))) / "checkpoints"
    present = sorted(path.stem for path in folder.glob("*.safetensors")) if folder.is_dir() else []
    wanted = [name] if name is not None else [*(known for known in SHIPPED if known in present), *present]
    if not wanted or wanted[0] not in present:
        raise InputError(f"no shipped model {name or ''!r}; there are: {', '.join(present) or 'none'}")
    return folder / f"{wanted[0]}.safetensors"
