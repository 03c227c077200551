"""What is sampled along the stability boundary: a system as a sum of modes, or in the form that suits it.

Holds one file a form: modes, eigenvectors, graded Schur, resolvent, scalars; with their derivatives and compression.
Imports :mod:`theory.systems` and :mod:`theory.arithmetic`; never peaks or proofs.
"""
