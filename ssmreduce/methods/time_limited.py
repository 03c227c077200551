"""Balanced truncation over the length of a task's sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.registry import METHODS, Method, Source, shared, system_of
from theory.errors import InputError
from theory.gramians.time_limited import time_limited_gramians
from theory.reduction.balancing import Truncation
from theory.reduction.dense_pairs import truncate_by_pair
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class TimeLimited(Method):
    """Keeps what is reached and seen within a horizon: needs no data, and a slow pole does not rule everything.

    :func:`theory.gramians.time_limited.time_limited_gramians`.

    Attributes
    ----------
    horizon : int
        Samples; for a layer, the length of the task's sequences.
    exact_observability : bool
        Take the infinite observability Gramian with the finite reachability Gramian: then the result is stable by
        proof; with two finite ones it is checked.
    """

    horizon: int = 1000
    exact_observability: bool = False

    title = "time-limited balanced truncation"
    guarantee = "stable; error at most twice the sum of the Hankel singular values of the error"
    rank = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.horizon < 1:
            raise InputError(f"the horizon is a number of samples, at least 1; got {self.horizon}")

    def applies(self, source: Source) -> None:
        """Discrete time: a horizon is a number of samples."""
        require_discrete(self.name, source)

    def truncate(self, source: Source, order: int, *_: Any, **data: Any) -> Truncation:
        """Truncate the pair of finite Gramians."""
        system = system_of(source)

        def pair(modes: DiagonalStateSpace) -> tuple[Array, Array | None]:
            P, Q = time_limited_gramians(modes, self.horizon)
            return P, None if self.exact_observability else Q

        return truncate_by_pair(system, order, pair, shared(system), fall_back=True)


def require_diagonal_discrete(name: str, source: Source, *, records: bool = False) -> None:
    """Refuse dense and continuous-time systems, with what to do; `records`: batches that have no records, too.

    Raises
    ------
    InputError
    """
    system = system_of(source)
    if not isinstance(source, (SSMLayer, DiagonalStateSpace)):
        raise InputError(
            f"the method {name!r} needs a diagonal system; theory.reduction.diagonalization.rediagonalize gives one"
        )
    require_discrete(name, source)
    batch = getattr(system, "batch_shape", ())
    if records and batch and (len(batch) > 1 or (system.m, system.p) != (1, 1)):
        raise InputError(
            f"the method {name!r} needs scalar systems along one batch axis to go with the channels of a record; this "
            f"batch has shape {batch}: take its systems one by one, system[index]"
        )


def require_discrete(name: str, source: Source) -> None:
    """Refuse continuous time, with what to do.

    Raises
    ------
    InputError
    """
    if not system_of(source).is_discrete:
        raise InputError(f"the method {name!r} needs discrete time: discretize the system first")


METHODS.register("time_limited", TimeLimited())
