"""Gramians as factors, Hankel singular values, and the H2 norm: what energy a system stores and passes on.

Holds everything that comes from the solutions of the two Lyapunov equations of a system; Gramians are never formed
where factors do. Imports :mod:`theory.equations`, :mod:`theory.systems`, :mod:`theory.arithmetic`.
"""
