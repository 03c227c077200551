"""Every method x allocation x ratio x seed on one trained model: accuracy, errors, cost; a table, a figure.

Reduced layers run padded with zero states, so that one compilation serves every order. Importing this needs no JAX: the
processes that certify errors import it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lra.sweep.grid import DEFAULT_ALLOCATION, OWN, WHOLE_MODEL, Grid
from lra.sweep.result import Row, Sweep

__all__ = ["DEFAULT_ALLOCATION", "OWN", "WHOLE_MODEL", "Grid", "Row", "Sweep", "sweep"]


def sweep(
    checkpoint: str | Path,
    *,
    ratios: str | Sequence[float],
    methods: str | Sequence[str],
    allocations: str | Sequence[str] = (DEFAULT_ALLOCATION,),
    seeds: int = 1,
    data: str | None = None,
    split: str = "test",
    examples: int | None = None,
    recorded: int = 200,
    time: bool = False,
    folder: str | Path | None = None,
    jobs: int | None = None,
    clip_eigs: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> Sweep:
    """Reduce a trained model in every way that was asked for, and measure each.

    Parameters
    ----------
    checkpoint : str or Path
        ``NAME.safetensors``, ``NAME.json`` beside it.
    ratios : str or sequence of float
        Fractions of the stored states to remove, 0 <= ratio < 1: ``"0.5,0.75"``, ``"0.1:0.9:0.1"`` (the end belongs to
        it), or numbers.
    methods : str or sequence of str
        Names of :data:`ssmreduce.METHODS`, with parameters if wanted; ``"recorded"``, a method of whole models.
    allocations : str or sequence of str
        Names of :data:`ssmreduce.ALLOCATIONS`: each is used with every method. ``"own"`` is each method's default,
        which compares methods and allocations at once. By default "uniform", for all.
    seeds : int
        For methods that draw (poles, or the examples that they are fitted to): seeds 0, 1, ...
    data : str, optional
        Where the task's data are; default: the environment variable LRA_DATA.
    split : {"test", "validation"}
        What accuracy is measured on. Report "test"; choose by "validation".
    examples : int, optional
        Only so many of the split, spread evenly over it: test splits may be sorted by class.
    recorded : int
        Unlabelled training examples that a method which needs recorded inputs is fitted to.
    time : bool
        Also time the model at its own, smaller size; costs a compilation for each set of orders.
    folder : str or Path, optional
        Where ``sweep.csv`` and ``sweep.json`` are kept up to date. Rows that are there are not computed again.
    jobs : int, optional
        Processes that certify errors; by default what ``joblib.parallel_config`` says, else this process alone.
    clip_eigs : bool
        Whether unstable poles are held inside of the circle, as S5's own ``clip_eigs`` does: the whole model of the
        sweep is then the clipped one.
    progress : callable, optional
        Called as ``progress(done, total, what)``.

    Returns
    -------
    Sweep

    Raises
    ------
    ConfigError
        A ratio, a method, an allocation, a number that cannot be; or the folder holds a sweep of something else.
    CheckpointError, DataError
        The model or the data cannot be read, or do not belong together.
    StabilityError
        The model has unstable poles, and they are not to be clipped.
    BusyError
        Another process works in the folder.

    Notes
    -----
    Labels of the training split are never read. A row whose method refused has a status that says why, and no accuracy.
    """
    from lra.sweep.running import Settings, run

    return run(
        checkpoint,
        Grid.of(ratios, methods, allocations, seeds),
        Settings(split=split, examples=examples, recorded=recorded, time=time),
        data=data,
        folder=None if folder is None else Path(folder),
        jobs=jobs,
        clip_eigs=clip_eigs,
        progress=progress,
    )
