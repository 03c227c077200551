"""Certificates that others can check: matrices for the bounded-real lemma, by cvxpy or a Riccati equation.

Second opinions on a norm, with the matrix that proves it; never used to make a bracket.
Imports :mod:`theory.systems` and :mod:`theory.errors`.
"""
