"""How results look: tables, figures, the HTML report. Reads data, computes no systems theory.

Imports :mod:`ssmreduce.results` and nothing that reduces.
"""
