"""Methods that reduce a whole model from what it sees, and spread the budget themselves: one file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from ssmreduce.methods.named import Named, Registry
from ssmreduce.network import Network, Parts

Reducer = Callable[[int], tuple[Parts, str]]
"""The parts of the model with so many states, and the name of the allocation that was found best."""


@dataclass(frozen=True, kw_only=True)
class WholeModel(Named, ABC):
    """A value with a name, like a method; its fields are its parameters."""

    @abstractmethod
    def reducer(self, network: Network, seed: int) -> Reducer:
        """Return what reduces to a budget; what all budgets share is computed once."""


WHOLE_MODELS: Registry[WholeModel] = Registry("method of whole models", WholeModel, __name__)
