"""Our models as `ssmreduce.network.Network`: recorded inputs, logits, gradients, with reduced layers in place.

Reduced layers run padded with zero states to the size of the whole model's, which changes no output: one compilation
serves every order. Examples are spread over the devices of this machine; each runs alone, so only the statistics of the
batch norms are summed over devices.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from lra.devices import EVERYWHERE, EXAMPLES, TIME_FIRST, Devices, choose
from lra.errors import ConfigError
from lra.evaluate import rebuild
from lra.passes import forward, with_gradients
from lra.trees import at, flattened, norm_places, one_copy_a_channel, with_leaves
from ssmreduce import Model, SSMLayer
from ssmreduce.network import Parts, Pass


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
        self._norms = norm_places(model.batch_stats)
        decoder = model.params["decoder"]
        self._decoder = ("decoder", "layer2") if "layer2" in decoder else ("decoder",)
        whole = self._variables(self.parts)
        self._module = rebuild(model.architecture, whole, self.options)
        where = {"logits": EXAMPLES, "features": EXAMPLES, "inputs": TIME_FIRST}
        where |= {"moments": EVERYWHERE, "counts": EVERYWHERE}
        self._plain, self._recording = (
            self._compiled(functools.partial(forward, self._module, self._decoder, record), where)
            for record in (False, True)
        )
        where = {"logits": EXAMPLES, "inputs": TIME_FIRST, "gradients": TIME_FIRST}
        layers, channels = len(self._sizes), model.layers[0].n_channels
        self._pull = self._compiled(functools.partial(with_gradients, self._module, layers, channels), where)

    @property
    def parts(self) -> Parts:
        """The whole model's parts."""
        decoder = at(self.model.params, self._decoder)
        return Parts(
            layers=self.model.layers,
            norms=tuple(self._statistics(place) for place in self._norms),
            decoder=(np.asarray(decoder["kernel"]), np.asarray(decoder["bias"])),
        )

    def _statistics(self, place: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        held = at(self.model.batch_stats, place)
        return np.asarray(held["mean"]), np.asarray(held["var"])

    @property
    def count(self) -> int:
        """Number of examples."""
        return len(self.x) // 2 if self.pairs else len(self.x)

    def with_parts(self, parts: Parts) -> Model:
        """Return the model with these parts, at their own sizes, ready to be saved."""
        model = self.model.replace_layers(parts.layers)
        flat = flattened(model.tree)
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
        return Pass(
            logits=np.concatenate([item["logits"] for item in found]),
            features=np.concatenate([item["features"] for item in found]),
            moments=tuple(moments), inputs=inputs, lengths=self._lengths(rows),
        )  # fmt: skip

    def gradients(self, parts: Parts, rows: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
        """Gradients of ``sum(v * logits)`` with respect to every layer's output, (S, L, H) each."""
        return self.along(parts, rows, np.asarray(v)[..., None])[1][0]

    def along(
        self, parts: Parts, rows: np.ndarray, v: np.ndarray, record: Sequence[int] = ()
    ) -> tuple[Pass, list[tuple[np.ndarray, ...]]]:
        """The inputs of some layers, the logits, and the gradients of R combinations v (N, K, R): one pass forwards."""
        variables, found, start = self.devices.replicate(self._variables(parts)), [], 0
        which = tuple(sorted(record))
        for part in self._split(rows):
            batch = self._batch(part) | {"v": np.asarray(v[start : start + len(part)])}
            item = self._pull(variables, batch)
            item["inputs"] = [item["inputs"][i] for i in which]  # others stay where they are
            found.append((len(part), jax.device_get(item)))
            start += len(part)
        parts_of = {
            name: [
                self._joined([self._in_order(item[name][i], count) for count, item in found], axis=1).swapaxes(0, 1)
                for i in range(len(found[0][1][name]))
            ]
            for name in ("inputs", "gradients")
        }
        seen = Pass(
            logits=np.concatenate([item["logits"] for _, item in found]),
            inputs=dict(zip(which, parts_of["inputs"], strict=True)), lengths=self._lengths(rows),
        )  # fmt: skip
        felt = [np.moveaxis(values, -1, 0) for values in parts_of["gradients"]]
        return seen, [tuple(each[r] for each in felt) for r in range(v.shape[-1])]

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

    def _lengths(self, rows: np.ndarray) -> np.ndarray | None:
        """Samples that count, where padding is kept out of the layers."""
        return np.asarray(self.lengths)[self._sequences(rows)] if self.masked and self.lengths is not None else None

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
        params = one_copy_a_channel(self.model.replace_layers(padded).params)
        if parts.decoder is not None:
            kernel, bias = (np.asarray(part, dtype=np.float32) for part in parts.decoder)
            params = with_leaves(params, self._decoder, {"kernel": kernel, "bias": bias})
        variables = {"params": params}
        if self._norms:
            stats = self.model.batch_stats
            for place, (mean, var) in zip(self._norms, parts.norms, strict=True):
                stats = with_leaves(stats, place, {"mean": np.float32(mean), "var": np.float32(var)})
            variables["batch_stats"] = stats
        return variables


def _padded(layer: SSMLayer, size: int) -> SSMLayer:
    return layer if layer.order == size else layer.padded(size)
