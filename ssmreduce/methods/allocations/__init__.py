"""How a budget is spread over layers, one file a rule; each registers its value in ``ALLOCATIONS``.

Imports what :mod:`ssmreduce.methods` may import.
"""
