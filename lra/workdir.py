"""The folder of a run: who may write there, whose run it holds, and what is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lra.checkpoint import load_state, write_atomically
from lra.config import Config
from lra.devices import Devices
from lra.errors import CheckpointError


def restore(path: Path, template: Any, devices: Devices) -> tuple[Any, dict[str, Any]]:
    """Return state and info of a checkpoint that the first process reads for all."""
    held = [template]

    def read() -> dict[str, Any]:
        held[0], info = load_state(path, template)
        return info

    info = devices.lead(read)
    return devices.from_leader(held[0]), info


def read_result(workdir: Path) -> dict[str, Any] | None:
    """Return best epoch, validation and test figures of a finished run; `None` while it goes on.

    Raises
    ------
    CheckpointError
        ``result.json`` is damaged.
    """
    path = workdir / "result.json"
    if not path.exists():
        return None
    try:
        result = json.loads(path.read_text())
        return {name: result[name] for name in ("best_epoch", "validation", "test")}
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error!r}); remove it to test again") from error


def claim(workdir: Path, config: Config) -> None:
    """Make the folder that of a run of `config`, or check that it is.

    Raises
    ------
    CheckpointError
        The folder holds a run of another config, or its ``config.json`` is damaged.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / "config.json"
    if path.exists():
        try:
            held = Config.from_dict(json.loads(path.read_text()))  # keys younger than the run have their defaults
        except (ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path} is damaged ({error}); use a new --workdir") from error
        require_same(held, config, workdir)
    write_atomically(path, (json.dumps(config.to_dict(), indent=2) + "\n").encode())


def require_same(held: Config, config: Config, where: Path) -> None:
    """Refuse to go on where a run of another config is; keys that do not decide its outcome may differ."""
    theirs, mine = held.flat(), config.flat()
    odd = sorted(key for key in mine if key not in _FREE_KEYS and theirs[key] != mine[key])
    if odd:
        raise CheckpointError(
            f"{where} holds a run whose {odd[0]} is {theirs[odd[0]]!r}, not {mine[odd[0]]!r}; "
            "use a new --workdir, or the same config to resume"
        )


_FREE_KEYS = ("data", "log_every", "checkpoint_every", "eval_batch_size")  # may change when a run is resumed
