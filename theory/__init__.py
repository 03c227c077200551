"""Systems theory for deep state space layers: arrays in, arrays and certificates out.

Users import from :mod:`ssmreduce`, which re-exports what they need.
"""
