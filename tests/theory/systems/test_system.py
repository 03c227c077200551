"""Systems: validation at the door, frozen values, and the properties that the rest relies on."""

import numpy as np
import pytest

from theory.errors import DimensionError, InputError, StabilityError, TimeBaseError
from theory.norms.bracket import Bracket
from theory.systems.system import DiagonalStateSpace, StateSpace, require_stable


def test_arrays_are_copies_and_read_only(rng):
    A, B, C = rng.standard_normal((2, 2)), rng.standard_normal((2, 1)), rng.standard_normal((1, 2))
    system = StateSpace(A, B, C)
    A[0, 0] = 7.0
    assert system.A[0, 0] != 7.0
    with pytest.raises(ValueError, match="read-only"):
        system.A[0, 0] = 1.0
    diagonal = DiagonalStateSpace([0.5j], [[1.0]], [[1.0]])
    with pytest.raises(ValueError, match="read-only"):
        diagonal.poles[0] = 0.0


def test_kinds_are_kept():
    real = StateSpace([[1]], [[1]], [[1]], 3)
    assert real.is_real
    assert real.A.dtype == np.float64
    assert real.D.shape == (1, 1)
    assert not StateSpace([[1j]], [[1]], [[1]]).is_real
    assert StateSpace(np.eye(1, dtype=np.complex64), [[1]], [[1]]).A.dtype == np.complex128


def test_static_systems():
    static = StateSpace([], [], [], [[1.0, 2.0]])
    assert (static.n, static.m, static.p) == (0, 2, 1)
    assert static.poles.shape == (0,)
    require_stable(static)
    assert StateSpace(np.zeros((0, 0)), np.zeros((0, 3)), np.zeros((2, 0))).D.shape == (2, 3)


@pytest.mark.parametrize(
    "arguments",
    [
        (np.zeros((2, 3)), np.zeros((2, 1)), np.zeros((1, 2))),
        (np.eye(2), np.zeros((3, 1)), np.zeros((1, 2))),
        (np.eye(2), np.zeros((2, 1)), np.zeros((1, 3))),
        (np.eye(2), np.zeros((2, 1)), np.zeros((1, 2)), np.zeros((2, 2))),
        (np.eye(2), np.zeros(2), np.zeros((1, 2))),
    ],
)
def test_dense_shapes_are_checked(arguments):
    with pytest.raises(DimensionError) as caught:
        StateSpace(*arguments)
    assert caught.value.shapes


@pytest.mark.parametrize(
    ("poles", "B", "C"),
    [
        (0.5, [[1]], [[1]]),
        ([0.5, 0.6], [[1]], [[1, 1]]),
        ([0.5, 0.6], [[1], [1]], [[1]]),
        ([[0.5], [0.6]], [[1], [1]], [[1, 1]]),
    ],
)
def test_diagonal_shapes_are_checked(poles, B, C):
    with pytest.raises(DimensionError):
        DiagonalStateSpace(poles, B, C)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, complex(0, np.nan)])
def test_numbers_must_be_finite(bad):
    with pytest.raises(InputError, match=r"A\[0, 0\]"):
        StateSpace([[bad]], [[1]], [[1]])
    with pytest.raises(InputError, match="poles"):
        DiagonalStateSpace([bad], [[1]], [[1]])
    with pytest.raises(InputError, match="C_reverse"):
        DiagonalStateSpace([0.5], [[1]], [[1]], C_reverse=[[bad]])


@pytest.mark.parametrize("bad", ["abc", [["x"]], [[1, 2], [3]], [[None]], None])
def test_things_that_are_not_numbers(bad):
    with pytest.raises((InputError, DimensionError)):
        StateSpace(bad, [[1]], [[1]])


@pytest.mark.parametrize("dt", [0, -1.0, np.nan, np.inf, True, "1", [1.0], 1j])
def test_time_bases_are_checked(dt):
    with pytest.raises(TimeBaseError):
        StateSpace([[0.5]], [[1]], [[1]], dt=dt)


def test_diagonal_rules():
    with pytest.raises(InputError, match="complex"):
        DiagonalStateSpace([0.5], [[1]], [[1]], [[1j]])
    assert not DiagonalStateSpace([0.5], [[1]], [[1]], [[1j]], conjugate_pairs=False).is_real
    with pytest.raises(TimeBaseError):
        DiagonalStateSpace([-0.5], [[1]], [[1]], dt=None, delay=0)
    with pytest.raises(TimeBaseError):
        DiagonalStateSpace([-0.5], [[1]], [[1]], dt=None, C_reverse=[[1]])
    with pytest.raises(InputError, match="delay"):
        DiagonalStateSpace([0.5], [[1]], [[1]], delay=2)
    with pytest.raises(DimensionError):
        DiagonalStateSpace([0.5], [[1]], [[1]], C_reverse=[[1], [1]])


def test_keep_and_index(rng):
    batch = DiagonalStateSpace(
        0.5 * rng.uniform(size=(3, 4)), np.ones((3, 4, 1)), np.ones((3, 1, 4)), C_reverse=np.ones((3, 1, 4))
    )
    kept = batch.keep([2, 0])
    assert np.array_equal(kept.poles, batch.poles[:, [2, 0]])
    assert kept.C_reverse.shape == (3, 1, 2)
    assert np.array_equal(batch.keep(np.array([True, False, True, False])).poles, batch.poles[:, [0, 2]])
    assert batch[1].batch_shape == ()
    assert np.array_equal(batch[1].poles, batch.poles[1])
    with pytest.raises(InputError):
        batch[1][0]


@pytest.mark.parametrize("pole", [1.0, -1.0, 1j, 1.2, np.nextafter(1.0, 2.0)])
def test_unstable_discrete_poles_are_named(pole):
    with pytest.raises(StabilityError) as caught:
        require_stable(DiagonalStateSpace([0.5, pole], [[1], [1]], [[1, 1]]))
    assert caught.value.poles.tolist() == [pole]
    assert caught.value.margin <= 0
    with pytest.raises(StabilityError):
        require_stable(StateSpace([[pole]], [[1]], [[1]], dt=1.0))


def test_unstable_continuous_poles_are_named():
    for pole in (0.0, 1e-9, 3j):
        with pytest.raises(StabilityError):
            require_stable(DiagonalStateSpace([pole], [[1]], [[1]], dt=None))
    require_stable(DiagonalStateSpace([-1e-300], [[1]], [[1]], dt=None))


def test_brackets():
    bracket = Bracket(1.0, 1.25, 0.3)
    assert 1.1 in bracket
    assert 1.3 not in bracket
    assert bracket.width == pytest.approx(0.2)
    assert bracket.scaled(2.0).upper == 2.5
    assert Bracket(0.0, 0.0, 0.0).width == 0.0
    assert Bracket(1.0, np.inf, 0.0).width == np.inf
    assert bracket.to_dict()["lower"] == 1.0


def test_representations_are_short():
    assert "n=1" in repr(StateSpace([[0.5]], [[1]], [[1]]))
    assert len(repr(DiagonalStateSpace(np.zeros((2, 9)), np.zeros((2, 9, 1)), np.zeros((2, 1, 9))))) < 120


@pytest.mark.parametrize("n", [2, 5, 20])
@pytest.mark.parametrize("seed", range(3))
def test_computed_poles_within_rounding_of_the_boundary_count_as_on_it(n, seed):
    """An orthogonal matrix has all its poles on the circle, a skew one all on the axis, wherever rounding puts them."""
    M = np.random.default_rng(seed).standard_normal((n, n))
    for system in (
        StateSpace(np.linalg.qr(M)[0], np.ones((n, 1)), np.ones((1, n)), dt=1.0),
        StateSpace(M - M.T, np.ones((n, 1)), np.ones((1, n))),
    ):
        with pytest.raises(StabilityError):
            require_stable(system)
    require_stable(StateSpace((1 - 1e-12) * np.linalg.qr(M)[0], np.ones((n, 1)), np.ones((1, n)), dt=1.0))
    require_stable(StateSpace(np.diag([-1e-30, -1e6]), np.ones((2, 1)), np.ones((1, 2))))
