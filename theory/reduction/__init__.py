"""Reductions of systems, one file a family, and the bounds that come with them.

Holds: balancing, balanced and modal truncation, gains of single modes, the way back to a diagonal system, bounds.
Imports :mod:`theory.gramians` and below, never :mod:`theory.norms`: a reduction is certified from outside.
A new family is one file here and one in ``ssmreduce/methods``.
"""
