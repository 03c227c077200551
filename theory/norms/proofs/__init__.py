"""Upper ends, one certificate a file: constants, arcs, levels, storage functions, scalar batches.

Each is a :class:`theory.norms.proofs.proof.Proof`: no gain exceeds a level, rounding accounted for.
Imports peaks, responses and :mod:`theory.arithmetic`. A new proof is one file and one line of the plan.
"""
