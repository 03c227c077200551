"""The models, built from options or to fit the arrays of a checkpoint."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from flax import linen as nn

from lra.models.block import Block
from lra.models.classifier import Classifier, Encoder, RetrievalClassifier
from lra.models.s4d import S4DSSM, S4Block, s4_norm
from lra.models.s5 import S5SSM

__all__ = [
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


def build(architecture: str, states: int | tuple[int, ...], **options: Any) -> nn.Module:
    """Return the ``s5`` or ``s4d`` model with `states` stored states in a layer (S4D: in a channel of it)."""
    if architecture == "s5":
        return s5_model(P=states, **options)
    if architecture == "s4d":
        N = 2 * states if isinstance(states, int) else tuple(2 * n for n in states)
        return s4d_model(N=N, **options)
    raise ValueError(f"architecture {architecture!r} is not one of {', '.join(OWN_OPTIONS)}")


def s5_model(
    *,
    d_model: int,
    n_layers: int,
    P: int | tuple[int, ...],
    blocks: int = 1,
    C_init: str = "lecun_normal",
    discretization: str = "zoh",
    conj_sym: bool = True,
    clip_eigs: bool = False,
    bidirectional: bool = False,
    step_rescale: float = 1.0,
    dt_min: float = 0.001,
    dt_max: float = 0.1,
    scan: str = "auto",
    scan_chunk: int = 64,
    activation: str = "half_glu1",
    dropout: float = 0.0,
    prenorm: bool = True,
    batchnorm: bool = True,
    bn_momentum: float = 0.95,
    **head: Any,
) -> nn.Module:
    """Return a deep S5 model; `P` may differ from layer to layer (a reduced model).

    The options are those of `lra.models.s5.S5SSM`, `lra.models.block.Block` and, in `head`, of `classifier`.
    """
    sizes = (P,) * n_layers if isinstance(P, int) else tuple(P)
    makers = []
    for states in sizes:
        ssm = functools.partial(
            S5SSM,
            H=d_model,
            P=states,
            blocks=blocks,
            C_init=C_init,
            discretization=discretization,
            dt_min=dt_min,
            dt_max=dt_max,
            conj_sym=conj_sym,
            clip_eigs=clip_eigs,
            bidirectional=bidirectional,
            step_rescale=step_rescale,
            scan=scan,
            scan_chunk=scan_chunk,
        )
        block = functools.partial(Block, ssm=ssm, H=d_model, activation=activation, dropout=dropout)
        makers.append(functools.partial(block, prenorm=prenorm, batchnorm=batchnorm, bn_momentum=bn_momentum))
    return classifier(tuple(makers), d_model=d_model, **head)


def s4d_model(
    *,
    d_model: int,
    n_layers: int,
    N: int | tuple[int, ...],
    n_ssm: int | tuple[int, ...] | None = None,
    A_init: str = "lin",
    discretization: str = "zoh",
    dt_transform: str = "softplus",
    bidirectional: bool = True,
    step_rescale: float = 1.0,
    dt_min: float = 0.001,
    dt_max: float = 0.1,
    dropout: float = 0.0,
    prenorm: bool = True,
    batchnorm: bool = True,
    bn_momentum: float = 0.9,
    mask_padding: bool = False,
    **head: Any,
) -> nn.Module:
    """Return a deep S4D model; `N` (twice the stored states of a channel) and `n_ssm` may differ from layer to layer.

    The options are those of `lra.models.s4d.S4DSSM`, `lra.models.s4d.S4Block` and, in `head`, of `classifier`. Padding
    never enters the state space systems; with `mask_padding` it does not enter the batch norms either.
    """
    sizes = (N,) * n_layers if isinstance(N, int) else tuple(N)
    copies = n_ssm if isinstance(n_ssm, tuple) else (n_ssm,) * n_layers
    makers = []
    for states, shared in zip(sizes, copies, strict=True):
        ssm = functools.partial(
            S4DSSM,
            H=d_model,
            N=states,
            n_ssm=shared,
            A_init=A_init,
            discretization=discretization,
            dt_transform=dt_transform,
            dt_min=dt_min,
            dt_max=dt_max,
            bidirectional=bidirectional,
            step_rescale=step_rescale,
        )
        block = functools.partial(S4Block, ssm=ssm, H=d_model, dropout=dropout, mask_norm=mask_padding)
        makers.append(functools.partial(block, prenorm=prenorm, batchnorm=batchnorm, bn_momentum=bn_momentum))
    final_norm = functools.partial(s4_norm, batchnorm, bn_momentum, mask_padding) if prenorm else None
    s4 = {"final_norm": final_norm, "token_std": 1.0, "exact_gelu": True}
    return classifier(tuple(makers), d_model=d_model, mask_padding=True, **s4, **head)


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
