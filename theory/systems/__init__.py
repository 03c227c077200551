"""What a system is: state space values, their margins, realizations, differences, units of time, and responses.

Holds: ``StateSpace`` and ``DiagonalStateSpace`` (frozen, validated), and every map from system to system or signal
that keeps the transfer function. No reduction, no norm, no Gramian.
Imports :mod:`theory.arithmetic` and :mod:`theory.errors` only.
"""
