"""aTENNuate's denoiser through the network protocol: trained on noisy speech, reduced, measured against itself.

    python docs/record_denoiser.py train --data FOLDER -o denoiser.pt    # 600 steps, twenty minutes on one core
    python docs/record_denoiser.py measure denoiser.pt --data FOLDER     # writes docs/recorded/denoiser.json

FOLDER holds ``speech_commands8_8k_mulaw.npz``. Needs PyTorch and the package ``attenuate`` (with ``einops`` and
``opt_einsum``); what that imports for sound files and downloads is not needed, and replaced by nothing.
"""

from __future__ import annotations

import argparse
import re
import resource
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
from record import HERE, commit, machine, write

STEPS, BATCH, RATE = 600, 4, 2e-3
SAMPLES, CLIP = 8192, 8000
RECORDED, TESTED = 32, 16
REMOVED, OWN = (0.8, 0.9, 0.95), (0.5, 0.75)
WHAT = (
    "'snr': energy of the whole network's output over that of the difference, in dB, on noisy clips of the test split "
    "that nothing was fitted on; 'balanced' and 'last' keep the same part of every layer; 'measured': the budget by "
    "the measured effect on the output; 'as stored': real B and C, as aTENNuate's own code runs it"
)


def denoiser() -> Any:
    """The package's module, untrained."""
    for name in ("librosa", "torchaudio", "huggingface_hub"):
        sys.modules.setdefault(name, types.ModuleType(name)).hf_hub_download = None  # type: ignore[attr-defined]
    from attenuate.model import Denoiser

    return Denoiser()


def mixtures(data: str, split: str, rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy and clean speech, (N, SAMPLES) float32: coloured noise and other speakers at -5 to 15 dB."""
    file, rng = np.load(Path(data) / "speech_commands8_8k_mulaw.npz", allow_pickle=False), np.random.default_rng(seed)
    clips = file[f"x_{split}"]
    clean = np.zeros((len(rows), SAMPLES), np.float32)
    clean[:, :CLIP] = decoded(clips[rows])
    noise, f = np.empty_like(clean), np.fft.rfftfreq(SAMPLES)
    f[0] = f[1]
    for one in noise:
        white = np.fft.irfft(np.fft.rfft(rng.standard_normal(SAMPLES)) * f ** -rng.uniform(0, 1), SAMPLES)
        others = decoded(clips[rng.integers(0, len(clips), 6)]).sum(axis=0)
        babble = np.zeros(SAMPLES)
        babble[:CLIP] = others / max(others.std(), 1e-3)
        share = rng.uniform(0, 1)
        one[:] = share * white / white.std() + (1 - share) * babble
    ratio = 10 ** (rng.uniform(-5, 15, len(rows)) / 10)
    power = np.maximum(np.square(clean).mean(axis=1), 1e-6)
    noisy = clean + noise * np.sqrt(power / np.square(noise).mean(axis=1) / ratio)[:, None]
    scale = 0.1 / np.sqrt(np.square(noisy).mean(axis=1, keepdims=True))
    return (noisy * scale).astype(np.float32), (clean * scale).astype(np.float32)


def decoded(x: np.ndarray) -> np.ndarray:
    """Mu-law bytes to samples."""
    s = 2 * x.astype(np.float32) / 255 - 1
    return np.asarray(np.sign(s) * (256.0 ** np.abs(s) - 1) / 255)


def train(data: str, path: Path) -> None:
    """AdamW on the logarithm of the squared error over the energy of the clean speech."""
    import torch

    torch.manual_seed(0)
    module, clips = denoiser(), 6266
    optimizer = torch.optim.AdamW(module.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS, pct_start=0.1)
    for step in range(STEPS):
        rows = np.random.default_rng(step).integers(0, clips, BATCH)
        noisy, clean = map(torch.from_numpy, mixtures(data, "train", rows, step))
        error = (module(noisy[:, None])[:, 0] - clean).square().sum(-1) / (clean.square().sum(-1) + 1e-3)
        loss = 10 * torch.log10(error + 1e-3).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        print(f"step {step + 1} of {STEPS}: {loss.item():.2f} dB", end="\r", flush=True)
    torch.save(module.state_dict(), path)


def network_class() -> Any:
    """The page's own."""
    page = (HERE / "bring_your_own_network.md").read_text(encoding="utf-8")
    snippet = re.search(r"^```python\n(# needs torch and Denoiser\n.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    assert snippet is not None
    space: dict[str, Any] = {"__name__": "page"}
    exec(compile(snippet[1], "bring_your_own_network.md", "exec"), space)
    return space["DenoiserNetwork"]


def measure(data: str, path: Path) -> None:
    """Every row, and the record."""
    import torch

    import ssmreduce

    torch.set_num_threads(1)
    kind, rows = network_class(), list[dict[str, Any]]()
    signals, wanted = mixtures(data, "test", np.arange(0, 3259, 203)[:TESTED], 99)
    seen, _ = mixtures(data, "train", np.arange(0, 6266, 196)[:RECORDED], 11)

    def trained() -> Any:
        module = denoiser()
        module.load_state_dict(torch.load(path, weights_only=True))
        return module

    with torch.no_grad():
        whole = trained()(torch.from_numpy(signals[:, None])).mT.numpy()

    def add(removed: float, method: str, small: Any, judge: Any, start: float) -> None:
        by_name = {layer.name: layer for layer in small.layers}
        parts = ssmreduce.Parts(layers=tuple(by_name[layer.name] for layer in judge.parts.layers))
        rest = judge.run(parts, np.arange(TESTED)).logits - whole
        row = {"removed": removed, "method": method, "orders": [layer.order for layer in parts.layers],
               "snr": round(float(10 * np.log10(np.square(whole).sum() / np.square(rest).sum())), 1) + 0.0,
               "processor": round(used() - start)}  # fmt: skip
        rows.append(row)
        print(row, flush=True)

    for own in (False, True):
        model = ssmreduce.load(path)
        model = model if own else model.in_form("s5")
        network, judge = (kind(trained(), model, torch.from_numpy(x[:, None])) for x in (seen, signals))
        agreement = float(np.abs(judge.run(judge.parts, np.arange(TESTED)).logits - whole).max())
        recipe, known = ssmreduce.Recipe(together=0, finalists=1), dict[str, float]()
        for removed in OWN if own else REMOVED:
            for method in () if own else ("last", "balanced"):
                start = used()
                small = ssmreduce.reduce_model(model, ratio=removed, method=method, allocation="uniform")
                add(removed, f"`{method}`", small, judge, start)
            start = used()
            small = ssmreduce.reduce_model(model, ratio=removed, network=network, recipe=recipe, known=known)
            add(removed, "`network=`, as stored" if own else "`network=`", small, judge, start)
        if not own:
            start = used()
            small = ssmreduce.reduce_model(model, ratio=0.9, method="balanced", network=network)
            add(0.9, "`balanced`, measured", small, judge, start)
            told = agreement
    noise, denoised = (10 * np.log10(np.square(wanted).sum(1) / np.square(x - wanted).sum(1))
                       for x in (signals, whole[..., 0]))  # fmt: skip
    head = {
        "command": "python docs/record_denoiser.py train --data FOLDER -o denoiser.pt; ... measure denoiser.pt ...",
        "what": WHAT, "machine": machine(), "commit": commit(), "steps": STEPS, "recorded": RECORDED, "tested": TESTED,
        "agreement": told, "largest": round(float(np.abs(whole).max()), 3),
        "input_snr": round(float(np.median(noise)), 2), "output_snr": round(float(np.median(denoised)), 2),
    }  # fmt: skip
    write("denoiser", head | {"rows": sorted(rows, key=lambda row: row["removed"])})


def used() -> float:
    """Processor seconds of this process."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "measure"))
    parser.add_argument("weights", nargs="?", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    if arguments.what == "train":
        train(arguments.data, arguments.output)
    else:
        measure(arguments.data, arguments.weights)


if __name__ == "__main__":
    main()
