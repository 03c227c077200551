"""Of long sequences fewer are looked at where that changes nothing that counts, and nothing is run twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_network import ToyNetwork, layer

from ssmreduce.recorded import stages
from ssmreduce.recorded.budget import CURVE_EXAMPLES, curve_examples
from ssmreduce.recorded.recipe import Recipe
from ssmreduce.recorded.recording import spread_over
from ssmreduce.recorded.search import Search
from ssmreduce.recorded.stages import refit_in_sequence
from theory.reduction.recorded_refit import refit_output


def test_effects_are_measured_on_all_examples_of_short_sequences_and_a_quarter_of_long_ones():
    assert curve_examples(1) == curve_examples(784) == CURVE_EXAMPLES
    assert curve_examples(16_000) == CURVE_EXAMPLES // 4
    assert (np.diff([curve_examples(length) for length in range(1, 20_000, 7)]) <= 0).all()


@pytest.mark.parametrize(("total", "count"), [(200, 25), (7, 7), (3, 9), (10, 3), (5, 1)])
def test_some_of_a_record_are_spread_over_all_of_it(total: int, count: int):
    """The first ones of a data set in the order of its classes are of one class."""
    some = spread_over(total, count)
    assert len(some) == len(set(some.tolist())) == min(total, count)
    assert some[0] == 0
    if count > 1:
        assert some[-1] == total - 1
        assert np.ptp(np.diff(some)) <= 1


def test_c_and_d_fit_all_sequences_where_poles_and_b_were_fitted_on_some(monkeypatch: pytest.MonkeyPatch):
    search = Search(ToyNetwork([layer(1), layer(2)]), Recipe(observability=("exact",)))
    recording = search.recording
    start = search.candidate("exact", tuple(max(1, one.order // 2) for one in search.network.parts.layers))
    monkeypatch.setattr(stages, "POLISHED_SAMPLES", 3 * recording.inputs(0).shape[1])
    found = refit_in_sequence(recording, start, iterations=3)
    seen = search.network.run(found, recording.rows, record=(0, 1))
    for index, small in enumerate(found.layers):
        assert not np.allclose(small.system.poles, start.layers[index].system.poles, rtol=1e-3, atol=0)
        again = refit_output(small.system, seen.inputs[index], recording.outputs(index), seen.lengths)
        assert again.before == pytest.approx(again.after, rel=1e-4)


def test_no_parts_run_twice_in_a_row_on_the_held_out_examples(monkeypatch: pytest.MonkeyPatch):
    network = ToyNetwork([layer(1), layer(2)])
    search = Search(network, Recipe(observability=("exact",), polish=2, finalists=1, together=0))
    seen, real = [], network.run

    def run(parts, rows, record=()):
        if np.array_equal(rows, search.held_out):
            seen.append(parts)
        return real(parts, rows, record)

    monkeypatch.setattr(network, "run", run)
    outcome = search.reduce(sum(one.order for one in network.parts.layers) // 2)
    assert len({id(parts) for parts in seen}) >= len(seen) - 1  # the chosen model may have been judged long before
    assert search.judge(replace(outcome.parts)) == outcome.divergence  # of equal parts, run afresh
