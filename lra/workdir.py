"""The folder of a run: who may write there, whose run it holds, and what is in it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lra.checkpoint import load_state, write_atomically
from lra.config import Config
from lra.devices import Devices
from lra.errors import CheckpointError
from lra.lock import locked
from lra.tasks import Task

LOCK, LAST = ".lock", "last.safetensors"


def restore(path: Path, template: Any, config: Config, task: Task, devices: Devices) -> tuple[Any, dict[str, Any]]:
    """Return state and info of a checkpoint of this very run, which the first process reads for all.

    Raises
    ------
    CheckpointError
        It is damaged, or of another config, or was trained on other data.
    """
    held = [template]

    def read() -> dict[str, Any]:
        held[0], info = load_state(path, template)
        _check_info(info, config, task, path)
        return info

    info = devices.lead(read)
    return devices.from_leader(held[0]), info


def _check_info(info: dict[str, Any], config: Config, task: Task, path: Path) -> None:
    """Compare the config and the data that a checkpoint remembers with those of the run."""
    mine = json.loads(json.dumps(task.facts()))
    try:
        held, facts, best = Config.from_dict(info["config"]), info["task"], info["best"]
        odd = [name for name in mine if name in facts and facts[name] != mine[name]]
        numbers = [info["seconds"], *(best[name] for name in ("accuracy", "loss", "epoch") if best is not None)]
        if not all(type(number) in (int, float) for number in numbers):
            raise TypeError(f"{numbers} are not all numbers")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged ({error!r}); use a new --workdir") from error
    require_same(held, config, path)
    if odd:
        raise CheckpointError(f"{path} was trained on data whose {odd[0]} differs; use the same --data to resume")


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


@contextlib.contextmanager
def claimed(workdir: Path, config: Config) -> Iterator[None]:
    """Make the folder that of a run of `config`, or check that it is; no other process can while this one holds it.

    Raises
    ------
    BusyError
        Another process trains there.
    CheckpointError
        The folder holds a run of another config, or its ``config.json`` is damaged.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with locked(workdir / LOCK, wait=False, purpose="a training, "):
        _check_config(workdir / "config.json", config)
        yield


def _check_config(path: Path, config: Config) -> None:
    if path.exists():
        try:
            held = Config.from_dict(json.loads(path.read_text()))  # keys younger than the run have their defaults
        except (ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path} is damaged ({error}); use a new --workdir") from error
        if not (path.parent / LAST).exists():  # nothing has come of it: the file may have been refused
            held = held.replace(start=config.start)
        require_same(held, config, path.parent)
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
