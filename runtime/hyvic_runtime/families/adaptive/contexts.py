"""What the entropy model may know of a wavelet coefficient before it is decoded, in integers.

Coefficients are coded level by level, coarse before fine. In a level spectral components come in groups, from the
third on at most half as large as all before them together; in a group the three orientations come one after the other;
and of an orientation first the coefficients on the white squares of a checkerboard, then those on the black ones, which
know their neighbours. A context is CONTEXTS integers that describe

    the same place one and two levels coarser     how large, in each orientation, there and around
    earlier components at the same place          how large, in each orientation; the nearest, the mean, the largest
    a prediction from them (see `_prediction`)    its sign and size, and how well it did one level coarser
    the orientations before it                    how large, there and around
    its four neighbours (black squares)           sign and size, and how far they lie from their predictions
    the place of it all                           level, orientation, component, that component's spread

Everything here is exact: additions and products of integers below 2**24 in float32, which holds them whatever the
order; one division, correctly rounded as IEEE 754 demands of every processor; and shifts of integers. Where a larger
coefficient is not clipped first, it enters single additions, which are rounded as correctly. So both ends see the same
contexts.

Magnitudes enter as `log_magnitude`: a logarithm, made of a number's highest bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

LEVELS = 5
"""Of the wavelet; level 0 is the finest."""
ORIENTATIONS = 3
"""High along samples, high along lines, high along both."""
MAX_COMPONENTS = 256

PREDICTORS = 6
"""Components before a group that its prediction is made of."""
PREDICTION_STEP_BITS = 4
"""A prediction is a multiple of 2**-4 quantiser steps."""
_PREDICTOR_MAX = 127
"""27 · 127² · 16 < 2**24."""
_WEIGHT_MAX = 4 << PREDICTION_STEP_BITS
_RIDGE = 8
_MAGNITUDE_MAX = 4095
"""Larger ones count as this where several are added."""

_COMPANDED_BITS = 4
_ON = 64
"""What says yes in a context; no is 0."""
CONTEXTS = 43
CONTEXT_VERSION = 1
"""Another one wherever an entry changes its meaning: a network knows those it was trained with."""
CONTEXT_MAX = 511
"""No entry of a context is larger in magnitude."""

Planes = NDArray[np.float32]
"""Integers."""


_GROUP_EDGES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, MAX_COMPONENTS)


def groups(components: int) -> tuple[slice, ...]:
    """Components in the order of coding, those of a group together: 1, 1, 1, 1, 2, 2, 4, 4, 8 … of them.

    Coded one by one they take half a per cent less, and several times the calls.
    """
    edges = [edge for edge in _GROUP_EDGES if edge < components] + [components]
    return tuple(map(slice, edges, edges[1:]))


def log_magnitude(magnitude: Planes) -> Planes:
    """16 log2(1 + magnitude), between powers of two on straight lines, rounded down.

    What nine magnitudes of _MAGNITUDE_MAX, three times over, cannot exceed is where larger ones end.
    """
    return _highest_bits(np.minimum(magnitude, 27 * _MAGNITUDE_MAX), _COMPANDED_BITS)


def magnitudes(planes: Planes) -> tuple[Planes, Planes]:
    """How large coefficients are, and how large all are in 3 × 3 of them, log_magnitude; (…, line, sample)."""
    magnitude = np.abs(planes)
    return log_magnitude(magnitude), log_magnitude(_around(np.minimum(magnitude, _MAGNITUDE_MAX)))


def clipped(planes: Planes) -> Planes:
    """What predicts, and what weights are found from."""
    return np.clip(planes, -_PREDICTOR_MAX, _PREDICTOR_MAX)


def _signed_log_magnitude(values: Planes) -> Planes:
    return np.copysign(log_magnitude(np.abs(values)), values)


def _log_energy(energy: Planes) -> Planes:
    """8 log2(1 + energy), likewise."""
    return _highest_bits(energy, _COMPANDED_BITS - 1)


def _highest_bits(number: Planes, bits: int) -> Planes:
    """2**bits log2(1 + number), for what float32 holds exactly: its exponent and the highest bits of its mantissa."""
    words = np.add(number, 1, dtype=np.float32).view(np.int32)
    return np.asarray((words >> (_MANTISSA_BITS - bits)) - (_EXPONENT_BIAS << bits), np.float32)


_MANTISSA_BITS, _EXPONENT_BIAS = 23, 127
"""Of float32, IEEE 754."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What is known of every component from the strip's basis and the tile's step.

    Attributes:
        log2_spread: (component,) log2 of the standard deviation in quantiser steps, in sixteenths; float32 integers
            within ±CONTEXT_MAX.
    """

    log2_spread: Planes

    def __len__(self) -> int:
        return len(self.log2_spread)

    def leading(self, count: int) -> Scale:
        """Of the first components."""
        return Scale(log2_spread=self.log2_spread[:count])


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the components of a group are expected to be.

    Attributes:
        prediction: (component, orientation, line, sample) in steps of 2**-PREDICTION_STEP_BITS.
        energy, rest: around every parent before and after it was predicted, log_magnitude, (component, line, sample).
    """

    prediction: Planes
    energy: Planes
    rest: Planes


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupContexts:
    """What the components of a group have in common with what was coded before them; see `LevelContexts`.

    Attributes:
        predicted: what its components are expected to be.
        around_decoded: how large all are in 3 × 3 coefficients of orientations that are wholly decoded, (component,
            line, sample), as they are asked for.
    """

    level: int
    first: int
    log2_spread: Planes
    parent: Planes
    around_parent: Planes
    grandparent: Planes | None
    nearest: Planes
    around_nearest: Planes
    mean: Planes
    largest: Planes
    predicted: Prediction
    around_decoded: dict[int, Planes] = field(default_factory=dict)

    def of(
        self,
        orientation: int,
        decoded: Planes,
        squares: Squares,
        only: slice = slice(None),
    ) -> tuple[Planes, Planes]:
        """Contexts of the coefficients of one orientation on squares of one colour, and what predicts them.

        Args:
            orientation: which.
            decoded: (component, orientation, line, sample), of the group; of those before this one all is read, and for
                black squares what lies on the white ones of this one.
            squares: which.
            only: of these components of the group.

        Returns:
            (CONTEXTS, component, square); and (component, square) of the prediction.
        """
        own, *others = _ROLES[orientation]
        here, twice, four_times = squares.places
        numbers = np.arange(self.first, self.first + len(decoded), dtype=np.float32)[only]
        contexts = np.empty((CONTEXTS, len(numbers), len(here)), np.float32)
        entries = iter(contexts)

        def describe(planes: Planes, places: NDArray[np.intp], *, apart: bool = False) -> None:
            """The own orientation, and the others: each apart, or the larger."""
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
        describe(self.around_parent[only], twice)
        describe(self.nearest[0], here, apart=True)
        describe(self.nearest[1], here)
        _put(self.nearest[2, own], here, next(entries))
        describe(self.mean, here)
        describe(self.around_nearest, here)
        _put(self.largest[own], here, next(entries))
        prediction = _at(self.predicted.prediction[only, orientation], here)
        expected = next(entries)
        expected[...] = _signed_log_magnitude(np.rint(prediction / 2))
        np.abs(expected, out=next(entries))
        _put(self.predicted.energy[only], twice, next(entries))
        _put(self.predicted.rest[only], twice, next(entries))
        for before in range(ORIENTATIONS - 1):
            if before < orientation:
                next(entries)[...] = log_magnitude(np.abs(_at(decoded[only, before], here)))
                _put(self._around(before, decoded)[only], here, next(entries))
            else:
                next(entries)[...] = next(entries)[...] = 0
        neighbours: tuple[Planes | float, ...] = (0.0,) * 6
        if squares.black:
            of_planes = self.predicted.prediction[only, orientation]
            neighbours = self._neighbours(orientation, decoded[only, orientation], of_planes, here)
        constants = (
            _ON * squares.black,
            *(_ON * (level == self.level) for level in range(LEVELS)),
            *(_ON * (which == orientation) for which in range(ORIENTATIONS)),
        )
        for value in (*neighbours, *constants, self.log2_spread[only, None], log_magnitude(numbers)[:, None]):
            next(entries)[...] = value
        return contexts, prediction

    _magnitudes = staticmethod(magnitudes)

    def _around(self, orientation: int, decoded: Planes) -> Planes:
        """Of an orientation that is decoded, see `around_decoded`; worked out once."""
        if orientation not in self.around_decoded:
            self.around_decoded[orientation] = self._magnitudes(decoded[:, orientation])[1]
        return self.around_decoded[orientation]

    @staticmethod
    def _neighbours(
        orientation: int, decoded: Planes, prediction: Planes, places: NDArray[np.intp]
    ) -> tuple[Planes, ...]:
        """What lies on the squares beside those, (component, square)."""
        white = decoded * ~checkerboard(decoded.shape[-2:])
        off = np.abs(decoded * 2**PREDICTION_STEP_BITS - prediction)
        np.minimum(off, _MAGNITUDE_MAX << PREDICTION_STEP_BITS, out=off)
        sums = (*_beside(white), *_beside(np.abs(white)), *_beside(off))
        along, across, along_magnitude, across_magnitude, off_along, off_across = (_at(plane, places) for plane in sums)
        # Along samples for what is high along samples; along lines for what is high along lines.
        if orientation == 1:
            along, across = across, along
            along_magnitude, across_magnitude = across_magnitude, along_magnitude
        return (
            _signed_log_magnitude(along),
            _signed_log_magnitude(across),
            log_magnitude(along_magnitude),
            log_magnitude(across_magnitude),
            log_magnitude(along_magnitude + across_magnitude),
            log_magnitude(np.floor((off_along + off_across) * np.float32(2.0**-PREDICTION_STEP_BITS))),
        )


class LevelContexts:
    """Contexts of one level of a tile, as far as it is decoded: groups of components are added as they come.

    Coefficients are (component, orientation, line, sample) float32 integers, all orientations of the low-pass band's
    size; what a subband of an odd number of lines or samples lacks of that is zero.
    """

    _group: type[GroupContexts] = GroupContexts
    _magnitudes = staticmethod(magnitudes)

    def __init__(
        self, level: int, parents: Planes, grandparents: Planes | None, shape: tuple[int, int], scale: Scale
    ) -> None:
        """Begin a level.

        Args:
            level: which, 0 … LEVELS - 1.
            parents: details of the level coarser by one, of all components; of the coarsest level, zeros of half the
                size, rounded up.
            grandparents: of the level coarser by two; None where there is none.
            shape: lines and samples.
            scale: of the components.
        """
        self._level, self._shape, self._scale = level, shape, scale
        components = len(scale)
        if len(parents) != components:
            raise ValueError(f"parents of {len(parents)} components, {components} are needed")
        self._parents, self._grandparents = parents, grandparents
        self._predictors = np.zeros((0, ORIENTATIONS, *shape), np.float32)
        self._nearest = np.zeros((ORIENTATIONS, ORIENTATIONS, *shape), np.float32)
        self._around_nearest = np.zeros((ORIENTATIONS, *shape), np.float32)
        self._sum = np.zeros((ORIENTATIONS, *shape), np.float32)
        self._largest = np.zeros((ORIENTATIONS, *shape), np.float32)
        self._count = 0

    def next_group(self, count: int) -> GroupContexts:
        """Contexts of the `count` components behind those that were added."""
        of = slice(self._count, self._count + count)
        parent, around_parent = self._magnitudes(self._parents[of])
        return self._group(
            level=self._level,
            first=of.start,
            log2_spread=self._scale.log2_spread[of],
            parent=parent,
            around_parent=around_parent,
            grandparent=None if self._grandparents is None else log_magnitude(np.abs(self._grandparents[of])),
            nearest=self._nearest,
            around_nearest=self._around_nearest,
            mean=np.floor(self._sum / np.float32(max(self._count, 1))),
            largest=self._largest,
            predicted=self._predicted(of),
        )

    def add(self, details: Planes) -> None:
        """Take the coefficients of the next group, (component, orientation, line, sample)."""
        self._predictors = np.concatenate((self._predictors, clipped(details[-PREDICTORS:])))[-PREDICTORS:]
        self._around_nearest = self._magnitudes(details[-1])[1]
        self._add_magnitudes(details)
        self._count += len(details)

    def _add_magnitudes(self, details: Planes) -> None:
        """Those of a group, to what is known of all."""
        there = log_magnitude(np.abs(details))
        self._nearest = np.concatenate((there[::-1], self._nearest))[: len(self._nearest)]
        self._sum = self._sum + there.sum(axis=0)
        self._largest = np.maximum(self._largest, there.max(axis=0))

    def _predicted(self, of: slice) -> Prediction:
        """Details of some components as weighted sums of those before them.

        Principal components are uncorrelated over the whole scene and not so locally: at an edge between two materials
        all of them jump. The weights are those that fit the level coarser by one best, in 3 × 3 coefficients of all
        orientations, found predictor by predictor (a step of Gauss–Seidel for ridge regression), farthest first.
        """
        rest = clipped(self._parents[of])
        prediction = np.zeros((len(rest), ORIENTATIONS, *self._shape), np.float32)
        energy = _around((rest * rest).sum(axis=1))
        for details, parent in zip(self._predictors, clipped(self._parents[self._predictors_of]), strict=True):
            common = _around((parent * rest).sum(axis=1))
            own = _around((parent * parent).sum(axis=0)) + _RIDGE
            weight = np.rint(np.clip((common * 2**PREDICTION_STEP_BITS) / own, -_WEIGHT_MAX, _WEIGHT_MAX))
            rest = rest - np.rint(weight[:, None] * parent * np.float32(2.0**-PREDICTION_STEP_BITS))
            np.clip(rest, -_PREDICTOR_MAX, _PREDICTOR_MAX, out=rest)
            prediction += _enlarged(weight, self._shape)[:, None] * details
        return Prediction(
            prediction=prediction,
            energy=_log_energy(energy),
            rest=_log_energy(_around((rest * rest).sum(axis=1))),
        )

    @property
    def _predictors_of(self) -> slice:
        """The components that predict the next ones."""
        return slice(self._count - len(self._predictors), self._count)


def level_contexts(
    level: int, parents: Planes, grandparents: Planes | None, shape: tuple[int, int], scale: Scale
) -> LevelContexts:
    """`LevelContexts`, of those that make the same the fastest that there is."""
    return _fastest()(level, parents, grandparents, shape, scale)


@cache
def _fastest() -> type[LevelContexts]:
    try:
        from hyvic_runtime.families.adaptive.native_contexts import NativeLevelContexts
    except ImportError:  # the package was built without a C compiler
        return LevelContexts
    return NativeLevelContexts


@dataclass(frozen=True, slots=True, kw_only=True)
class Squares:
    """The squares of one colour, line by line.

    Attributes:
        black: or white, as the first of a checkerboard is.
        lines: all of those of these lines; None: some of them.
        places: (square,) each: where they lie in planes as large, half and a quarter as large.
    """

    black: bool
    lines: slice | None
    places: tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]


def both_squares(shape: tuple[int, int], lines: slice = slice(None)) -> tuple[Squares, Squares]:
    """White and black squares of some lines of a level of so many lines and samples."""
    lines = slice(*lines.indices(shape[0])[:2])
    black = checkerboard(shape)[lines]
    found = []
    for colour in (False, True):
        line, sample = np.nonzero(black == colour)
        line += lines.start
        places, samples = [line * shape[1] + sample], shape[1]
        for halvings in (1, 2):
            samples = -(-samples // 2)
            places.append((line >> halvings) * samples + (sample >> halvings))
        found.append(Squares(black=colour, lines=lines, places=(places[0], places[1], places[2])))
    return found[0], found[1]


_ROLES = ((0, 1, 2), (1, 0, 2), (2, 0, 1))
"""Of every orientation: itself and the others, high along samples before high along lines."""


def checkerboard(shape: Sequence[int]) -> NDArray[np.bool_]:
    """Black squares, (line, sample); the first is white."""
    lines, samples = shape
    black = np.zeros((lines, samples), np.bool_)
    black[::2, 1::2] = black[1::2, ::2] = True
    return black


def _put(planes: Planes, places: NDArray[np.intp], out: Planes) -> None:
    """What lies there, (component, line, sample) to (component, place); of a single plane, for all components."""
    if planes.ndim == 2:
        out[...] = np.take(planes, places)
    else:
        np.take(planes.reshape(len(planes), -1), places, axis=1, out=out, mode="clip")  # which needs no copy


def _at(planes: Planes, places: NDArray[np.intp]) -> Planes:
    """(…, line, sample) to (…, place)."""
    return np.take(planes.reshape(*planes.shape[:-2], -1), places, axis=-1)


def _enlarged(planes: Planes, shape: Sequence[int]) -> Planes:
    """Twice the lines and samples, cut to `shape`."""
    lines, samples = shape
    return planes.repeat(2, axis=-2)[..., :lines, :].repeat(2, axis=-1)[..., :samples]


def _around(planes: Planes) -> Planes:
    """Sums over 3 × 3, beyond the edges of what lies on them."""
    framed = _framed(planes)
    framed[..., 0, :], framed[..., -1, :] = framed[..., 1, :], framed[..., -2, :]
    framed[..., 0], framed[..., -1] = framed[..., 1], framed[..., -2]
    lines = framed[..., :-2, :] + framed[..., 1:-1, :]
    lines += framed[..., 2:, :]
    sums = lines[..., :-2] + lines[..., 1:-1]
    sums += lines[..., 2:]
    return np.asarray(sums)


def _beside(planes: Planes) -> tuple[Planes, Planes]:
    """Sums of the two neighbours along samples and of the two along lines; beyond the edges lies zero."""
    framed = _framed(planes)
    return (
        framed[..., 1:-1, :-2] + framed[..., 1:-1, 2:],
        framed[..., :-2, 1:-1] + framed[..., 2:, 1:-1],
    )


def _framed(planes: Planes) -> Planes:
    """With a line and a sample of zeros on either side."""
    *others, lines, samples = planes.shape
    framed = np.zeros((*others, lines + 2, samples + 2), np.float32)
    framed[..., 1:-1, 1:-1] = planes
    return framed
