"""The data sets: one file each; `load_task` finds them by name."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from lra.errors import ConfigError
from lra.tasks.digits import load_digits
from lra.tasks.image import load_image
from lra.tasks.listops import load_listops
from lra.tasks.pathfinder import load_pathfinder
from lra.tasks.retrieval import load_retrieval
from lra.tasks.smnist import load_smnist
from lra.tasks.speech import load_speech, load_speech_mulaw
from lra.tasks.task import Split, Task
from lra.tasks.text import load_text

TASKS: dict[str, Callable[..., Task]] = {
    "digits": load_digits,
    "smnist": load_smnist,
    "psmnist": functools.partial(load_smnist, permuted=True),
    "listops": load_listops,
    "listops_short": functools.partial(load_listops, L=512, folder="listops-short"),
    "text": load_text,
    "retrieval": load_retrieval,
    "image": load_image,
    "scifar": functools.partial(load_image, colour=True),
    "pathfinder": load_pathfinder,
    "pathx": functools.partial(load_pathfinder, resolution=128),
    "speech35": load_speech,
    "speech35_half": functools.partial(load_speech, half_rate=True),
    "speech8": load_speech_mulaw,
}

__all__ = ["TASKS", "Split", "Task", "load_task"]


def load_task(name: str, path: str | None = None, options: Mapping[str, Any] | None = None) -> Task:
    """Return the task called `name`, its data read from `path` (default: the environment variable LRA_DATA).

    Parameters
    ----------
    options : mapping, optional
        Keyword arguments of the task's loader: a length, a subset of words, a rate. The task remembers them, so that
        an exported model is measured on the data that it was trained for.

    Raises
    ------
    ConfigError
        No such task, or the task has no such option.
    DataError
        Missing or damaged data.
    """
    if name not in TASKS:
        raise ConfigError(f"no task named {name!r}; there are {', '.join(sorted(TASKS))}")
    options = dict(options or {})
    known = sorted(set(inspect.signature(TASKS[name]).parameters) - {"path"})
    for key in options:
        if key not in known:
            raise ConfigError(f"task {name!r} has no option {key!r}; its options are {', '.join(known) or 'none'}")
    return dataclasses.replace(TASKS[name](path, **options), name=name, options=options)
