"""What is fitted once the layers are as they are: batch norms, then the decoder, each kept if the judge likes it."""

from __future__ import annotations

from ssmreduce.network import Parts, Pass
from ssmreduce.recorded.judge import Judge
from ssmreduce.recorded.outcome import Stage
from ssmreduce.recorded.recording import Sample
from ssmreduce.recorded.stages import DECODER_RIDGES, fit_decoder, pair_norms


def finished(
    judge: Judge, sample: Sample, parts: Parts, stages: list[Stage], detail: str, *, norms: bool, decoder: bool
) -> tuple[Parts, float]:
    """Return the parts with norms, then decoder, fitted on a sample, where wanted and better; and their distance."""
    score, found = judge.distance(parts), None
    if norms and parts.norms:
        found = judge.network.run(parts, sample.rows)
        before = parts
        trial = pair_norms(sample, parts, found)
        parts, score = judge.if_better(parts, score, trial, "norms", detail, stages)
        found = found if parts is before else None
    if decoder and parts.decoder is not None:
        found = judge.network.run(parts, sample.rows) if found is None else found
        parts, score = _decoded(judge, sample, parts, score, found, stages, detail)
    return parts, score


def _decoded(
    judge: Judge, sample: Sample, parts: Parts, score: float, found: Pass, stages: list[Stage], detail: str
) -> tuple[Parts, float]:
    """With the decoder of the ridge that is best on held-out features, if the judge likes it."""
    held = judge.run(parts).features
    if found.features is None or held is None:
        return parts, score
    trials = []
    for ridge in DECODER_RIDGES:
        trial = fit_decoder(sample, parts, ridge, found)
        assert trial.decoder is not None
        logits = held.astype(float) @ trial.decoder[0] + trial.decoder[1]
        trials.append((judge.measure.distance(judge.wanted, logits), ridge, trial))
    _, ridge, trial = min(trials, key=lambda item: item[:2])
    return judge.if_better(parts, score, trial, "decoder", f"{detail}, ridge {ridge:g}", stages)
