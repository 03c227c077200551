"""The typed exceptions of `lra`; each message says what to do next. Those of files are `ssmreduce`'s."""

from __future__ import annotations

from ssmreduce.files.errors import CheckpointError, CheckpointIOError

__all__ = ["CheckpointError", "CheckpointIOError", "ConfigError", "DataError", "DivergenceError", "LRAError"]


class LRAError(Exception):
    """Base of all errors that `lra` raises on purpose."""


class ConfigError(LRAError, ValueError):
    """A configuration has an unknown key or an impossible value."""


class DataError(LRAError, ValueError):
    """A data file is missing, truncated or not what its name says."""


class DivergenceError(LRAError, ArithmeticError):
    """The loss is no longer finite; carries the step and what was not finite.

    Attributes
    ----------
    step : int
        The optimizer step whose loss was not finite.
    diagnosis : list of str
        What the last finite parameters say about the cause.
    """

    def __init__(self, step: int, diagnosis: list[str]) -> None:
        super().__init__(f"the loss is not finite at step {step}: " + "; ".join(diagnosis))
        self.step = step
        self.diagnosis = diagnosis


class NotFiniteError(LRAError, ArithmeticError):
    """A loss that was measured is not a finite number, so that the accuracy beside it means nothing."""


class BusyError(LRAError, RuntimeError):
    """Another process works in the folder."""
