"""The models, built from a config or from the tensors of a checkpoint."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from flax import linen as nn

from lra.models.block import Block
from lra.models.classifier import Classifier, Encoder, RetrievalClassifier
from lra.models.s5 import S5SSM

__all__ = ["Block", "Classifier", "Encoder", "RetrievalClassifier", "S5SSM", "s5_model", "stored_states"]


def s5_model(
    *,
    d_model: int,
    n_layers: int,
    P: int | tuple[int, ...],
    d_input: int,
    n_classes: int,
    blocks: int = 1,
    C_init: str = "lecun_normal",
    discretization: str = "zoh",
    conj_sym: bool = True,
    clip_eigs: bool = False,
    bidirectional: bool = False,
    step_rescale: float = 1.0,
    dt_min: float = 0.001,
    dt_max: float = 0.1,
    activation: str = "half_glu1",
    dropout: float = 0.0,
    prenorm: bool = True,
    batchnorm: bool = True,
    bn_momentum: float = 0.95,
    mode: str = "pool",
    padded: bool = False,
    tokens: bool = False,
    retrieval: bool = False,
    scan: str = "auto",
    scan_chunk: int = 64,
) -> nn.Module:
    """Return a deep S5 model; `P` may differ from layer to layer (a reduced model).

    The options are those of `lra.models.s5.S5SSM`, `lra.models.block.Block` and `lra.models.classifier.Classifier`.
    """
    sizes: tuple[int, ...] = (P,) * n_layers if isinstance(P, int) else tuple(P)

    def block(states: int) -> Any:
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
        return functools.partial(
            Block,
            ssm=ssm,
            H=d_model,
            activation=activation,
            dropout=dropout,
            prenorm=prenorm,
            batchnorm=batchnorm,
            bn_momentum=bn_momentum,
        )

    encoder = functools.partial(
        Encoder, blocks=tuple(block(states) for states in sizes), H=d_model, tokens=tokens, d_input=d_input
    )
    if retrieval:
        return RetrievalClassifier(encoder_maker=encoder, H=d_model, n_classes=n_classes, padded=padded)
    return Classifier(encoder_maker=encoder, n_classes=n_classes, mode=mode, padded=padded)


def stored_states(params: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the number of stored states of each layer of a parameter tree; they differ in a reduced model."""
    encoder = params["encoder"]
    n_layers = sum(name.startswith("layers_") for name in encoder)
    return tuple(len(encoder[f"layers_{i}"]["seq"]["Lambda_re"]) for i in range(n_layers))
