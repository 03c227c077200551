"""Which devices train a model: one, all of this machine, or those of several machines; who writes the files.

The batch is spread over the mesh axis ``data``, the training state lies on every device. A step runs under
`jax.shard_map` on its part of the batch; sums over the whole batch (gradients, batch norms, metrics) are taken
explicitly, see `lra.models.sharded`. Several processes form one mesh through `jax.distributed`: each feeds its own part
of every batch, the first one reads and writes all files.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lra.errors import CheckpointError, ConfigError, LRAError
from lra.models.sharded import AXIS
from theory.errors import SSMReduceError

T = TypeVar("T")
J = TypeVar("J")
AUTO = "auto"
EVERYWHERE, EXAMPLES, TIME_FIRST = PartitionSpec(), PartitionSpec(AXIS), PartitionSpec(None, AXIS)
"""Where results lie: whole on every device; by examples along the first axis; by sequences along the second."""


def connect(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Make this process one of several that train one model; nothing happens without a coordinator.

    Parameters
    ----------
    coordinator : str, optional
        ``HOST:PORT`` of the first process, reachable by all; ``auto`` asks the cluster's own environment
        (Slurm, Open MPI, Kubernetes, TPU pods; see `jax.distributed.initialize`).
    processes, process : int, optional
        Number of processes, and which one this is, counted from 0.

    Raises
    ------
    ConfigError
        An option is missing or impossible, or the others did not come.
    """
    if coordinator is None:
        if processes is not None or process is not None:
            raise ConfigError("--processes and --process need --coordinator HOST:PORT, the address of process 0")
        return
    if coordinator != AUTO:
        if processes is None or process is None:
            raise ConfigError("--coordinator HOST:PORT needs --processes (how many) and --process (which one, from 0)")
        if not 0 <= process < processes:
            raise ConfigError(f"--process counts from 0 to --processes - 1: {process} is not one of {processes}")
        if not coordinator.rpartition(":")[2].isdigit():
            raise ConfigError(f"--coordinator takes HOST:PORT, not {coordinator!r}")
    try:
        jax.distributed.initialize(None if coordinator == AUTO else coordinator, processes, process)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"the processes did not find each other at {coordinator} ({error}); start the same command with "
            "--process 0, 1, ... on hosts that reach this address"
        ) from error


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices of a run, all processes together.

    Attributes
    ----------
    mesh : Mesh, optional
        One axis ``data``; None for a single device, where everything below does nothing.
    """

    mesh: Mesh | None = None

    @property
    def count(self) -> int:
        """Number of devices, of all processes."""
        return 1 if self.mesh is None else self.mesh.size

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks to the user."""
        return is_leader()

    @property
    def spans_processes(self) -> bool:
        """Whether other processes take part."""
        return self.mesh is not None and jax.process_count() > 1

    def part(self, batch_size: int, name: str = "batch_size") -> slice:
        """Return the examples of a batch that this process reads.

        Raises
        ------
        ConfigError
            The batch does not split evenly.
        """
        if batch_size % self.count:
            smaller, larger = batch_size // self.count * self.count, -(-batch_size // self.count) * self.count
            near = f"{smaller} or {larger}" if smaller else str(larger)
            raise ConfigError(
                f"{name} {batch_size} does not split over {self.count} devices; set {name} to a multiple "
                f"({near}), or use a number of devices that divides it (--devices, per process)"
            )
        if not self.spans_processes:
            return slice(None)
        share = batch_size // jax.process_count()
        return slice(jax.process_index() * share, (jax.process_index() + 1) * share)

    def round_up(self, batch_size: int) -> int:
        """Return the next multiple of the number of devices, for batches that may be filled up."""
        return -(-batch_size // self.count) * self.count

    def spread(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """Return this process's part of a batch as arrays spread over all devices.

        Both documents of a pair go to the same device: arrays with two rows an example, all first documents and then
        all second ones, keep that order within each device's part.
        """
        if self.mesh is None:
            return batch
        sharding, mine = NamedSharding(self.mesh, PartitionSpec(AXIS)), self.count // jax.process_count()
        examples = len(batch["y"])

        def place(value: np.ndarray) -> jax.Array:
            grouped = value.reshape(len(value) // examples, mine, -1, *value.shape[1:]).swapaxes(0, 1)
            return jax.make_array_from_process_local_data(sharding, grouped.reshape(value.shape))

        return {name: place(value) for name, value in batch.items()}

    def replicate(self, tree: T) -> T:
        """Return a pytree of equal arrays with a copy on every device; every process holds the same values."""
        if self.mesh is None:
            return jax.tree.map(jnp.asarray, tree)
        sharding = NamedSharding(self.mesh, PartitionSpec())

        def place(leaf: Any) -> jax.Array:
            value = np.asarray(leaf)
            return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

        return jax.tree.map(place, tree)

    def compile(
        self, step: Callable[..., Any], donate: tuple[int, ...] = (), out: Any = EVERYWHERE
    ) -> Callable[..., Any]:
        """Return the compiled ``(replicated, batch) -> replicated``, run on each device's part of the batch.

        `out` says where results lie that are not the same on all devices: a tree of `EXAMPLES` and the like.
        """
        if self.mesh is not None:
            step = jax.shard_map(
                step,
                mesh=self.mesh,
                in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
                out_specs=out,
                check_vma=False,  # the hand-written derivative of the recurrence carries no such types
            )
        return jax.jit(step, donate_argnums=donate)

    def lead(self, act: Callable[[], J]) -> J:
        """Let the first process act, and return its answer (a JSON value) on every process.

        An error of `act` is raised on all of them, so that none waits for another.
        """
        if not self.spans_processes:
            return act()
        told, failure = {}, None
        if self.leads:
            try:
                told = {"answer": act()}
            except (LRAError, SSMReduceError, OSError) as error:
                told, failure = {"error": str(error)}, error
        told = _tell(told)
        if "error" in told:
            raise failure or CheckpointError(f"process 0 says: {told['error']}")
        return told["answer"]

    def from_leader(self, tree: T) -> T:
        """Return the first process's values of a pytree of arrays; the others pass one of the same shapes."""
        return multihost_utils.broadcast_one_to_all(tree) if self.spans_processes else tree


ONE_DEVICE = Devices()


def is_leader() -> bool:
    """Return whether this is the only process, or the first of several."""
    return jax.process_index() == 0


def choose(per_process: int | None = None) -> Devices:
    """Return the devices of a run: `per_process` of each process, or all that it has.

    Raises
    ------
    ConfigError
        There are fewer.
    """
    mine = len(jax.local_devices())
    if per_process is not None and not 1 <= per_process <= mine:
        raise ConfigError(f"--devices {per_process}: this process has {mine} device{'s' if mine > 1 else ''}")
    if jax.process_count() == 1 and 1 in (mine, per_process):
        return Devices()
    chosen = []
    for process in range(jax.process_count()):
        theirs = sorted((d for d in jax.devices() if d.process_index == process), key=lambda device: device.id)
        chosen += theirs[:per_process]
    return Devices(Mesh(np.asarray(chosen), (AXIS,)))


def _tell(message: Any) -> Any:
    """Return the JSON value that the first process passes; those of the others are ignored."""
    data = np.frombuffer(json.dumps(message).encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.asarray(len(data))))
    padded = np.zeros(size, np.uint8)
    if is_leader():
        padded[:] = data
    return json.loads(bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded))))
