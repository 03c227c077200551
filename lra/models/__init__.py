"""The models, built from options or to fit the arrays of a checkpoint."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from flax import linen as nn

from lra.models.block import Block
from lra.models.classifier import Classifier, Encoder, RetrievalClassifier
from lra.models.s4d import S4DSSM, S4Block, s4_norm
from lra.models.s5 import S5SSM

__all__ = [
    "LATER_OPTIONS",
    "OWN_OPTIONS",
    "S4DSSM",
    "S5SSM",
    "SHARED_OPTIONS",
    "TASK_OPTIONS",
    "Block",
    "Classifier",
    "Encoder",
    "RetrievalClassifier",
    "S4Block",
    "build",
    "s4d_model",
    "s5_model",
    "stored_copies",
    "stored_states",
]


SHARED_OPTIONS: tuple[str, ...] = (
    "d_model",
    "n_layers",
    "discretization",
    "bidirectional",
    "step_rescale",
    "dropout",
    "prenorm",
    "batchnorm",
    "bn_momentum",
    "mode",
    "mask_padding",
    "precision",
)
OWN_OPTIONS: dict[str, tuple[str, ...]] = {
    "s5": ("C_init", "conj_sym", "clip_eigs", "activation"),
    "s4d": ("n_ssm", "A_init", "dt_transform"),
}
TASK_OPTIONS: tuple[str, ...] = ("d_input", "n_classes", "tokens", "padded", "retrieval")
LATER_OPTIONS: dict[str, Any] = {
    "precision": "float32",
    "tokens": False,
    "padded": False,
    "retrieval": False,
    "mask_padding": False,
}
"""Options that models from before there was a choice do not name, and what those models have."""


def build(architecture: str, states: int | tuple[int, ...], **options: Any) -> nn.Module:
    """Return the ``s5`` or ``s4d`` model with `states` stored states in a layer (S4D: in a channel of it)."""
    if architecture == "s5":
        return s5_model(P=states, **options)
    if architecture == "s4d":
        N = 2 * states if isinstance(states, int) else tuple(2 * n for n in states)
        return s4d_model(N=N, **options)
    raise ValueError(f"architecture {architecture!r} is not one of {', '.join(OWN_OPTIONS)}")


def share(options: dict[str, Any], module: type[nn.Module]) -> dict[str, Any]:
    """Take those of the `options` that are attributes of a module out of the dict, and return them."""
    names = {field.name for field in dataclasses.fields(module)} - {"parent", "name"}
    return {name: options.pop(name) for name in names & options.keys()}


def s5_model(*, d_model: int, n_layers: int, P: int | tuple[int, ...], **options: Any) -> nn.Module:
    """Return a deep S5 model; `P` may differ from layer to layer (a reduced model).

    The `options` are those of `lra.models.s5.S5SSM`, `lra.models.block.Block` and `classifier`.
    """
    sizes = (P,) * n_layers if isinstance(P, int) else tuple(P)
    system, around = share(options, S5SSM), share(options, Block)
    layers = (functools.partial(S5SSM, H=d_model, P=states, **system) for states in sizes)
    makers = tuple(functools.partial(Block, ssm=ssm, H=d_model, **around) for ssm in layers)
    return classifier(makers, d_model=d_model, **options)


def s4d_model(
    *,
    d_model: int,
    n_layers: int,
    N: int | tuple[int, ...],
    n_ssm: int | tuple[int, ...] | None = None,
    bidirectional: bool = True,
    mask_padding: bool = False,
    **options: Any,
) -> nn.Module:
    """Return a deep S4D model; `N` (twice the stored states of a channel) and `n_ssm` may differ from layer to layer.

    The `options` are those of `lra.models.s4d.S4DSSM`, `lra.models.s4d.S4Block` and `classifier`. Padding never enters
    the state space systems; with `mask_padding` it does not enter the batch norms either.
    """
    sizes = (N,) * n_layers if isinstance(N, int) else tuple(N)
    copies = n_ssm if isinstance(n_ssm, tuple) else (n_ssm,) * n_layers
    system = share(options, S4DSSM) | {"H": d_model, "bidirectional": bidirectional}
    around = share(options, S4Block) | {"H": d_model, "mask_norm": mask_padding}
    layers = (functools.partial(S4DSSM, N=n, n_ssm=shared, **system) for n, shared in zip(sizes, copies, strict=True))
    makers = tuple(functools.partial(S4Block, ssm=ssm, **around) for ssm in layers)
    block = S4Block(ssm=S4DSSM, **around)  # for the defaults of what was not given
    final_norm = functools.partial(s4_norm, block.batchnorm, block.bn_momentum, mask_padding) if block.prenorm else None
    s4 = {"final_norm": final_norm, "token_std": 1.0, "exact_gelu": True}
    return classifier(makers, d_model=d_model, mask_padding=True, **s4, **options)


def classifier(
    makers: tuple[Callable[..., nn.Module], ...],
    *,
    d_model: int,
    d_input: int,
    n_classes: int,
    mode: str = "pool",
    padded: bool = False,
    mask_padding: bool = False,
    tokens: bool = False,
    retrieval: bool = False,
    final_norm: Callable[[], Callable[..., Any]] | None = None,
    token_std: float | None = None,
    exact_gelu: bool = False,
    precision: str = "float32",
) -> nn.Module:
    """Return a model of the given blocks with the head of a classification or a `retrieval` task."""
    encoder = functools.partial(
        Encoder,
        blocks=makers,
        H=d_model,
        tokens=tokens,
        d_input=d_input,
        final_norm=final_norm,
        token_std=token_std,
        precision=precision,
    )
    if retrieval:
        return RetrievalClassifier(
            encoder_maker=encoder,
            H=d_model,
            n_classes=n_classes,
            padded=padded,
            mask_padding=mask_padding,
            exact_gelu=exact_gelu,
        )
    return Classifier(encoder_maker=encoder, n_classes=n_classes, mode=mode, padded=padded, mask_padding=mask_padding)


def stored_states(params: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the stored states of each layer (S4D: of one channel); they differ in a reduced model."""
    return tuple(
        len(seq["Lambda_re"]) if "Lambda_re" in seq else seq["kernel"]["A_real"].shape[1] for seq in _layers(params)
    )


def stored_copies(params: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the copies of A and B in each S4D layer; a layer whose channels were reduced one by one has one each."""
    return tuple(seq["kernel"]["A_real"].shape[0] for seq in _layers(params))


def _layers(params: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    encoder = params["encoder"]
    n_layers = sum(name.startswith("layers_") for name in encoder)
    return [encoder[f"layers_{i}"]["seq"] for i in range(n_layers)]
