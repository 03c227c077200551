"""What a trained layer is: one S5 or S4D layer as plain arrays, its system, and the way back to its parameters.

Holds: :class:`SSMLayer`, parameter trees, the inverse of the discretization, and what each code base stores.
Imports :mod:`theory` only: no files, no methods, no screens.
"""
