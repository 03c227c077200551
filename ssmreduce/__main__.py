"""``python -m ssmreduce``: the command line."""

from __future__ import annotations

import os
import sys

# The work is many small matrices, several at a time: threads inside BLAS would only get in each other's way.
# BLAS reads this when NumPy is first imported, so it comes before anything else.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from ssmreduce.command_line.parser import main  # noqa: E402

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
