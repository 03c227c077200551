"""Whole models reduced from what they see: recorded inputs of unlabelled examples, no labels, no training.

Holds: the recording, candidates for each layer, the budget over the layers, the stages (refit, norms, decoder,
Gauss-Newton), the judge, and the recipe that puts them together. Works on any :class:`ssmreduce.network.Network`.
Imports :mod:`ssmreduce.layers`, :mod:`ssmreduce.network` and :mod:`theory`; no files, no screens.
"""
