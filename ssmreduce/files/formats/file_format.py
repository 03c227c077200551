"""The idea of a container: bytes in, a tree of arrays out, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

LEFT_OUT = "left_out"
"""Under which name a container's record says what of the file was not read and will not be written."""


class Held(NamedTuple):
    """What a file holds: arrays, keys as they were, and the container's own record of texts."""

    tree: Mapping[str, Any]
    record: Mapping[str, str]


class FileFormat(Protocol):
    """One container of arrays.

    Attributes
    ----------
    name, suffix, title : str
        Key in :data:`FILE_FORMATS`; how its files end; what to call it.
    aliases : tuple of str
        How else they end.
    """

    name: str
    suffix: str
    title: str
    aliases: tuple[str, ...]

    def recognizes(self, head: bytes) -> bool:
        """Whether a file that begins with `head` is of this kind; nobody asks for its suffix."""
        ...

    def read(self, data: bytes, path: Path) -> Held:
        """Read a whole file.

        Raises
        ------
        CheckpointError
            Damaged, or not what it seemed.
        """
        ...

    def write(self, tree: Mapping[str, Any], record: Mapping[str, str]) -> bytes:
        """Return the file's content: the same arrays give the same bytes. It carries their digest where it can.

        Raises
        ------
        InputError
            The container cannot hold what the tree holds.
        """
        ...


class FolderFormat(Protocol):
    """One container that is a folder of files; attributes as of :class:`FileFormat`."""

    name: str
    suffix: str
    title: str
    aliases: tuple[str, ...]

    def recognizes(self, folder: Path) -> bool:
        """Whether a folder is of this kind, by the names in it."""
        ...

    def read(self, folder: Path, step: int | None = None) -> Held:
        """Read a folder; of several steps in it the asked one, or the newest.

        Raises
        ------
        CheckpointError
            Damaged, there is no such step, or what reads it is not installed.
        """
        ...

    def write(self, tree: Mapping[str, Any], record: Mapping[str, str]) -> dict[str, bytes]:
        """Return the files of the folder, by their paths in it.

        Raises
        ------
        InputError
            The container cannot hold what the tree holds.
        """
        ...


CONVERT = (
    "Pickles run code when they are read, so this project never does. In an environment that you trust, convert it: "
    "safetensors.numpy.save_file(dict_of_arrays, 'model.safetensors') or numpy.savez, or safetensors.torch.save_file "
    "for a PyTorch state dict"
)
"""What to do with a pickle."""

CONVERT_TORCH = (
    "Pickles run code when they are read, so this project reads none itself. Where torch is installed, load has torch "
    "read the weights and nothing else; or convert it there: "
    "c = torch.load(FILE, map_location='cpu', weights_only=True); sd = c.get('model', c.get('state_dict', c)); "
    "safetensors.torch.save_file({k: v.contiguous() for k, v in sd.items()}, 'model.safetensors')"
)
"""What to do with a PyTorch checkpoint: a whole state, a Lightning file or a state dict."""
