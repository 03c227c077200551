"""Upper ends, one certificate a file: arcs, levels, storage functions, scalar batches.

Each proves that no gain exceeds a level, rounding accounted for; none looks for the peak by itself.
Imports peaks, responses and :mod:`theory.arithmetic`. A new proof is one file and one line of the plan.
"""
