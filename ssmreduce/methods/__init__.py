"""Ways to reduce, by name: the methods, what each state is worth, and how a budget is spread over layers.

Imports :mod:`theory` and :mod:`ssmreduce.layers`. A new method is one file here: a frozen dataclass derived from
``Method`` (registry.py) or ``Selection`` (selection.py), and one line that registers it; ``METHODS`` imports all files.
"""
