"""``python -m ssmreduce``: the parser, the commands, and the exit statuses.

Translates words into calls of the public API and errors into statuses; has no logic of its own.
"""
