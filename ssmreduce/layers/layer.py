r"""One trained S5 or S4D layer as plain arrays, and the linear time-invariant system that it is.

S5's scan is :math:`x_k = \bar\Lambda x_{k-1} + \bar B u_k,\; y_k = s\,\Re(\tilde C x_k) + D u_k` with :math:`s = 2` for
``conj_sym`` layers and 1 otherwise: current-state output, ``delay=0``. A layer without ``conj_sym`` outputs
:math:`\Re(\tilde C x)`, which is the real system of conjugate pairs with half its C; so :attr:`SSMLayer.system` is
always the real system that the network computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ssmreduce.layers.conversion import converted
from ssmreduce.layers.families import CLIP, FAMILIES, Family, discrete
from ssmreduce.layers.fields import ARRAYS, check_options, checked_arrays, indices
from ssmreduce.layers.formats import LAYER_FORMATS, LayerFormat
from ssmreduce.layers.inversion import CANDIDATES, invert, outputs
from theory.errors import InputError, StabilityError
from theory.systems import discrete_modes as rules
from theory.systems.margin import discrete_margin
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

@dataclass(frozen=True, eq=False, repr=False)
class SSMLayer:
    """One trained layer, as stored: continuous-time eigenvalues, before clipping and discretization.

    The fields hold exactly what storage in `dtype` holds (float32 values, widened), so everything that is computed
    from them is about the layer as written.

    Parameters
    ----------
    kind : str
        Its family, a key of :data:`ssmreduce.layers.families.FAMILIES`: "s5", "s4d".
    Lambda : array_like, complex, shape (P,) for S5, (H, N) for S4D
        Eigenvalues as stored (``clip_eigs`` acts at use).
    B : array_like, complex, shape (P, H); (H, N) for S4D
        Continuous-time input matrix.
    C : array_like, complex, shape (H, P); (H, N) for S4D
    D : array_like, shape (H,); (p, m) where it is dense
        Feedthrough. Dense, B may be (P, m) and C (p, P).
    log_step : array_like, shape (P,); (H, 1) or (H, N) for S4D
        Logarithm of the step size, before `step_rescale`.
    conj_sym : bool
        ``True``: one eigenvalue of each conjugate pair is stored, the output is ``2 Re(C x)``; ``False``: ``Re(C x)``.
    C_reverse : array_like, shape of `C`, optional
        Output matrix of the reverse direction.
    discretization : {"zoh", "bilinear", "dirac"}
        ``dirac``: the poles of "zoh", and B as it is stored.
    clip_eigs : bool
        The model uses ``min(Re(Lambda), -1e-4)``.
    delay : int
        0: the output sees the updated state, as S5's does; 1: the state before the update (S5's kind only).
    step_rescale : float
        Factor on all steps (2 for half-rate audio).
    dtype : dtype, optional
        Real type of the stored arrays, one of :data:`ssmreduce.layers.fields.PRECISIONS`; by default float64 or
        float32, as the arguments.
    name : str
        Where the layer sits in its model, for messages.
    form : str
        Naming convention of the stored arrays, a key of :data:`ssmreduce.layers.formats.LAYER_FORMATS`.
    source : mapping of str to ndarray, optional
        The stored arrays that the fields were read from.

    Raises
    ------
    DimensionError, InputError
        Arrays that do not fit together, NaN or infinity; the message names layer and field. Unstable eigenvalues are
        accepted here, for inspection; norms and reductions refuse them.
    """

    _: KW_ONLY
    kind: str
    Lambda: Array
    B: Array
    C: Array
    D: Array
    log_step: Array
    conj_sym: bool
    C_reverse: Array | None = None
    discretization: Literal["zoh", "bilinear", "dirac"] = "zoh"
    clip_eigs: bool = False
    delay: int = 0
    step_rescale: float = 1.0
    dtype: np.dtype[Any] = None  # type: ignore[assignment]
    name: str = ""
    form: str = ""
    source: Mapping[str, Array] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in FAMILIES:
            raise InputError(f"kind must be one of {', '.join(map(repr, FAMILIES))}, got {self.kind!r}")
        form = self.form or self.family.default_form
        if form not in LAYER_FORMATS or LAYER_FORMATS[form].kind != self.kind:
            known = [name for name, entry in LAYER_FORMATS.items() if entry.kind == self.kind]
            raise InputError(f"form must be one of {known} for a layer of kind {self.kind!r}, got {form!r}")
        check_options(vars(self), self.kind, form, self._where)
        arrays, dtype = checked_arrays(vars(self), self.kind, form, self._where)
        values = {**arrays, "form": form, "dtype": dtype, "step_rescale": float(self.step_rescale)}
        for key, value in values.items():
            object.__setattr__(self, key, value)

    @property
    def _where(self) -> str:
        return f"layer {self.name}: " if self.name else "layer: "

    # --- what it is -------------------------------------------------------------------------------------------------

    order = property(
        lambda self: int(self.Lambda.shape[-1]),
        doc="Stored complex states (of each channel, for S4D): what the scan costs.",
    )
    n_channels = property(lambda self: int(self.D.shape[0]), doc="Features in and out, H; with a dense D, those out.")
    is_bidirectional = property(lambda self: self.C_reverse is not None, doc="Whether a reverse direction is present.")

    @property
    def family(self) -> Family:
        """What layers of this kind have in common."""
        return FAMILIES[self.kind]

    @property
    def format(self) -> LayerFormat:
        """How its code base stores it, and what that can hold."""
        return LAYER_FORMATS[self.form]

    @property
    def remarks(self) -> dict[str, float]:
        """How well the stored arrays could be turned into a diagonal layer, where that took any doing.

        ``eigenvector_condition`` of an S4 layer: the largest condition number of a channel's eigenvectors.
        """
        return {} if self.source is None else LAYER_FORMATS[self.form].remarks(self.source)

    @property
    def effective_Lambda(self) -> Array:  # noqa: N802
        """Eigenvalues as the model uses them: clipped when `clip_eigs`."""
        return np.minimum(self.Lambda.real, CLIP) + 1j * self.Lambda.imag if self.clip_eigs else self.Lambda

    @property
    def step(self) -> Array:
        """Step sizes with `step_rescale`, in the shape of `log_step`."""
        return self.step_rescale * np.exp(self.log_step)

    @cached_property
    def _discrete(self) -> rules.Discretized:
        B = self.family.input_matrix(self.B)
        with np.errstate(over="ignore", invalid="ignore"):
            result = discrete(self.effective_Lambda, B, self.discretization, self.step)
        if not (np.isfinite(result.poles).all() and np.isfinite(result.B).all()):
            raise StabilityError(f"{self._where}the discretized layer overflows", self.Lambda, -np.inf)
        return result

    @property
    def poles(self) -> Array:
        """Discrete-time poles, in the shape of `Lambda`."""
        return self._discrete.poles

    @property
    def margin(self) -> Array:
        """``1 - |pole|`` from the continuous-time eigenvalue, accurate where the pole in float64 has lost it."""
        return self._discrete.margin

    @cached_property
    def system(self) -> DiagonalStateSpace:
        """The real linear system that the layer computes: discrete time (dt=1), H in and out; S4D a batch of H."""
        poles, B, _ = self._discrete
        return self.family.system(self, poles, B)

    def require_stable(self) -> None:
        """Raise :class:`~theory.errors.StabilityError` that names the unstable states and the two ways on."""
        bad = ~((self.margin > 0) & (discrete_margin(self.poles) > 0))  # in itself, and as a float64 pole
        if bad.any():
            where = np.argwhere(bad)
            listing = ", ".join(str(i.tolist() if i.size > 1 else int(i[0])) for i in where[:8]) + (
                ", ..." if len(where) > 8 else ""
            )
            raise StabilityError(
                f"{self._where}{len(where)} of {bad.size} states are not stable (state {listing}); largest Re(Lambda) "
                f"is {self.effective_Lambda.real.max():.3g}, the smallest margin 1-|pole| is {self.margin.min():.3g}. "
                "Drop them with layer.keep(layer.margin > 0), or pass clip_eigs=True if the model clips them",
                self.poles[bad],
                float(self.margin.min()),
            )

    # --- other layers from this one ---------------------------------------------------------------------------------

    def replace(self, **changes: Any) -> SSMLayer:
        """Return a copy with some fields changed (validated again)."""
        if not changes.keys().isdisjoint(ARRAYS) and "source" not in changes:
            changes["source"] = None
        names = [name for name in self.__dataclass_fields__ if name != "_"]
        return SSMLayer(**{name: changes.pop(name, getattr(self, name)) for name in names}, **changes)

    def keep(self, index: ArrayLike) -> SSMLayer:
        """Return the layer of the states `index` only; their stored parameters stay as they are, bit for bit.

        Parameters
        ----------
        index : array_like
            Integer indices or a boolean mask over the states; for S4D also (H, r) integers, one row a channel, or a
            mask (H, N) with the same count in every row.
        """
        chosen = indices(np.asarray(index), self.Lambda.shape, self._where)
        if self.source is None:
            return self.replace(**self.family.keep(self, chosen))
        source = LAYER_FORMATS[self.form].select(dict(self.source), chosen)
        return self.replace(**LAYER_FORMATS[self.form].decode(source), source=source)

    def with_system(
        self, system: DiagonalStateSpace, *, dtype: DTypeLike | None = None, candidates: int = CANDIDATES
    ) -> SSMLayer:
        """Return the layer whose original code computes `system`: the discretization inverted, rounded to `dtype`.

        See :func:`ssmreduce.layers.inversion.invert` for the choices and the errors.
        """
        return self.replace(**invert(self, system, dtype=dtype, candidates=candidates))

    def with_outputs(self, system: DiagonalStateSpace) -> SSMLayer:
        """Return the layer with the output matrices and D of `system`; all else is stored as it was, bit for bit.

        Parameters
        ----------
        system : DiagonalStateSpace
            With the states of :attr:`system`, in the same order; its poles and B are not looked at.

        Raises
        ------
        DimensionError, InputError
            The matrices do not fit the layer, or its D cannot be stored.
        """
        given = outputs(self, system)
        form, fields = LAYER_FORMATS[self.form], {key: getattr(self, key) for key in ARRAYS}
        held, before, after = self.to_params(), form.encode(fields, self.dtype), form.encode(fields | given, self.dtype)
        held = form.as_changed(held, self.dtype)
        # encoding rounds logarithms: an array that the outputs do not touch is taken as it lies
        source = {key: held[key] if np.array_equal(before[key], value) else value for key, value in after.items()}
        return self.replace(**form.decode(source), source=source)

    def padded(self, order: int) -> SSMLayer:
        """Return the layer with states added up to `order` that no input reaches and no output sees: same outputs.

        Raises
        ------
        InputError
            The layer has more states, or its family has no need of padding.
        """
        extra = order - self.order
        fields = self.family.pad(self, max(extra, 0))
        if extra < 0:
            raise InputError(f"the layer has {self.order} states already; padding to {order} would cut it")
        return self.replace(**fields) if extra else self

    def in_form(self, form: str) -> SSMLayer:
        """Return the layer as another code base stores it: the same system, to the precision of the stored arrays.

        Parameters
        ----------
        form : str
            A key of :data:`ssmreduce.layers.formats.LAYER_FORMATS`.

        Raises
        ------
        InputError, StabilityError
            The form is of another kind, or cannot hold the layer; see :mod:`ssmreduce.layers.conversion`.
        """
        return self if form == self.form else self.replace(**converted(self, form))

    def to_params(self, form: str | None = None) -> dict[str, Array]:
        """Return the stored arrays by key, named as in the code that the layer came from; unchanged ones bit-equal.

        Parameters
        ----------
        form : str, optional
            As another code base stores the layer: ``layer.in_form(form).to_params()``, whose :meth:`options` that code
            has to be told.
        """
        if form not in (None, self.form):
            return self.in_form(str(form)).to_params()
        return self._to_params()

    def _to_params(self) -> dict[str, Array]:
        form = LAYER_FORMATS[self.form]
        if self.source is not None:
            decoded = form.decode(self.source)
            if all(np.array_equal(decoded[key], getattr(self, key)) for key in ARRAYS if decoded[key] is not None):
                return {key: np.array(value) for key, value in self.source.items()}
        return form.encode({key: getattr(self, key) for key in ARRAYS}, self.dtype)

    def options(self) -> dict[str, Any]:
        """Return what the arrays do not tell, for JSON and :func:`ssmreduce.layers.params.layer_from_params`."""
        names = ("conj_sym", "discretization", "clip_eigs", "step_rescale")
        options = {name: getattr(self, name) for name in names} | {"bidirectional": self.is_bidirectional}
        return options | dict(LAYER_FORMATS[self.form].stated)

    def __repr__(self) -> str:
        parts = [self.kind.upper()] + ([repr(self.name)] if self.name else [])
        parts += [f"order={self.order}", f"channels={self.n_channels}", self.discretization, str(self.dtype)]
        flags = {"conj_sym": self.conj_sym, "clip_eigs": self.clip_eigs, "bidirectional": self.is_bidirectional}
        return f"SSMLayer({', '.join(parts + [name for name, on in flags.items() if on])})"
