"""A network in plain NumPy, as :class:`ssmreduce.network.Network` wants it: layers, tanh, skip, norm, mean, decoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from recorded_cases import outputs

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.network import Parts, Pass


def layer(seed: int, P: int = 6, H: int = 2, present: int | None = None) -> SSMLayer:
    """An S5 layer; of its P states only the first `present` are driven by anything."""
    rng = np.random.default_rng(seed)
    B = rng.standard_normal((P, H)) + 1j * rng.standard_normal((P, H))
    if present is not None:
        B[present:] = 0
    C = (rng.standard_normal((H, P)) + 1j * rng.standard_normal((H, P))) / np.sqrt(P)
    Lambda = -rng.uniform(0.2, 2.0, P) + 1j * rng.uniform(0.0, 12.0, P)
    return SSMLayer(
        kind="s5", Lambda=Lambda, B=B, C=C, D=rng.standard_normal(H), log_step=np.log(rng.uniform(0.02, 0.2, P)),
        conj_sym=True, dtype=np.float32, form="s5",
    )  # fmt: skip


class ToyNetwork:
    """``h <- h + tanh(norm(layer(h)))`` for every layer, the mean over time, a decoder; correlated random inputs."""

    def __init__(
        self, layers: Sequence[SSMLayer], count: int = 24, L: int = 30, classes: int = 3, seed: int = 0
    ) -> None:
        rng = np.random.default_rng(seed)
        H = layers[0].n_channels
        self.x = 0.4 * np.cumsum(rng.standard_normal((count, L, H)), axis=1)
        decoder = (2.0 * rng.standard_normal((H, classes)), rng.standard_normal(classes))
        norms = tuple((0.1 * rng.standard_normal(H), rng.uniform(0.5, 2.0, H)) for _ in layers)
        self.parts, self.runs = Parts(layers=tuple(layers), norms=norms, decoder=decoder), 0

    @property
    def count(self) -> int:
        return len(self.x)

    def run(self, parts: Parts, rows: np.ndarray, record: Sequence[int] = ()) -> Pass:
        self.runs += 1
        return self._run(parts, np.asarray(rows), record, {})

    def _run(self, parts: Parts, rows: np.ndarray, record: Sequence[int], pushes: dict[int, np.ndarray]) -> Pass:
        h, inputs, moments = self.x[rows], {}, []
        for i, (one, (mean, var)) in enumerate(zip(parts.layers, parts.norms, strict=True)):
            if i in record:
                inputs[i] = h
            y = outputs(one.system, h, np.full(len(h), h.shape[1])) + pushes.get(i, 0.0)
            moments.append((y.mean(axis=(0, 1)), y.var(axis=(0, 1))))
            h = h + np.tanh((y - mean) / np.sqrt(var))
        features = h.mean(axis=1)
        kernel, bias = parts.decoder
        return Pass(logits=features @ kernel + bias, features=features, moments=tuple(moments), inputs=inputs)

    def gradients(self, parts: Parts, rows: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
        """Central differences: examples do not see each other, so every push runs beside the others as one more."""
        N, (L, H), step, found = len(rows), self.x.shape[1:], 1e-5, []
        places = L * H
        pushes = step * np.repeat(np.eye(places).reshape(places, L, H), N, axis=0)  # a place, then an example
        for i in range(len(parts.layers)):
            up, down = (
                self._run(parts, np.tile(rows, places), (), {i: sign * pushes}).logits.reshape(places, N, -1)
                for sign in (1, -1)
            )
            gradient = (v * (up - down)).sum(axis=2) / (2 * step)
            found.append(gradient.T.reshape(N, L, H))
        return tuple(found)
