"""Every method at every order on one layer: certified errors, the laws they must keep, second opinions.

Holds: ``compare``, the laws checked on every row, an independent sweep, python-control's and others' opinions.
Imports methods, reduction and results; draws and prints nothing.
"""
