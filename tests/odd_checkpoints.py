"""Checkpoints as people have them, and what their layers compute: plain NumPy from the stored arrays alone.

Each case writes one file in the way of its code base and says which layers lie in it; the recurrences are written from
the papers' formulas and share nothing with :mod:`ssmreduce`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Raw = dict[str, np.ndarray]
Run = Callable[[Raw, np.ndarray], np.ndarray]


# --- what layers compute ---------------------------------------------------------------------------------------------


def pair(array: np.ndarray) -> np.ndarray:
    return array[..., 0].astype(float) + 1j * array[..., 1].astype(float)


def scan(pole: np.ndarray, B: np.ndarray, C: np.ndarray, u: np.ndarray, *, delayed: bool = False) -> np.ndarray:
    """y_k = Re(C x_k), or of the state before the update; u (L, m)."""
    x, y = np.zeros(len(pole), complex), np.zeros((len(u), len(C)))
    for k, value in enumerate(u):
        before, x = x, pole * x + B @ value
        y[k] = (C @ (before if delayed else x)).real
    return y


def convolved(kernel: np.ndarray, u: np.ndarray, reverse: np.ndarray | None = None) -> np.ndarray:
    """Each channel with its kernel (H, L); the reverse one starts at the next sample."""
    L = len(u)
    y = np.stack([np.convolve(kernel[h], u[:, h])[:L] for h in range(len(kernel))], axis=1)
    for h in range(0 if reverse is None else len(kernel)):
        y[:-1, h] += np.convolve(reverse[h], u[::-1, h])[: L - 1][::-1]  # type: ignore[index]
    return y


def powers(weights: np.ndarray, base: np.ndarray, L: int) -> np.ndarray:
    """2 Re sum_n w_n base_n^l, (..., L)."""
    return 2 * np.einsum("...n,...nl->...l", weights, base[..., None] ** np.arange(L)).real


def minimal_s4d(raw: Raw, u: np.ndarray) -> np.ndarray:
    f = {key: value.astype(float) for key, value in raw.items()}
    A, step = -np.exp(f["kernel.log_A_real"]) + 1j * f["kernel.A_imag"], np.exp(f["kernel.log_dt"])[:, None]
    kernel = powers(pair(raw["kernel.C"]) * (np.exp(A * step) - 1) / A, np.exp(A * step), len(u))
    return convolved(kernel, u) + f["D"] * u


def full_s4d(raw: Raw, u: np.ndarray) -> np.ndarray:
    """Version 4, dt_transform=softplus, zoh; copies of A and B tiled."""
    f = {key: value.astype(float) for key, value in raw.items()}
    H = raw["kernel.C"].shape[1]
    tiled = {key: np.tile(f[f"kernel.{key}"], (H // len(f[f"kernel.{key}"]), 1)) for key in ("A_real", "A_imag")}
    A, step = -np.exp(tiled["A_real"]) - 1j * tiled["A_imag"], np.log1p(np.exp(f["kernel.inv_dt"]))
    B = pair(raw["kernel.B"])[0]
    weights = pair(raw["kernel.C"]) * np.tile(B, (H // len(B), 1)) * (np.exp(A * step) - 1) / A
    kernels = [powers(each, np.exp(A * step), len(u)) for each in weights]
    return convolved(kernels[0], u, kernels[1] if len(kernels) == 2 else None) + f["D"].reshape(-1) * u


def old_s4(raw: Raw, u: np.ndarray) -> np.ndarray:
    """S4 before version 4: the dense recurrence on the doubled state; or, without P, S4D with the bilinear rule."""
    f = {key.removeprefix("kernel.kernel."): value.astype(float) for key, value in raw.items()}
    real = f["inv_w_real"] if "inv_w_real" in f else f["inv_A_real"]
    imag = f["w_imag"] if "w_imag" in f else f["A_imag"]
    B, C = (pair(f[key]) for key in ("B", "C"))
    B, H, L = (B[0] if B.ndim == 3 else B), C.shape[1], len(u)
    kernels = np.zeros((len(C), H, L))
    for h in range(H):
        a, step = h % len(real), np.exp(f["log_dt"].reshape(-1)[h])

        def doubled(v: np.ndarray) -> np.ndarray:
            return np.concatenate([v, v.conj()])

        A = np.diag(doubled(-np.exp(real[a]) + 1j * imag[a]))
        for p in pair(f["P"])[:, a] if "P" in f else ():
            A = A - np.outer(doubled(p), doubled(p).conj())
        one = np.eye(len(A))
        dA = np.linalg.solve(one - step / 2 * A, one + step / 2 * A)
        dB = np.linalg.solve(one - step / 2 * A, step * doubled(B[a]))
        length = int(f.get("L", 0))
        back = np.linalg.inv(one - np.linalg.matrix_power(dA, length)) if length else one
        for c in range(len(C)):
            row, x = doubled(C[c, h]) @ back, dB
            for k in range(L):
                kernels[c, h, k], x = (row @ x).real, dA @ x
    return convolved(kernels[0], u, kernels[1] if len(C) == 2 else None) + f["D"].reshape(-1) * u


def s5(raw: Raw, u: np.ndarray) -> np.ndarray:
    """The reference code, conj_sym, zoh."""
    f = {key: value.astype(float) for key, value in raw.items()}
    Lambda, step = f["Lambda_re"] + 1j * f["Lambda_im"], np.exp(f["log_step"][:, 0])
    pole = np.exp(Lambda * step)
    return scan(pole, ((pole - 1) / Lambda)[:, None] * pair(raw["B"]), 2 * pair(raw["C"]), u) + f["D"] * u


def torch_s5(raw: Raw, u: np.ndarray) -> np.ndarray:
    """s5-pytorch: all modes stored; the reverse direction in the second half of C."""
    Lambda, step = raw["Lambda"].astype(complex), np.exp(raw["log_step"].astype(float))
    pole, C, n = np.exp(Lambda * step), raw["C"].astype(complex), len(Lambda)
    B = ((pole - 1) / Lambda)[:, None] * pair(raw["B"])
    y = scan(pole, B, C[:, :n], u)
    return y + (scan(pole, B, C[:, n:], u[::-1])[::-1] if C.shape[1] > n else 0.0) + raw["D"].astype(float) * u


def lru(raw: Raw, u: np.ndarray) -> np.ndarray:
    """All spellings: B complex, B_re and B_im, or Bp, whose output sees the state before the update."""
    f = {key: value.astype(complex if value.dtype.kind == "c" else float) for key, value in raw.items()}
    pole = np.exp(-np.exp(f["nu_log"]) + 1j * np.exp(f["theta_log"]))
    B = f["B_re"] + 1j * f["B_im"] if "B_re" in f else f.get("Bp", f.get("B"))
    C = f["C_re"] + 1j * f["C_im"] if "C_re" in f else f["C"]
    D = np.diag(f["D"]) if f["D"].ndim == 1 else f["D"]
    return scan(pole, np.exp(f["gamma_log"])[:, None] * B, C, u, delayed="Bp" in f) + u @ D.T


# --- what is stored of them ------------------------------------------------------------------------------------------


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape)


def complex_normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return normal(rng, *shape) + 1j * normal(rng, *shape)


def minimal_s4d_arrays(rng: np.random.Generator, H: int = 4, N: int = 8) -> Raw:
    return {
        "D": normal(rng, H),
        "kernel.C": normal(rng, H, N, 2) / np.arange(1, N + 1)[:, None] ** 2,
        "kernel.log_dt": np.log(rng.uniform(0.01, 0.1, H)),
        "kernel.log_A_real": np.log(0.5) + 0.2 * normal(rng, H, N),
        "kernel.A_imag": np.pi * np.arange(N) * np.ones((H, 1)),
    }


def full_s4d_arrays(rng: np.random.Generator, H: int = 4, N: int = 8, channels: int = 2, copies: int = 2) -> Raw:
    return {
        "D": normal(rng, 1, H),
        "kernel.inv_dt": np.log(np.expm1(rng.uniform(0.01, 0.1, (H, 1)))),
        "kernel.C": normal(rng, channels, H, N, 2) / np.arange(1, N + 1)[:, None] ** 2,
        "kernel.B": normal(rng, 1, copies, N, 2),
        "kernel.A_real": np.log(0.5) + 0.2 * normal(rng, copies, N),
        "kernel.A_imag": -np.pi * np.arange(N) * np.ones((copies, 1)),
    }


def old_s4_arrays(rng: np.random.Generator, H: int = 3, N: int = 6, *, low_rank: bool, channels: int = 1) -> Raw:
    key = "kernel.kernel."
    raw = {
        "D": normal(rng, 1, H),
        key + "C": normal(rng, channels, H, N, 2) / np.arange(1, N + 1)[:, None] ** 2,
        key + "log_dt": np.log(rng.uniform(0.02, 0.1, (H, 1))),
        key + "B": normal(rng, 1, H, N, 2),
        key + "inv_w_real": np.log(0.5) + 0.2 * normal(rng, H, N),
        key + "w_imag": np.pi * np.arange(N) * np.ones((H, 1)),
    }
    if low_rank:
        return raw | {key + "P": normal(rng, 1, H, N, 2), key + "L": np.array(64)}
    return {name.replace("inv_w", "inv_A").replace("w_imag", "A_imag"): value for name, value in raw.items()} | {
        key + "B": normal(rng, H, N, 2)
    }


def s5_arrays(rng: np.random.Generator, P: int = 10, H: int = 3) -> Raw:
    return {
        "Lambda_re": -rng.uniform(0.3, 2.0, P),
        "Lambda_im": np.sort(rng.uniform(0.0, 20.0, P)),
        "B": normal(rng, P, H, 2) / np.arange(1, P + 1)[:, None, None],
        "C": normal(rng, H, P, 2),
        "D": normal(rng, H),
        "log_step": np.log(rng.uniform(0.02, 0.1, (P, 1))),
    }


def torch_s5_arrays(rng: np.random.Generator, P: int = 10, H: int = 3, directions: int = 2) -> Raw:
    return {
        "Lambda": -rng.uniform(0.3, 2.0, P) + 1j * rng.uniform(-9, 9, P),
        "B": normal(rng, P, H, 2) / np.arange(1, P + 1)[:, None, None],
        "C": complex_normal(rng, H, directions * P),
        "D": normal(rng, H),
        "log_step": np.log(rng.uniform(0.02, 0.1, P)),
    }


def lru_arrays(rng: np.random.Generator, spelling: str, N: int = 10, m: int = 3, p: int = 3) -> Raw:
    radius = rng.uniform(0.7, 0.98, N)
    B, C = complex_normal(rng, N, m) / np.arange(1, N + 1)[:, None], complex_normal(rng, p, N)
    raw = {
        "nu_log": np.log(-np.log(radius)),
        "theta_log": np.log(rng.uniform(0.01, np.pi, N)),
        "gamma_log": 0.5 * np.log(1 - radius**2),
    }
    if spelling == "B_re":
        return raw | {"B_re": B.real, "B_im": B.imag, "C_re": C.real, "C_im": C.imag, "D": normal(rng, p)}
    return raw | {spelling: B, "C": C, "D": normal(rng, p, m)}


def single(raw: Raw) -> Raw:
    """In single precision, as trained."""
    kinds = {"f": np.float32, "c": np.complex64, "i": np.int64}
    return {key: np.asarray(value).astype(kinds[np.asarray(value).dtype.kind]) for key, value in raw.items()}


# --- files -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Odd:
    """One file of one code base.

    ``layers`` draws the prefix of each layer's keys to its arrays; ``write`` puts them into a file, with all that lies
    beside them there, and ``read`` gets all arrays back, by that code's own library; ``run`` is what a layer computes;
    ``flags`` say what arrays cannot tell.
    """

    layers: Callable[[np.random.Generator], dict[str, Raw]]
    write: Callable[[Path, Raw], Path]
    read: Callable[[Path], Raw]
    run: Run
    flags: tuple[str, ...] = ()
    needs: str = ""


def joined(layers: Mapping[str, Raw]) -> Raw:
    return {f"{prefix}{key}": value for prefix, raw in layers.items() for key, value in single(raw).items()}


def below(flat: Raw, prefix: str) -> Raw:
    return {key.removeprefix(prefix): value for key, value in flat.items() if key.startswith(prefix)}


def channels_in(raw: Raw) -> int:
    """Inputs of a layer."""
    B = next((raw[key] for key in ("B", "Bp", "B_re") if key in raw), None)
    return int(raw["D"].size if B is None else B.shape[1])


def npz(folder: Path, flat: Raw) -> Path:
    np.savez(folder / "odd.npz", **flat)
    return folder / "odd.npz"


def from_npz(path: Path) -> Raw:
    return dict(np.load(path))


def tensors(flat: Raw) -> OrderedDict[str, Any]:
    import torch

    return OrderedDict((key, torch.from_numpy(np.array(value))) for key, value in flat.items())


def weights(path: Path) -> Any:
    """By torch, which may trust what this file wrote."""
    import torch

    return torch.load(path, weights_only=False)


def arrays(state: Mapping[str, Any]) -> Raw:
    return {key: value.float().numpy() if "bfloat16" in str(value.dtype) else value.numpy()
            for key, value in state.items()}  # fmt: skip


def ddp(folder: Path, flat: Raw) -> Path:
    """Trained by DistributedDataParallel around a compiled module; an average of the weights beside them."""
    import torch

    ema = OrderedDict((key, 0.99 * value) for key, value in tensors(flat).items())
    content = {"model": tensors(flat), "ema": ema, "epoch": 7, "acc": np.float64(77.25), "best_acc": np.float32(78.5)}
    torch.save(content, folder / "ckpt.pth")
    return folder / "ckpt.pth"


class HyperParameters(dict):  # type: ignore[type-arg]
    """Stands for the configuration objects (OmegaConf, argparse) that Lightning saves beside the weights."""

    def __init__(self, **entries: Any) -> None:
        super().__init__(entries)
        self.flags = {"struct": True}


def lightning(folder: Path, flat: Raw) -> Path:
    """A Lightning checkpoint with an object of foreign code in it, and moments of the unreduced sizes."""
    import torch

    state = tensors(flat)
    moments = {i: {"step": torch.tensor(3.0), "exp_avg": 0 * value} for i, value in enumerate(state.values())}
    content = {
        "epoch": 3, "global_step": 900, "pytorch-lightning_version": "2.4.0", "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 3}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val/accuracy'}": {"best_model_score": torch.tensor(0.9)}},
        "optimizer_states": [{"state": moments, "param_groups": [{"lr": 1e-3, "params": list(range(len(state)))}]}],
        "hyper_parameters": HyperParameters(lr=1e-3, layer={"d_state": 64}), "hparams_name": "kwargs",
    }  # fmt: skip
    torch.save(content, folder / "last.ckpt")
    return folder / "last.ckpt"


def tutorial(folder: Path, flat: Raw) -> Path:
    """As PyTorch's tutorial saves a training state."""
    import torch

    state = tensors(flat)
    moments = {i: {"exp_avg": 0 * value, "exp_avg_sq": 0 * value} for i, value in enumerate(state.values())}
    optimizer = {"state": moments, "param_groups": [{"lr": 1e-3, "params": list(range(len(state)))}]}
    content = {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": optimizer, "loss": torch.tensor(0.25)}
    torch.save(content, folder / "state.tar")
    return folder / "state.tar"


def halves(folder: Path, flat: Raw) -> Path:
    """bfloat16 in safetensors."""
    import torch
    from safetensors.torch import save_file

    save_file({key: value.to(torch.bfloat16) for key, value in tensors(flat).items()}, folder / "half.safetensors")
    return folder / "half.safetensors"


def from_halves(path: Path) -> Raw:
    from safetensors.torch import load_file

    return arrays(load_file(path))


def plain(folder: Path, flat: Raw) -> Path:
    import torch

    torch.save(tensors(flat), folder / "weights.pt")
    return folder / "weights.pt"


V4 = ("--discretization", "zoh", "--dt-transform", "softplus")

UNET = {"down.0.0.net.1.layer.": 4, "down.1.0.net.1.layer.": 8, "mid.layer.": 8, "up.0.1.net.1.layer.": 4}
"""Where the layers of an encoder-decoder lie, and their channels; not in the order in which they run."""

ODD = {
    "S4D, compiled, distributed, averaged": Odd(
        lambda rng: {f"module._orig_mod.s4_layers.{i}.": minimal_s4d_arrays(rng) for i in range(2)},
        ddp, lambda path: arrays(weights(path)["model"]), minimal_s4d, ("--prefix", "model"), "torch",
    ),
    "S4D, PyTorch's tutorial": Odd(
        lambda rng: {f"s4_layers.{i}.": minimal_s4d_arrays(rng) for i in range(2)},
        tutorial, lambda path: arrays(weights(path)["model_state_dict"]), minimal_s4d, (), "torch",
    ),
    "S4D, version 4, both directions, in an encoder-decoder": Odd(
        lambda rng: {f"generator.{place}": full_s4d_arrays(rng, H) for place, H in UNET.items()},
        plain, lambda path: arrays(weights(path)), full_s4d, V4, "torch",
    ),
    "S4 before version 4, Lightning": Odd(
        lambda rng: {f"model.c_layers.{i}.layer.": old_s4_arrays(rng, low_rank=True) for i in range(2)},
        lightning, lambda path: arrays(weights(path)["state_dict"]), old_s4, (), "torch",
    ),
    "S4 before version 4, both directions": Odd(
        lambda rng: {"layers.0.s4.": old_s4_arrays(rng, low_rank=True, channels=2)}, npz, from_npz, old_s4,
    ),
    "S4D of version 3": Odd(
        lambda rng: {"layers.0.layer.": old_s4_arrays(rng, low_rank=False)},
        npz, from_npz, old_s4, ("--discretization", "bilinear"),
    ),
    "S5, bfloat16": Odd(
        lambda rng: {f"encoder/layers_{i}/seq/": s5_arrays(rng) for i in range(2)},
        halves, from_halves, s5, ("--conj-sym",), "torch",
    ),
    "s5-pytorch, both directions": Odd(
        lambda rng: {f"blocks.{i}.s5.seq.": torch_s5_arrays(rng) for i in range(2)},
        plain, lambda path: arrays(weights(path)), torch_s5, (), "torch",
    ),
    "LRU, complex and rectangular": Odd(
        lambda rng: {"lru.": lru_arrays(rng, "B", m=2, p=4)},
        plain, lambda path: arrays(weights(path)), lru, (), "torch",
    ),
    "LRU of neural-ssm": Odd(
        lambda rng: {f"blocks.{i}.lru.": lru_arrays(rng, "Bp") for i in range(2)}, npz, from_npz, lru,
    ),
    "LRU in parts": Odd(
        lambda rng: {f"layers_{i}/seq/": lru_arrays(rng, "B_re") for i in range(2)}, npz, from_npz, lru,
    ),
}  # fmt: skip
"""Every case by what it is."""
