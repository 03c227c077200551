"""Exit statuses of the command line; ``ssmreduce --help`` explains them."""

OK = 0
UNEXPECTED = 1
USAGE = 2
UNREADABLE = 3
UNCERTIFIED = 4
MISSING = 5
UNWRITABLE = 6
INTERRUPTED = 130
