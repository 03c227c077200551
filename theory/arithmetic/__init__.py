"""What every proof trusts, and nothing else: rounding bounds, products beyond float64, singular values, threads.

Holds: a-priori rounding bounds, error-free transformations, verified products and singular values, BLAS threads.
May be imported by every room of :mod:`theory`; imports nothing of ours but :mod:`theory.errors`.
A new primitive is one file, with its error bound in the docstring and a test against 50 digits.
"""
