"""The channels of a batch, reduced one by one, put back together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.reduction.balancing import Balancing, Remark, Truncation, real_order
from theory.reduction.bounds import hankel_floor
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]


def parts(shared: Balancing) -> list[Balancing]:
    """The balancing of every channel by itself."""
    system = shared.system
    assert isinstance(system, DiagonalStateSpace)
    return [
        Balancing(
            system=system[index], hsv=shared.hsv[index], floor_hsv=shared.floor_hsv[index],
            left=shared.left[index], right=shared.right[index],
        )
        for index in np.ndindex(system.batch_shape)
    ]  # fmt: skip


def stacked(shared: Balancing, channels: list[Truncation], what: str = "balanced truncation") -> Truncation:
    """Put the channels of a batch back together, filled up to the same number of states."""
    system = shared.system
    assert isinstance(system, DiagonalStateSpace)
    shape, width = system.batch_shape, max(channel.order for channel in channels)

    def filled(channel: Truncation) -> DiagonalStateSpace:
        part = channel.system
        assert isinstance(part, DiagonalStateSpace)
        missing = width - part.n
        if missing == 0:
            return part
        # zero gain at a pole that the channel has (or a harmless one): no change of the transfer function
        spare = part.poles[:1] if part.n else np.asarray([0.5 if system.is_discrete else -0.5], dtype=complex)
        reverse = part.C_reverse
        return part.replace(
            poles=np.concatenate([part.poles, np.repeat(spare, missing)]),
            B=np.concatenate([part.B, np.zeros((missing, part.m))]),
            C=np.concatenate([part.C, np.zeros((part.p, missing))], axis=1),
            C_reverse=None if reverse is None else np.concatenate([reverse, np.zeros((part.p, missing))], axis=1),
        )

    whole = [filled(channel) for channel in channels]

    def gathered(name: str) -> Array:
        arrays = np.stack([getattr(part, name) for part in whole])
        return arrays.reshape(*shape, *arrays.shape[1:])

    reduced = system.replace(
        poles=gathered("poles"), B=gathered("B"), C=gathered("C"), D=gathered("D"),
        C_reverse=gathered("C_reverse") if system.is_bidirectional else None,
    )  # fmt: skip
    floor = hankel_floor(shared.floor_hsv, real_order(system, width))
    fewer = sum(channel.order < width for channel in channels)
    status = f"{what} of {len(channels)} systems to {width} stored states each"
    status += f"; {fewer} of them need fewer and were filled up with states of zero gain" if fewer else ""
    names = ("states", "condition", "perturbation")
    diagnostics = {
        name: np.reshape([channel.diagnostics.get(name, 0) for channel in channels], shape) for name in names
    }
    return Truncation(
        system=reduced, order=width, hsv=shared.hsv, bound=np.reshape([channel.bound for channel in channels], shape),
        floor=floor, status=status, remarks=(Remark.FILLED_UP,) if fewer else (), diagnostics=diagnostics,
    )  # fmt: skip
