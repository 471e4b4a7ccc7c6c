"""Contexts: what the entropy model knows of a wavelet coefficient before it is decoded, in integers.

Coefficients are coded level by level, coarse before fine. A level's spectral components come in groups; from the third
group on, a group is at most half as large as all components before it. Within a group the three orientations come one
after the other. Of an orientation first the anchors are coded, then the non-anchors (see `checkerboard`). A context is
CONTEXTS integers that describe

    the same place one and two levels coarser     magnitudes in each orientation, there and around
    earlier components at the same place          magnitudes in each orientation; the last three, the mean, the largest
    a prediction from them (see `prediction`)     its sign and size, and how well it did one level coarser
    the orientations before it                    magnitudes there and around
    its four neighbours (non-anchors only)        sign and size, and their distances from their predictions
    its place                                     level, orientation, component, that component's spread

Everything is exact, so sender and receiver see the same contexts: see `context_arithmetic`. The one division is rounded
as IEEE 754 demands of every processor.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.families.adaptive.checkerboard import Positions, non_anchors
from hyvic_runtime.families.adaptive.context_arithmetic import (
    MAGNITUDE_MAX,
    log_magnitude,
    magnitudes,
    neighbour_sums,
    signed_log_magnitude,
)
from hyvic_runtime.families.adaptive.planes import LEVELS, MAX_COMPONENTS, ORIENTATIONS, Planes
from hyvic_runtime.families.adaptive.prediction import (
    PREDICTION_STEP_BITS,
    PREDICTORS,
    Prediction,
    clipped,
    predict,
)

CONTEXTS = 43
"""Entries of a context."""
CONTEXT_VERSION = 1
"""Rises whenever an entry changes its meaning: a network knows only the entries that it was trained with."""
CONTEXT_MAX = 511
"""Largest magnitude of an entry."""
_YES = 64
"""Entry that answers yes; no is 0."""
_GROUP_EDGES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, MAX_COMPONENTS)
_ROLES = ((0, 1, 2), (1, 0, 2), (2, 0, 1))
"""For every orientation: itself and the two others, high along samples before high along lines."""


def groups(components: int) -> tuple[slice, ...]:
    """Return the groups of components in the order of coding, 1, 1, 1, 1, 2, 2, 4, 4, 8 … of them.

    Components coded one by one would take half a per cent less octets, and several times the calls.
    """
    edges = [edge for edge in _GROUP_EDGES if edge < components] + [components]
    return tuple(map(slice, edges, edges[1:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Spread of every component, known from the strip's basis and the tile's step.

    Attributes:
        log2_spread: (component,) log2 of the standard deviation in quantiser steps, in sixteenths; float32 integers
            within ±CONTEXT_MAX.
    """

    log2_spread: Planes

    def __len__(self) -> int:
        return len(self.log2_spread)

    def leading(self, count: int) -> Scale:
        """Return the scale of the first components."""
        return Scale(log2_spread=self.log2_spread[:count])


@dataclass(frozen=True, kw_only=True)
class GroupContexts:
    """Known facts that the coefficients of a group share; see `LevelContexts`.

    All planes but the prediction hold `log_magnitude`.

    Attributes:
        level: level of the wavelet.
        first: number of the group's first component.
        log2_spread: (component,), see `Scale`.
        parent: the next coarser level, (component, orientation, line, sample).
        parent_sum_3x3: sums of 3 × 3 parents, (component, orientation, line, sample).
        grandparent: the level coarser by two, (component, orientation, line, sample); None at the two coarsest levels.
        previous_components: the last three components before the group, the last first, (3, orientation, line, sample).
        previous_sum_3x3: sums of 3 × 3 in the last component before the group, (orientation, line, sample).
        mean: mean of all components before the group, (orientation, line, sample).
        largest: largest of all components before the group, (orientation, line, sample).
        predicted: prediction of the group's components.
        decoded_sum_3x3: sums of 3 × 3 by orientation, (component, line, sample), of orientations that are wholly
            decoded; filled in when first needed.
    """

    level: int
    first: int
    log2_spread: Planes
    parent: Planes
    parent_sum_3x3: Planes
    grandparent: Planes | None
    previous_components: Planes
    previous_sum_3x3: Planes
    mean: Planes
    largest: Planes
    predicted: Prediction
    decoded_sum_3x3: dict[int, Planes] = field(default_factory=dict)

    def at(
        self, orientation: int, decoded: Planes, positions: Positions, only: slice = slice(None)
    ) -> tuple[Planes, Planes]:
        """Return contexts of coefficients of one orientation, and their predictions.

        Args:
            orientation: orientation of the coefficients.
            decoded: (component, orientation, line, sample) of the group. Earlier orientations are read wholly; for
                non-anchors the anchors of this orientation are read too.
            positions: positions of the coefficients.
            only: components of the group to describe.

        Returns:
            Contexts (CONTEXTS, component, position), and predictions (component, position).
        """
        own, *others = _ROLES[orientation]
        here, twice, four_times = positions.places
        numbers = np.arange(self.first, self.first + len(decoded), dtype=np.float32)[only]
        contexts = np.empty((CONTEXTS, len(numbers), len(here)), np.float32)
        entries = iter(contexts)

        def describe(planes: Planes, places: NDArray[np.intp], *, apart: bool = False) -> None:
            """Fill in the own orientation, and the two others apart or the larger of them."""
            first, second = planes[..., others[0], :, :], planes[..., others[1], :, :]
            _put(planes[..., own, :, :], places, next(entries))
            if apart:
                _put(first, places, next(entries))
                _put(second, places, next(entries))
            else:
                _put(np.maximum(first, second), places, next(entries))

        describe(self.parent[only], twice, apart=True)
        if self.grandparent is None:
            next(entries)[...] = next(entries)[...] = 0
        else:
            describe(self.grandparent[only], four_times)
        describe(self.parent_sum_3x3[only], twice)
        describe(self.previous_components[0], here, apart=True)
        describe(self.previous_components[1], here)
        _put(self.previous_components[2, own], here, next(entries))
        describe(self.mean, here)
        describe(self.previous_sum_3x3, here)
        _put(self.largest[own], here, next(entries))
        prediction = _at(self.predicted.prediction[only, orientation], here)
        expected = next(entries)
        expected[...] = signed_log_magnitude(np.rint(prediction / 2))
        np.abs(expected, out=next(entries))
        _put(self.predicted.parent_energy[only], twice, next(entries))
        _put(self.predicted.residual_energy[only], twice, next(entries))
        for before in range(ORIENTATIONS - 1):
            if before < orientation:
                next(entries)[...] = log_magnitude(np.abs(_at(decoded[only, before], here)))
                _put(self._sum_3x3_of(before, decoded)[only], here, next(entries))
            else:
                next(entries)[...] = next(entries)[...] = 0
        neighbours: tuple[Planes | float, ...] = (0.0,) * 6
        if positions.non_anchor:
            planes = self.predicted.prediction[only, orientation]
            neighbours = _neighbours(orientation, decoded[only, orientation], planes, here)
        constants = (
            _YES * positions.non_anchor,
            *(_YES * (level == self.level) for level in range(LEVELS)),
            *(_YES * (which == orientation) for which in range(ORIENTATIONS)),
        )
        for value in (*neighbours, *constants, self.log2_spread[only, None], log_magnitude(numbers)[:, None]):
            next(entries)[...] = value
        return contexts, prediction

    _magnitudes = staticmethod(magnitudes)

    def _sum_3x3_of(self, orientation: int, decoded: Planes) -> Planes:
        """Return `decoded_sum_3x3` of a decoded orientation, computed once."""
        if orientation not in self.decoded_sum_3x3:
            self.decoded_sum_3x3[orientation] = self._magnitudes(decoded[:, orientation])[1]
        return self.decoded_sum_3x3[orientation]


class LevelContexts:
    """Contexts of one level of a tile; groups of components are added as they are decoded.

    Coefficients are (component, orientation, line, sample) float32 integers. All orientations have the low-pass band's
    size; a subband of an odd number of lines or samples is padded with zeros.
    """

    _group: type[GroupContexts] = GroupContexts
    _magnitudes = staticmethod(magnitudes)
    _predict = staticmethod(predict)

    def __init__(
        self, level: int, parents: Planes, grandparents: Planes | None, shape: tuple[int, int], scale: Scale
    ) -> None:
        """Begin a level.

        Args:
            level: level of the wavelet, 0 … LEVELS - 1.
            parents: details of the next coarser level, all components; for the coarsest level, zeros of half the size,
                rounded up.
            grandparents: details of the level coarser by two; None at the two coarsest levels.
            shape: lines and samples.
            scale: scale of the components.
        """
        self._level, self._shape, self._scale = level, shape, scale
        components = len(scale)
        if len(parents) != components:
            raise ValueError(f"parents of {len(parents)} components; {components} are needed")
        self._parents, self._grandparents = parents, grandparents
        self._predictors = np.zeros((0, ORIENTATIONS, *shape), np.float32)
        self._previous = np.zeros((ORIENTATIONS, ORIENTATIONS, *shape), np.float32)
        self._previous_sum_3x3 = np.zeros((ORIENTATIONS, *shape), np.float32)
        self._sum = np.zeros((ORIENTATIONS, *shape), np.float32)
        self._largest = np.zeros((ORIENTATIONS, *shape), np.float32)
        self._count = 0

    def next_group(self, count: int) -> GroupContexts:
        """Return the contexts of the `count` components after the added ones."""
        of = slice(self._count, self._count + count)
        parent, parent_sum_3x3 = self._magnitudes(self._parents[of])
        predictors = slice(self._count - len(self._predictors), self._count)
        return self._group(
            level=self._level,
            first=of.start,
            log2_spread=self._scale.log2_spread[of],
            parent=parent,
            parent_sum_3x3=parent_sum_3x3,
            grandparent=None if self._grandparents is None else log_magnitude(np.abs(self._grandparents[of])),
            previous_components=self._previous,
            previous_sum_3x3=self._previous_sum_3x3,
            mean=np.floor(self._sum / np.float32(max(self._count, 1))),
            largest=self._largest,
            predicted=self._predict(
                clipped(self._parents[of]), clipped(self._parents[predictors]), self._predictors, self._shape
            ),
        )

    def add(self, details: Planes) -> None:
        """Take the coefficients of the next group, (component, orientation, line, sample)."""
        self._predictors = np.concatenate((self._predictors, clipped(details[-PREDICTORS:])))[-PREDICTORS:]
        self._previous_sum_3x3 = self._magnitudes(details[-1])[1]
        self._add_magnitudes(details)
        self._count += len(details)

    def _add_magnitudes(self, details: Planes) -> None:
        """Take a group's magnitudes into the last three, the sum and the largest."""
        magnitude = log_magnitude(np.abs(details))
        self._previous = np.concatenate((magnitude[::-1], self._previous))[: len(self._previous)]
        self._sum = self._sum + magnitude.sum(axis=0)
        self._largest = np.maximum(self._largest, magnitude.max(axis=0))


def _neighbours(orientation: int, decoded: Planes, prediction: Planes, places: NDArray[np.intp]) -> tuple[Planes, ...]:
    """Return the six entries (component, position) on the neighbours of non-anchors."""
    anchors = decoded * ~non_anchors(decoded.shape[-2:])
    off = np.abs(decoded * 2**PREDICTION_STEP_BITS - prediction)
    np.minimum(off, MAGNITUDE_MAX << PREDICTION_STEP_BITS, out=off)
    sums = (*neighbour_sums(anchors), *neighbour_sums(np.abs(anchors)), *neighbour_sums(off))
    along, across, along_magnitude, across_magnitude, off_along, off_across = (_at(plane, places) for plane in sums)
    # First the sums in the direction in which the orientation is high.
    if orientation == 1:
        along, across = across, along
        along_magnitude, across_magnitude = across_magnitude, along_magnitude
    return (
        signed_log_magnitude(along),
        signed_log_magnitude(across),
        log_magnitude(along_magnitude),
        log_magnitude(across_magnitude),
        log_magnitude(along_magnitude + across_magnitude),
        log_magnitude(np.floor((off_along + off_across) * np.float32(2.0**-PREDICTION_STEP_BITS))),
    )


def _put(planes: Planes, places: NDArray[np.intp], out: Planes) -> None:
    """Copy (component, line, sample) at places to (component, place); a single plane serves all components."""
    if planes.ndim == 2:
        out[...] = np.take(planes, places)
    else:
        np.take(planes.reshape(len(planes), -1), places, axis=1, out=out, mode="clip")  # which needs no copy


def _at(planes: Planes, places: NDArray[np.intp]) -> Planes:
    """Return (…, place) of planes (…, line, sample)."""
    return np.take(planes.reshape(*planes.shape[:-2], -1), places, axis=-1)
