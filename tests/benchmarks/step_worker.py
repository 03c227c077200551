"""One compiled step in a process of its own: started by train_step.py, spoken to in lines of JSON.

Reads a job (a JSON object, see `train_step.jobs`) from its command line, compiles, says what that took, then runs one
step for every line on its standard input and answers with the seconds; an empty line or the end of the input stops it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import reference_step  # noqa: E402

from lra.config import Config, load_config  # noqa: E402
from lra.step import (  # noqa: E402
    build_model,
    build_optimizer,
    initial_state,
    make_eval_step,
    make_train_step,
    model_variables,
)
from lra.tasks.task import Split, Task  # noqa: E402

FACTS: dict[str, tuple[int, int, bool]] = {  # input channels or vocabulary, classes, tokens
    "listops": (20, 10, True),
    "text": (135, 2, True),
    "image": (1, 10, False),
    "pathfinder": (1, 2, False),
    "speech35": (1, 35, False),
    "smnist": (1, 10, False),
}


def problem(job: dict[str, Any]) -> tuple[Config, Task, dict[str, jax.Array]]:
    """Config, task and one random batch; sequences of tokens are padded, the shortest by a half."""
    overrides = {"batch_size": job["batch"], "n_layers": job["layers"], "dropout": 0.0}
    config = load_config(job["config"], overrides)
    if job["variant"] in ("sequential", "associative", "chunked"):
        config = config.replace(scan=job["variant"])
    if job["variant"] == "half the states":
        config = config.replace(ssm_size=config.ssm_size // 2, blocks=1)
    channels, classes, tokens = FACTS[config.task]
    rng, B, L = np.random.default_rng(0), job["batch"], job["length"]
    split = Split(
        x=rng.integers(3, channels, (B, L)).astype(np.int32) if tokens else rng.normal(size=(B, L, channels)),
        y=rng.integers(0, classes, B),
        indices=np.arange(B),
        lengths=rng.integers(L // 2, L + 1, B) if tokens else None,
    )
    facts = {"d_input": channels, "n_classes": classes, "L": L, "tokens": tokens, "padded": tokens}
    dtype = np.int32 if tokens else np.float32
    task = Task(
        name=config.task, train=split, validation=split, test=split, prepare=lambda raw: raw.astype(dtype), **facts
    )
    return config, task, {name: jnp.asarray(value) for name, value in task.batch(split, np.arange(B)).items()}


def compiled(job: dict[str, Any]) -> tuple[Callable[[], Any], Any, dict[str, float]]:
    """The step without arguments, which returns its loss (or an output); the executable; seconds of compilation."""
    spent: dict[str, float] = {}

    def build(step: Any, *arguments: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        made = step.lower(*arguments).compile()
        spent.update(compile_wall=time.perf_counter() - wall, compile_cpu=time.process_time() - cpu)
        return made

    config, task, batch = problem(job)
    tx = build_optimizer(config, 100)
    state = initial_state(config, task, tx)
    if job["variant"] == "reference":
        fields = config.flat()
        options = {name: fields[name] for name in ("n_layers", "bn_momentum", "bidirectional", "activation")}
        options |= {"tokens": task.tokens, "d_input": task.d_input}
        if job["kind"] == "inference":
            infer = build(reference_step.make_eval_step(options), state.params, state.batch_stats, batch)
            return lambda: infer(state.params, state.batch_stats, batch)[0, 0], infer, spent
        slow_tx = reference_step.optimizer(config)
        held = [(state.params, state.batch_stats, jax.jit(slow_tx.init)(state.params))]
        learn = build(reference_step.make_train_step(options, slow_tx), *held[0], batch)

        def reference() -> Any:
            *held[0], loss = learn(*held[0], batch)
            return loss

        return reference, learn, spent
    if job["kind"] == "inference":
        batch = {**batch, "weight": jnp.ones(job["batch"])}
        variables = model_variables(state)
        measure = build(make_eval_step(build_model(config, task)), variables, batch)
        return lambda: measure(variables, batch)[0], measure, spent
    ours = build(make_train_step(build_model(config, task), tx, config.seed), state, batch)
    kept = [state]

    def train() -> Any:
        kept[0], loss = ours(kept[0], batch)
        return loss

    return train, ours, spent


def resident(field: str) -> float:
    """``VmRSS`` or ``VmHWM`` (its peak) in MiB; not a number where /proc does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
    except (OSError, StopIteration):
        return float("nan")


def say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def main(job: dict[str, Any]) -> None:
    step, executable, spent = compiled(job)
    memory = executable.memory_analysis()
    before = resident("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the compilation
    except OSError:
        before = float("nan")
    first = float(jax.block_until_ready(step()))
    say(
        {
            **spent,
            "value": first,
            "temporary_mib": memory.temp_size_in_bytes / 2**20,
            "arguments_mib": memory.argument_size_in_bytes / 2**20,
            "step_rss_mib": resident("VmHWM") - before,
            "device": jax.devices()[0].device_kind,
            "platform": jax.devices()[0].platform,
            "jax": jax.__version__,
        }
    )
    for line in sys.stdin:
        if not line.strip():
            break
        wall, cpu = time.perf_counter(), time.process_time()
        jax.block_until_ready(step())
        say({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu})
    stats = jax.devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    say(
        {
            "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "peak_device_mib": None if peak is None else peak / 2**20,
        }
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
