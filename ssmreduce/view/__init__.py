"""How results look: tables, figures, the HTML report. Reads data, computes no systems theory, writes no file.

Holds: ``text`` (numbers and names in few characters), ``table`` (the one way to print a table), ``columns`` (title,
meaning and content of each column of a comparison: once), ``pages`` (what the tables say), ``plot`` and ``report``.
Imports :mod:`ssmreduce.results` and theory's data types and errors; nothing that reduces, compares, or reads files.
"""
