"""What is owed besides a bracket: the proof that the system is stable, from the same eigenvectors and resolvents."""

from __future__ import annotations

import numpy as np

from theory.norms.responses.resolvent import Resolvent
from theory.norms.responses.response import Response
from theory.systems.stability import proved_by_discs, refuse
from theory.systems.system import DiagonalStateSpace, StateSpace, System


class Stability:
    """Whether the stability of a system is `proven`, or not owed; `unit` is its unit of time, for what errors say."""

    def __init__(self, system: System, unit: float, *, owed: bool) -> None:
        self.system, self.unit = system, unit
        # the poles of a diagonal system are known, and were looked at
        self.proven = not owed or isinstance(system, DiagonalStateSpace) or system.n == 0
        self.resolvent: Resolvent | None = None

    def ready(self, response: Response) -> bool:
        """Whether the response is worth its proofs; discs prove stability first, or raise where they disprove it."""
        modes = response.spectrum
        if not self.proven and modes is not None:
            assert isinstance(self.system, StateSpace)
            self.proven = proved_by_discs(
                self.system, modes.poles, modes.margin, modes.radii, self.unit, final=response.last
            )
        return self.proven or response.last

    def count(self, response: Response) -> None:
        """Count the stable eigenvalues, once the resolvent is bounded along the boundary."""
        if not self.proven and isinstance(response.form, Resolvent):
            self.resolvent = response.form
            self.proven = self.resolvent.stable_count() == self.system.n

    def settle(self) -> None:
        """Raise what kept the system from being proved stable."""
        if self.proven:
            return
        assert self.resolvent is not None
        poles, inside, largest = self.resolvent.poles, self.resolvent.stable_count(), self.resolvent.largest_resolvent
        refuse(np.asarray(poles), inside, largest, self.unit, discrete=self.resolvent.discrete)
