"""The stages that make a reduced model act like the whole one on recorded examples, each a function of the parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.network import Network, Parts, Pass
from ssmreduce.recorded.measures import measure_of
from ssmreduce.recorded.recording import Recording, Sample, spread_over
from ssmreduce.recorded.selection import selected
from theory.errors import AccuracyError, InputError, OrderError, StabilityError
from theory.reduction.gauss_newton import gauss_newton
from theory.reduction.gramian_pairs import pair_truncation
from theory.reduction.recorded_refit import fit_output, refit_output
from theory.systems.system import DiagonalStateSpace, System

Array = NDArray[Any]

REFUSALS = (AccuracyError, InputError, OrderError, StabilityError)
"""What makes a candidate fall out instead of ending the search."""

POLISHED_SAMPLES = 200_000
"""Poles and B are fitted on as many sequences as hold so many samples; C and D on all of them."""

DECODER_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Relative to the mean squared feature; which one is decided on held-out examples."""


def truncated(recording: Recording, index: int, kind: str, order: int) -> SSMLayer:
    """One layer cut to `order` states by the recorded P and the observability Gramian of a kind."""
    layer = recording.parts.layers[index]
    if order >= layer.order:
        return layer
    if not layer.format.projects:
        return selected(recording, index, order)
    found = pair_truncation(
        layer.system, order, recording.reachability[index], recording.observability(index, kind), bounds=False
    )
    return written(layer, found.system)


def written(layer: SSMLayer, system: System) -> SSMLayer:
    """The layer that computes `system`, as stored; refused where storage loses its stability."""
    assert isinstance(system, DiagonalStateSpace)
    found = layer.with_system(system)
    found.require_stable()
    return found


def refitted_alone(recording: Recording, index: int, layer: SSMLayer, sequences: Array) -> SSMLayer:
    """C and D of one layer fitted on the whole model's own record of it, on some `sequences` of it."""
    if layer is recording.parts.layers[index]:
        return layer
    D, real = recording.fits_feedthrough(layer), layer.format.real_outputs
    fit = fit_output(layer.system, recording.experiment(index, sequences), feedthrough=D, real_outputs=real)
    return layer.with_outputs(fit.system)


def refit_in_sequence(recording: Recording, parts: Parts, *, iterations: int = 0) -> Parts:
    """Layer by layer, with the inputs that the reduced layers before it give, towards the whole model's outputs.

    `iterations` Gauss-Newton steps on poles and B; 0 fits C and the diagonal of D alone. Layers that are not reduced
    are left alone.
    """
    wholes = recording.parts.layers
    for index, layer in enumerate(parts.layers):
        if layer is wholes[index]:
            continue
        if all(one is whole for one, whole in zip(parts.layers[:index], wholes)):
            seen = recording.whole  # nothing before it is reduced
        else:
            seen = recording.network.run(parts, recording.rows, record=(index,))
        record = (seen.inputs[index], recording.outputs(index), seen.lengths)
        D, real = recording.fits_feedthrough(layer), layer.format.real_outputs
        try:
            if iterations and layer.format.projects:
                better = written(layer, _polished(layer.system, record, iterations, D))
            else:
                fit = refit_output(layer.system, *record, feedthrough=D, real_outputs=real)
                better = layer.with_outputs(fit.system)
            parts = parts.with_layer(index, better)
        except REFUSALS:
            continue  # the layer stays as it was: the judge sees what that is worth
    return parts


def _polished(
    system: System, record: tuple[Array, Array, Array | None], iterations: int, feedthrough: bool | None
) -> System:
    """Gauss-Newton on some sequences, then C and D on all."""
    inputs, outputs, lengths = record
    held = np.full(len(inputs), inputs.shape[1]) if lengths is None else np.asarray(lengths)
    some = spread_over(len(held), int(np.ceil(POLISHED_SAMPLES / held.mean())))
    few = record if len(some) == len(held) else (
        inputs[some], outputs[some], None if lengths is None else held[some]
    )  # fmt: skip
    found = gauss_newton(system, *few, iterations=iterations, feedthrough=feedthrough).system
    return found if few is record else refit_output(found, *record, feedthrough=feedthrough).system


def pair_norms(sample: Sample, parts: Parts, found: Pass | None = None) -> Parts:
    """Move the statistics of the batch norms by what reduction changed in them, on the same examples.

    `found` is the pass of these parts over the examples of the sample; run when left out.
    """
    if not parts.norms:
        return parts
    found = sample.network.run(parts, sample.rows) if found is None else found
    before, after = sample.whole.moments, found.moments
    whole = sample.parts.norms
    moved = tuple(
        (mean + m1 - m0, var * np.where(v0 > 0, v1 / np.where(v0 > 0, v0, 1.0), 1.0))
        for (mean, var), (m0, v0), (m1, v1) in zip(whole, before, after, strict=True)
    )
    return replace(parts, norms=moved)


def fit_decoder(sample: Sample, parts: Parts, ridge: float, found: Pass | None = None) -> Parts:
    """Correct the decoder so that the reduced model's features give the whole model's outputs: ridge, closed form.

    Of signals every sample is an example; those where all features are zero are padding. `found` is the pass of these
    parts over the examples of the sample; run when left out.
    """
    if parts.decoder is None:
        return parts
    found = sample.network.run(parts, sample.rows) if found is None else found
    if found.features is None:
        return parts
    kernel, bias = (np.asarray(part, dtype=float) for part in parts.decoder)
    centred, F = measure_of(sample.network).centred, found.features.astype(float)
    alive = (F != 0).any(axis=-1) | (F.ndim == 2)
    F, wanted = F[alive], centred(sample.whole.logits.astype(float))[alive]
    given = F @ kernel + bias
    rest = wanted - centred(given)
    centre, offset = F.mean(axis=0), rest.mean(axis=0)
    X = F - centre
    gram = X.T @ X
    step = np.linalg.solve(gram + ridge * np.trace(gram) / len(gram) * np.eye(len(gram)), X.T @ (rest - offset))
    return replace(parts, decoder=(kernel + step, bias + offset - centre @ step))


def run_logits(network: Network, parts: Parts, rows: Array) -> Array:
    """Logits in float64."""
    return network.run(parts, rows).logits.astype(float)
