"""Lower ends: where the gain is large. Nothing here is trusted but the witness.

Holds the searches (grid, locate), their door (search) and the evaluation of the witness that everybody can repeat.
Imports :mod:`theory.norms.responses` and below; never proofs.
"""
