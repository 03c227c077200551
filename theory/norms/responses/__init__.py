"""What is sampled along the stability boundary: a system as a sum of modes, or in the form that suits it.

Holds the forms (modes, resolvent, scalars; with derivatives and compression) and the kinds that write them (diagonal,
dense), one object each.
Imports :mod:`theory.systems` and :mod:`theory.arithmetic`; never peaks or proofs.
"""
