"""Matrix equations: Lyapunov equations by factors, Riccati equations by doubling.

Holds solvers on plain arrays; what a solution proves is decided where it is used.
Imports :mod:`theory.arithmetic` only; knows no system.
"""
