"""Run by test_network_devices.py in a process with two CPU devices: networks of every kind on one of them and on both.

    python tests/lra/two_devices_network.py OUTPUT

Writes OUTPUT/KIND.npz: what a pass and its gradients gave on one device, ``one/...``, and on two, ``two/...``, of five
and of eight examples in batches; and on how many devices the examples of a pass lay.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import jax
import jax.numpy as jnp
import numpy as np

import ssmreduce
from lra.checkpoint import save_model
from lra.devices import choose
from lra.models import build
from lra.network import LraNetwork

SHARED = {
    "d_model": 4, "n_layers": 1, "discretization": "zoh", "step_rescale": 1.0, "prenorm": True, "batchnorm": True,
    "bn_momentum": 0.9, "d_input": 3, "n_classes": 3, "mode": "pool", "mask_padding": False, "tokens": False,
    "padded": False, "retrieval": False, "precision": "float32",
}  # fmt: skip
S5 = {"C_init": "lecun_normal", "conj_sym": True, "clip_eigs": True, "activation": "half_glu1", "bidirectional": True}
S4D = {"n_ssm": None, "A_init": "lin", "dt_transform": "softplus", "bidirectional": True}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "pairs": ("s5", S5 | {"padded": True, "retrieval": True, "mask_padding": True}),
    "s4d": ("s4d", S4D),
}
N, L = 8, 6


def network_of(folder: Path, kind: str, devices: int, batch: int) -> LraNetwork:
    architecture, own = KINDS[kind]
    options = SHARED | own
    rng = np.random.default_rng(7)
    rows = 2 * N if options["retrieval"] else N
    x = rng.standard_normal((rows, L, 3)).astype(np.float32)
    lengths = rng.integers(2, L + 1, rows).astype(np.int32) if options["padded"] else None
    module = build(architecture, 4, **options, dropout=0.0, **({"blocks": 1} if architecture == "s5" else {}))
    variables = jax.jit(module.init)(jax.random.key(1), jnp.asarray(x), lengths)
    variables = jax.tree.map(lambda leaf: leaf + 0.1 * rng.standard_normal(leaf.shape).astype(leaf.dtype), variables)
    variables["batch_stats"] = jax.tree.map(jnp.abs, variables["batch_stats"])
    save_model(folder / f"{kind}.safetensors", variables, {"architecture": architecture, "P": 4, **options}, {})
    return LraNetwork(ssmreduce.load(folder / f"{kind}.safetensors"), x, lengths, batch, choose(devices))


def measured(network: LraNetwork, rows: np.ndarray) -> dict[str, np.ndarray]:
    layers = network.parts.layers
    parts = network.parts.with_layer(0, ssmreduce.reduce(layers[0], 2, method="modal").layer)
    found = network.run(parts, rows, record=(0,))
    v = np.random.default_rng(1).standard_normal(found.logits.shape).astype(np.float32)
    arrays = {"logits": found.logits, "features": found.features}
    arrays |= {f"inputs.{i}": u for i, u in found.inputs.items()}
    arrays |= {f"gradients.{i}": g for i, g in enumerate(network.gradients(parts, rows, v))}
    for i, (mean, var) in enumerate(found.moments):
        arrays |= {f"mean.{i}": mean, f"var.{i}": var}
    return arrays


def main(output: Path) -> None:
    for kind in KINDS:
        arrays: dict[str, np.ndarray] = {}
        for name, devices in (("one", 1), ("two", 2)):
            network = network_of(output, kind, devices, batch=2)
            for case, rows in (("eight", np.arange(N)), ("five", np.array([6, 1, 0, 7, 3]))):
                arrays |= {f"{name}/{case}/{key}": value for key, value in measured(network, rows).items()}
        variables = network.devices.replicate(network._variables(network.parts))
        (part, *_) = network._split(np.arange(N))
        lies = network._recording(variables, network._batch(part))["logits"].sharding
        arrays["devices"] = np.array([len(lies.device_set), len(part), lies.shard_shape((len(part), 3))[0]])
        np.savez(output / f"{kind}.npz", **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
