"""Order in which mapped quantizer indices are encoded, CCSDS 123.0-B-2, 5.4.2.

Band-sequential order is band-interleaved order of an image with the same samples in one line and M = 1. So the coders
know one nesting of loops (`EncodingLoops`): lines, groups of M bands, samples of the line, bands of the group.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccsds123.parameters import ErrorLimits, ImageShape, Parameters

Mapped = NDArray[np.uint32]
Limits = NDArray[np.int64]
"""Error limits that stand among the indices, (update, value)."""


class EncodingLoops(NamedTuple):
    """Bounds of the loops of 5.4.2.2.2; a named tuple, because compiled kernels take one.

    Attributes:
        lines: N_Y, or 1 in band-sequential order.
        samples: N_X, or N_X · N_Y in band-sequential order.
        bands: N_Z.
        depth: M, or 1 in band-sequential order.
        limit_widths: D_A or D_R of every error limit that an update puts among the indices; empty without periodic
            updating.
        limit_period: lines between updates.
    """

    lines: int
    samples: int
    bands: int
    depth: int
    limit_widths: NDArray[np.int64]
    limit_period: int

    @property
    def size(self) -> int:
        """Number of indices."""
        return self.lines * self.samples * self.bands

    @property
    def limits_shape(self) -> tuple[int, int]:
        """Number of updates of the error limits, and of the values in one."""
        return -(-self.lines // self.limit_period) if len(self.limit_widths) else 0, len(self.limit_widths)


def encoding_loops(shape: ImageShape, parameters: Parameters) -> EncodingLoops:
    """Return the loops that encode an image of this shape.

    >>> loops = encoding_loops(ImageShape(lines=2, samples=3, bands=4), Parameters())
    >>> loops.lines, loops.samples, loops.bands, loops.depth
    (1, 6, 4, 1)
    """
    limits, period, widths = parameters.error_limits, 1, list[int]()
    if limits is not None and limits.update_period_exponent is not None:
        period = 1 << limits.update_period_exponent
        widths = [
            limit.bit_depth for limit in limits.present for _ in range(shape.bands if limit.band_dependent else 1)
        ]
    depth = parameters.interleaving_depth
    lines, samples = (1, shape.lines * shape.samples) if depth is None else (shape.lines, shape.samples)
    return EncodingLoops(lines, samples, shape.bands, depth or 1, np.array(widths, np.int64), period)


def sequence_from_mapped(mapped: Mapped, interleaving_depth: int | None) -> Mapped:
    """Return indices (line, sample, band) in encoding order; a view where they already lie in this order.

    >>> sequence_from_mapped(np.arange(4, dtype=np.uint32).reshape(1, 2, 2), interleaving_depth=1).tolist()
    [0, 2, 1, 3]
    """
    lines, samples, bands = mapped.shape
    if interleaving_depth is None:
        return np.ascontiguousarray(np.moveaxis(mapped, 2, 0)).ravel()
    if interleaving_depth == bands:
        return mapped.ravel()
    sequence = np.empty(mapped.size, np.uint32)
    for groups, bands_of_groups in _groups(sequence, mapped.shape, interleaving_depth):
        groups[...] = mapped[:, :, bands_of_groups].reshape(lines, samples, *groups.shape[1::2]).swapaxes(1, 2)
    return sequence


def mapped_from_sequence(sequence: Mapped, shape: ImageShape, interleaving_depth: int | None) -> Mapped:
    """Return indices in encoding order as (line, sample, band)."""
    cube = (shape.lines, shape.samples, shape.bands)
    if interleaving_depth is None:
        return np.ascontiguousarray(np.moveaxis(sequence.reshape(shape.bands, shape.lines, shape.samples), 0, 2))
    if interleaving_depth == shape.bands:
        return sequence.reshape(cube)
    mapped = np.empty(cube, np.uint32)
    for groups, bands_of_groups in _groups(sequence, cube, interleaving_depth):
        mapped[:, :, bands_of_groups] = groups.swapaxes(1, 2).reshape(*cube[:2], -1)
    return mapped


def _groups(sequence: Mapped, cube: tuple[int, ...], depth: int) -> list[tuple[Mapped, slice]]:
    """Return views (line, group, sample, band of group): the full groups of M bands, then the last, shorter one."""
    lines, samples, bands = cube
    full = bands - bands % depth
    rows = sequence.reshape(lines, samples * bands)
    views = [(rows[:, : samples * full].reshape(lines, -1, samples, depth), slice(0, full))]
    if full < bands:
        views.append((rows[:, samples * full :].reshape(lines, 1, samples, bands - full), slice(full, bands)))
    return views


def values_from_limits(limits: ErrorLimits | None, loops: EncodingLoops) -> Limits:
    """Return the values to encode, (update, value): absolute limits before relative ones."""
    if limits is None or not len(loops.limit_widths):
        return np.empty((0, 0), np.int64)
    return np.concatenate([np.array(limit.values, np.int64) for limit in limits.present], axis=1)


def limits_from_values(limits: ErrorLimits, values: Limits, bands: int) -> ErrorLimits:
    """Return limits with the values that the body held, (update, value)."""
    first = 0 if limits.absolute is None else bands if limits.absolute.band_dependent else 1
    return replace(
        limits,
        absolute=limits.absolute and replace(limits.absolute, values=values[:, :first].tolist()),
        relative=limits.relative and replace(limits.relative, values=values[:, first:].tolist()),
    )
