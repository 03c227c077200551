"""Time and memory of one call, in a child process of its own, so that no call sees another's caches or peak."""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The fastest of `repeats` calls.

    `wall` and `cpu` are seconds, `memory` is what the peak of the resident set during the calls lies above the set
    before them, in MiB, `load` the machine's one-minute load before it, `answer` what the call returned (numbers only),
    `failure` the error that it raised.
    """

    wall: float | None
    cpu: float | None
    memory: float | None
    load: float
    repeats: int
    answer: Any = None
    failure: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Everything but the answer, for JSON."""
        fields = asdict(self)
        fields.pop("answer")
        return fields


def measure(call: Callable[[], Any], repeats: int = 1, warm_up: Callable[[], Any] | None = None) -> Measurement:
    """Measure `call` in a forked child; `warm_up` runs there first, untimed."""
    load = os.getloadavg()[0]
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(call, repeats, warm_up, send))
    child.start()
    send.close()
    try:
        wall, cpu, memory, answer, failure = receive.recv()
    except EOFError:
        wall = cpu = memory = answer = None
        failure = "the process died (out of memory?)"
    child.join()
    return Measurement(wall=wall, cpu=cpu, memory=memory, load=load, repeats=repeats, answer=answer, failure=failure)


def _child(call: Callable[[], Any], repeats: int, warm_up: Callable[[], Any] | None, send: Any) -> None:
    try:
        if warm_up is not None:
            warm_up()
        _forget_peak()
        before = _resident("VmRSS")
        walls, cpus, answer = [], [], None
        for _ in range(repeats):
            wall, cpu = time.perf_counter(), time.process_time()
            answer = call()
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
        send.send((min(walls), min(cpus), max(0.0, _resident("VmHWM") - before), np.asarray(answer, dtype=float), None))
    except Exception as error:
        traceback.print_exc()
        send.send((None, None, None, None, f"{type(error).__name__}: {error}"[:300]))


def _forget_peak() -> None:
    """Let the peak of the resident set begin anew, so that imports and the warm-up do not count."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def _resident(field: str) -> float:
    """Resident set ("VmRSS") or its peak ("VmHWM") in MiB."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024.0 for line in file if line.startswith(field))


def exponent(sizes: list[float], seconds: list[float]) -> float | None:
    """Fit ``seconds = a * sizes**k`` by least squares of the logarithms and return ``k``."""
    if len(sizes) < 2:
        return None
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
