"""Our models as `ssmreduce.network.Network`: recorded inputs, logits, gradients, with reduced layers in place.

Reduced layers run padded with zero states to the size of the whole model's, which changes no output: one compilation
serves every order. Examples are spread over the devices of this machine; each runs alone, so only the statistics of the
batch norms are summed over devices.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from lra.devices import EVERYWHERE, EXAMPLES, TIME_FIRST, Devices, choose
from lra.errors import ConfigError
from lra.evaluate import rebuild
from lra.models.norm import BatchNorm
from lra.models.precision import wide
from lra.models.sharded import mean_over_devices, sum_over_devices
from ssmreduce import Model, SSMLayer
from ssmreduce.network import Parts, Pass

Array = Any
Interceptor = Callable[..., Any]


class LraNetwork:
    """A trained model of this repository with some inputs of its task.

    Parameters
    ----------
    model : Model
        What `ssmreduce.load` read from an exported checkpoint: layers, statistics, decoder, options.
    x : ndarray
        Prepared inputs, (N, L, d_input) or ids (N, L); for a retrieval task the first documents of all pairs, then the
        second ones: 2 N rows.
    lengths : ndarray of int, optional
        One for each row of `x`, for padded tasks.
    batch : int
        Examples that run at a time on each device.
    devices : Devices, optional
        By default all of this machine.

    Raises
    ------
    ConfigError
        The devices are those of several processes: each would see a part of what it needs.
    """

    def __init__(
        self,
        model: Model,
        x: np.ndarray,
        lengths: np.ndarray | None = None,
        batch: int = 50,
        devices: Devices | None = None,
    ) -> None:
        self.model, self.x, self.lengths, self.batch = model, x, lengths, batch
        self.devices = choose() if devices is None else devices
        if self.devices.spans_processes:
            raise ConfigError("a network that is reduced runs in one process; start it on one machine alone")
        self.options = dict(model.options)
        self.pairs = bool(self.options.get("retrieval", False))
        self.masked = bool(self.options.get("padded", False)) and (
            model.architecture == "s4d" or bool(self.options.get("mask_padding", False))
        )
        self._sizes = tuple(layer.order for layer in model.layers)
        self._norms = _norm_places(model.batch_stats)
        decoder = model.params["decoder"]
        self._decoder = ("decoder", "layer2") if "layer2" in decoder else ("decoder",)
        whole = self._variables(self.parts)
        self._module = rebuild(model.architecture, whole, self.options)
        where = {"logits": EXAMPLES, "features": EXAMPLES, "inputs": TIME_FIRST}
        where |= {"moments": EVERYWHERE, "counts": EVERYWHERE}
        self._plain = self._compiled(functools.partial(self._pass, False), where)
        self._recording = self._compiled(functools.partial(self._pass, True), where)
        self._pull = self._compiled(self._gradients, TIME_FIRST)

    @property
    def parts(self) -> Parts:
        """The whole model's parts."""
        decoder = _at(self.model.params, self._decoder)
        return Parts(
            layers=self.model.layers,
            norms=tuple(self._statistics(place) for place in self._norms),
            decoder=(np.asarray(decoder["kernel"]), np.asarray(decoder["bias"])),
        )

    def _statistics(self, place: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        held = _at(self.model.batch_stats, place)
        return np.asarray(held["mean"]), np.asarray(held["var"])

    @property
    def count(self) -> int:
        """Number of examples."""
        return len(self.x) // 2 if self.pairs else len(self.x)

    def with_parts(self, parts: Parts) -> Model:
        """Return the model with these parts, at their own sizes, ready to be saved."""
        model = self.model.replace_layers(parts.layers)
        flat = _flat(model.tree)
        changes = {
            ("params", *self._decoder, name): value for name, value in zip(("kernel", "bias"), parts.decoder or ())
        }
        for place, values in zip(self._norms, parts.norms):
            changes |= {("batch_stats", *place, name): value for name, value in zip(("mean", "var"), values)}
        for path, value in changes.items():
            key = "/".join(path)
            flat[key] = np.asarray(value, dtype=np.asarray(flat[key]).dtype)
        return dataclasses.replace(model, tree=flat)

    def run(self, parts: Parts, rows: np.ndarray, record: Sequence[int] = ()) -> Pass:
        """Run the network with these parts on the examples `rows`."""
        variables = self.devices.replicate(self._variables(parts))
        which = tuple(sorted(record))
        step = self._recording if which else self._plain
        found = []
        for part in self._split(rows):
            item = step(variables, self._batch(part))
            item["inputs"] = [item["inputs"][i] for i in which]  # others stay where they are
            item = jax.device_get(item)
            item["inputs"] = [self._in_order(values, len(part)) for values in item["inputs"]]
            found.append(item)
        moments = []
        for i in range(len(self._norms)):
            counts = np.array([float(item["counts"][i]) for item in found])
            mean, square = (
                np.average([item["moments"][i][k].astype(float) for item in found], axis=0, weights=counts)
                for k in (0, 1)
            )
            moments.append((mean, np.maximum(square - mean**2, 0.0)))
        recorded = [self._joined([item["inputs"][k] for item in found], axis=1) for k in range(len(which))]
        inputs = {index: values.swapaxes(0, 1) for index, values in zip(which, recorded)}
        lengths = None
        if self.masked and self.lengths is not None:
            lengths = np.asarray(self.lengths)[self._sequences(rows)]
        return Pass(
            logits=np.concatenate([item["logits"] for item in found]),
            features=np.concatenate([item["features"] for item in found]),
            moments=tuple(moments), inputs=inputs, lengths=lengths,
        )  # fmt: skip

    def gradients(self, parts: Parts, rows: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
        """Gradients of ``sum(v * logits)`` with respect to every layer's output, (S, L, H) each."""
        variables, found, start = self.devices.replicate(self._variables(parts)), [], 0
        for part in self._split(rows):
            batch = self._batch(part) | {"v": np.asarray(v[start : start + len(part)])}
            pulled = jax.device_get(self._pull(variables, batch))
            found.append([self._in_order(values, len(part)) for values in pulled])
            start += len(part)
        return tuple(self._joined([item[i] for item in found], axis=1).swapaxes(0, 1) for i in range(len(self._sizes)))

    # ------------------------------------------------------------------------------------------ inside
    def _compiled(self, step: Callable[..., Any], out: Any) -> Callable[..., Any]:
        """The step on a batch that splits over the devices, each with its part; else on all of them alike, whole."""
        spread, alone = self.devices.compile(step, out=out), jax.jit(step)

        def run(variables: Any, batch: dict[str, Any]) -> Any:
            if len(batch["y"]) % self.devices.count:
                return alone(variables, batch)
            return spread(variables, self.devices.spread(batch))

        return run

    def _split(self, rows: np.ndarray) -> list[np.ndarray]:
        """Batches of equal size that split over the devices, and the few that are left: three shapes at most."""
        rows, count = np.asarray(rows), self.devices.count
        even = len(rows) - len(rows) % count
        groups = rows[:even].reshape(-1, count)
        parts = [part.reshape(-1) for part in np.array_split(groups, max(1, -(-len(groups) // self.batch)))]
        return [part for part in (*parts, rows[even:]) if len(part)] or [rows]

    def _sequences(self, rows: np.ndarray) -> np.ndarray:
        return np.concatenate([rows, np.asarray(rows) + self.count]) if self.pairs else np.asarray(rows)

    def _batch(self, rows: np.ndarray) -> dict[str, Any]:
        """What runs, by name; ``y``, which nothing looks at, says how many examples there are."""
        which = self._sequences(rows)
        lengths = {} if self.lengths is None else {"lengths": np.asarray(self.lengths[which])}
        return {"x": np.asarray(self.x[which]), "y": np.asarray(rows)} | lengths

    def _in_order(self, values: np.ndarray, examples: int) -> np.ndarray:
        """Sequences of one batch along the second axis: of pairs each device had first documents, then second ones."""
        count = self.devices.count
        if not self.pairs or count == 1 or examples % count:
            return values
        grouped = values.reshape(len(values), count, 2, -1, *values.shape[2:])
        return grouped.swapaxes(1, 2).reshape(values.shape)

    def _joined(self, parts: list[np.ndarray], axis: int) -> np.ndarray:
        """Batches along the axis of sequences; the two halves of pairs each in order."""
        if not self.pairs:
            return np.concatenate(parts, axis=axis)
        halves = [np.split(part, 2, axis=axis) for part in parts]
        return np.concatenate([half[0] for half in halves] + [half[1] for half in halves], axis=axis)

    def _variables(self, parts: Parts) -> dict[str, Any]:
        """The tree that the module runs, every layer at the whole model's size."""
        padded = [_padded(layer, size) for layer, size in zip(parts.layers, self._sizes, strict=True)]
        params = _one_copy_a_channel(self.model.replace_layers(padded).params)
        if parts.decoder is not None:
            kernel, bias = (np.asarray(part, dtype=np.float32) for part in parts.decoder)
            params = _with(params, self._decoder, {"kernel": kernel, "bias": bias})
        variables = {"params": params}
        if self._norms:
            stats = self.model.batch_stats
            for place, (mean, var) in zip(self._norms, parts.norms, strict=True):
                stats = _with(stats, place, {"mean": np.float32(mean), "var": np.float32(var)})
            variables["batch_stats"] = stats
        return variables

    def _pass(self, record: bool, variables: Any, batch: dict[str, Array]) -> dict[str, Any]:
        seen: list[Array] = []
        held: dict[str, Any] = {"moments": [], "counts": []}

        def watch(following: Interceptor, args: Any, kwargs: Any, context: Any) -> Any:
            module = context.module
            if context.method_name == "__call__":
                if module.name == "seq" and record:
                    seen.append(args[0])
                elif isinstance(module, BatchNorm):
                    mean, square, count = _moments(*args, **kwargs)
                    held["moments"].append((mean, square))
                    held["counts"].append(count)
                elif module.path == self._decoder:
                    held["features"] = args[0]
            return following(*args, **kwargs)

        with nn.intercept_methods(watch):
            logits = self._module.apply(variables, batch["x"], batch.get("lengths"))
        return held | {"logits": logits, "inputs": seen}

    def _gradients(self, variables: Any, batch: dict[str, Array]) -> list[Array]:
        x, lengths, v = batch["x"], batch.get("lengths"), batch["v"]
        shape = (x.shape[1], x.shape[0], self.model.layers[0].n_channels)
        zeros = [jnp.zeros(shape) for _ in self._sizes]

        def scalar(pushes: list[Array]) -> Array:
            order = iter(pushes)

            def push(following: Interceptor, args: Any, kwargs: Any, context: Any) -> Any:
                result = following(*args, **kwargs)
                if context.module.name == "seq" and context.method_name == "__call__":
                    return result + next(order)
                return result

            with nn.intercept_methods(push):
                return (v * self._module.apply(variables, x, lengths)).sum()

        return jax.grad(scalar)(zeros)


def _padded(layer: SSMLayer, size: int) -> SSMLayer:
    return layer if layer.order == size else layer.padded(size)


def _one_copy_a_channel(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The tree with A and B of S4D layers written out for every channel, as those of a reduced layer are.

    Layers that share copies among their channels (channel h uses copy h mod n_ssm) would have other shapes reduced
    than whole.
    """
    encoder = dict(params["encoder"])
    for name, block in encoder.items():
        kernel = block.get("seq", {}).get("kernel")
        if kernel is not None:
            times = len(kernel["inv_dt"]) // len(kernel["A_real"])
            tiled = {key: np.tile(np.asarray(kernel[key]), (times, 1)) for key in ("A_real", "A_imag")}
            tiled["B"] = np.tile(np.asarray(kernel["B"]), (1, times, 1, 1))
            encoder[name] = _with(block, ("seq", "kernel"), tiled)
    return {**params, "encoder": encoder}


def _moments(x: Array, training: bool = False, mask: Array | None = None) -> tuple[Array, Array, Array]:
    """Mean and mean square of what enters a batch norm, and how many samples that is; over all devices."""
    x = wide(x)
    if mask is None:
        mean, square = mean_over_devices((x.mean((0, 1)), (x * x).mean((0, 1))))
        return mean, square, sum_over_devices(jnp.asarray(float(x.shape[0] * x.shape[1])))
    valid, count = jnp.where(mask[..., None], x, 0), jnp.maximum(sum_over_devices(mask.sum()), 1)
    total, square = sum_over_devices((valid.sum((0, 1)), (valid * valid).sum((0, 1))))
    return total / count, square / count, count.astype(float)


def _norm_places(stats: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Paths of the batch norms in the order in which they run: those of the blocks, then the last one."""
    encoder = stats.get("encoder", {})
    blocks = sorted((name for name in encoder if name.startswith("layers_")), key=lambda name: int(name.split("_")[1]))
    return tuple(("encoder", name, "norm") for name in blocks) + ((("encoder", "norm"),) if "norm" in encoder else ())


def _at(tree: Mapping[str, Any], place: Sequence[str]) -> Any:
    for name in place:
        tree = tree[name]
    return tree


def _with(tree: Mapping[str, Any], place: Sequence[str], leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tree with some leaves replaced."""
    if not place:
        return {**tree, **leaves}
    return {**tree, place[0]: _with(tree[place[0]], place[1:], leaves)}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}/") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
