"""scikit-learn's bundled 8x8 digits as sequences of 64: 1797 images, seconds to train, for tests and first steps."""

from __future__ import annotations

import numpy as np

from lra.tasks.splits import torch_permutation
from lra.tasks.task import Split, Task


def load_digits(path: str | None = None) -> Task:
    """Return the task: 1257 training, 180 validation and 360 test images, split by a fixed permutation.

    Parameters
    ----------
    path : str, optional
        Ignored; the images come with scikit-learn.
    """
    del path
    from sklearn.datasets import load_digits as bundled_digits

    digits = bundled_digits()
    x, y = digits.images.astype(np.uint8).reshape(-1, 64), digits.target.astype(np.int32)
    order = torch_permutation(len(y), seed=42)

    def split(rows: np.ndarray) -> Split:
        return Split(x=x, y=y, indices=rows)

    return Task(
        name="digits",
        train=split(order[:1257]),
        validation=split(order[1257:1437]),
        test=split(order[1437:]),
        d_input=1,
        n_classes=10,
        L=64,
        prepare=lambda raw: raw[..., None].astype(np.float32) / 16,
    )
