"""A network whose outputs are waveforms, in plain NumPy: layers with real B and C, of unequal widths and rates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.network import Parts, Pass
from theory.systems.system import DiagonalStateSpace


def layer(seed: int, m: int, p: int, P: int = 6, present: int | None = None, silent: bool = True) -> SSMLayer:
    """A layer of m inputs and p outputs, B and C real; D is zero if `silent`; only `present` states are driven."""
    rng = np.random.default_rng(seed)
    B = rng.standard_normal((P, m))
    if present is not None:
        B[present:] = 0
    return SSMLayer(
        kind="s5", Lambda=-rng.uniform(0.2, 2.0, P) + 1j * rng.uniform(0.0, 12.0, P), B=B,
        C=rng.standard_normal((p, P)) / np.sqrt(P), D=np.zeros((p, m)) if silent else rng.standard_normal((p, m)),
        log_step=np.log(rng.uniform(0.02, 0.2, P)), conj_sym=True, dtype=np.float32, form="s5",
    )  # fmt: skip


def run(system: DiagonalStateSpace, u: np.ndarray) -> np.ndarray:
    """Outputs (N, L, p): the recurrence as it is written down."""
    x, y = np.zeros((len(u), system.n), complex), np.zeros((*u.shape[:2], system.p))
    for t in range(u.shape[1]):
        x = x * system.poles + u[:, t] @ system.B.T
        y[:, t] = 2 * (x @ system.C.T).real + u[:, t] @ system.D.T
    return y


def pulled(system: DiagonalStateSpace, g: np.ndarray) -> np.ndarray:
    """The transposed map: gradients at the inputs from those at the outputs."""
    adjoint = DiagonalStateSpace(system.poles, system.C.mT, system.B.mT, system.D.mT, dt=1.0, delay=0)
    return run(adjoint, g[:, ::-1])[:, ::-1]


class ToyEnhancer:
    """Mono in and out: ``a = tanh(layer 0 (x))``, every other sample of it through layer 1, held, added; decoder."""

    measure = "squared_error"

    def __init__(self, layers: Sequence[SSMLayer], count: int = 12, L: int = 40, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.x = 0.4 * np.cumsum(rng.standard_normal((count, L, 1)), axis=1)
        width = layers[0].system.p
        self.parts = Parts(layers=tuple(layers), decoder=(rng.standard_normal((width, 1)), rng.standard_normal(1)))

    @property
    def count(self) -> int:
        return len(self.x)

    def run(self, parts: Parts, rows: np.ndarray, record: Sequence[int] = ()) -> Pass:
        first, second = (one.system for one in parts.layers)
        x = self.x[rows]
        a = np.tanh(run(first, x))
        slow = a[:, ::2]
        features = a + np.tanh(run(second, slow)).repeat(2, axis=1)
        kernel, bias = parts.decoder
        inputs = {i: u for i, u in enumerate((x, slow)) if i in record}
        return Pass(logits=features @ kernel + bias, features=features, inputs=inputs)

    def gradients(self, parts: Parts, rows: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
        first, second = (one.system for one in parts.layers)
        a = np.tanh(run(first, self.x[rows]))
        g = v @ parts.decoder[0].T
        held = g[:, ::2] + g[:, 1::2]
        at_second = held * (1 - np.tanh(run(second, a[:, ::2])) ** 2)
        at_a = g.copy()
        at_a[:, ::2] += pulled(second, at_second)
        return at_a * (1 - a**2), at_second
