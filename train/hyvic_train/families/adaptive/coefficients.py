"""Quantised wavelet coefficients with their contexts: what the context model learns from and is measured on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from hyvic_runtime.families.adaptive.checkerboard import Positions, both_positions
from hyvic_runtime.families.adaptive.contexts import CONTEXT_MAX, GroupContexts, LevelContexts, Scale, groups
from hyvic_runtime.families.adaptive.kernels import kernels_of
from hyvic_runtime.families.adaptive.planes import LEVELS, ORIENTATIONS, Planes
from hyvic_runtime.families.adaptive.strip import basis_of_strip
from hyvic_runtime.families.adaptive.wavelet import present
from numpy.typing import NDArray

LEAST_MAGNITUDE = 0.8
"""In quantiser steps: a component that never reaches it is worth no bit, nor is any behind it."""
_MOST_SPREAD_OCTET = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectralTransform:
    """Spectral transform of a strip, before it is quantised.

    Attributes:
        mean: (band,) digital numbers.
        vectors: (component, band) orthonormal, variances falling.
        spread: (component,) standard deviations in digital numbers.
    """

    mean: NDArray[np.float32]
    vectors: NDArray[np.float32]
    spread: NDArray[np.float32]

    def components(self, cube: Planes) -> Planes:
        """(component, line, sample) of a cube, (band, line, sample)."""
        bands, *size = cube.shape
        spectra = cube.reshape(bands, -1) - self.mean[:, None]
        return np.asarray(self.vectors @ spectra).reshape(-1, *size)


def spectral_transform(cube: Planes, components: int) -> SpectralTransform:
    """As an encoder makes it of a strip, (band, line, sample)."""
    basis = basis_of_strip(np.moveaxis(cube, 0, -1), None)
    return SpectralTransform(
        mean=basis.mean.astype(np.float32),
        vectors=basis.vectors[:components].astype(np.float32),
        spread=basis.deviations[:components].astype(np.float32),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """Details of one tile in quantiser steps.

    Attributes:
        shape: lines and samples of the planes.
        levels: of every level, the finest first: (component, orientation, line, sample) float32; integers once they
            are quantised.
        scale: of the components.
    """

    shape: tuple[int, int]
    levels: tuple[Planes, ...]
    scale: Scale

    @property
    def count(self) -> int:
        """How many coefficients there are."""
        exist = sum(np.count_nonzero(present(*self.shape, level)) for level in range(LEVELS))
        return len(self.scale) * int(exist)


def details(planes: Planes, spread: NDArray[np.float32], step: float) -> Details:
    """Transform the leading components that are worth it; nothing is quantised yet.

    Args:
        planes: (component, line, sample) digital numbers.
        spread: (component,) standard deviations in digital numbers.
        step: of the quantiser, in digital numbers.
    """
    reached = np.flatnonzero(np.abs(planes).max(axis=(1, 2)) > LEAST_MAGNITUDE * step)
    count = int(reached[-1]) + 1 if len(reached) else 1
    return Details(
        shape=(planes.shape[1], planes.shape[2]),
        levels=kernels_of().analyse(planes[:count] / np.float32(step)).details,
        scale=_scale(spread[:count], step),
    )


def rounded(of: Details, rounding: float) -> Details:
    """Quantise each coefficient for itself: `rounding` is added to magnitudes before they are rounded down."""
    levels = tuple(np.copysign(np.floor(np.abs(level) + np.float32(rounding)), level) for level in of.levels)
    return replace(of, levels=levels)


Bits = Callable[["Rows", Planes], NDArray[np.float32]]
"""Code lengths of values that rows might have in place of theirs, (choice, row) both."""


def rounded_for_less(of: Details, bits: Bits, bit_weight: float) -> Details:
    """Quantise in the order of coding as an encoder does.

    To the nearest integer, or the next nearer to zero where the bits that it saves are worth its error.

    Args:
        of: not quantised.
        bits: of what is known of a coefficient and a choice of its value.
        bit_weight: squared quantiser steps that a bit is worth.
    """
    exact, of = of, rounded(of, 0.5)
    for level in reversed(range(LEVELS)):
        for part in _parts(of, level):
            rows = part.rows()
            wanted = part.of_part(exact.levels[level])
            nearest, nearer = choices = np.stack((rows.values, rows.values - np.sign(rows.values)))
            cost, cost_nearer = np.square(wanted - choices) + bit_weight * bits(rows, choices)
            part.write(of.levels[level], np.where(cost_nearer < cost, nearer, nearest))
    return of


def _scale(spread: NDArray[np.float32], step: float) -> Scale:
    """As a stream tells it: standard deviations in quarter octaves of a digital number."""
    octet = np.clip(np.rint(4 * np.log2(np.maximum(spread, 1))), 0, _MOST_SPREAD_OCTET)
    sixteenths = np.clip(4 * octet - np.rint(16 * np.log2(step)), -CONTEXT_MAX, CONTEXT_MAX)
    return Scale(log2_spread=sixteenths.astype(np.float32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Coefficients with what is known of them.

    Attributes:
        contexts: (CONTEXTS, row) float32 integers.
        prediction: (row,) in steps of 2**-PREDICTION_STEP_BITS.
        values: (row,) the coefficients.
    """

    contexts: Planes
    prediction: Planes
    values: Planes


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which coefficients are taken at random: of some parts some places, with all components of the group.

    Contexts of a part cost time however many of its places are taken, so not all parts are begun.

    Attributes:
        rng: that decides.
        chance: of every coefficient to be among them.
        of_part: likewise of every part, at least `chance`.
    """

    rng: np.random.Generator
    chance: float
    of_part: float

    def part(self) -> bool:
        """Whether the next part is begun."""
        return bool(self.rng.random() < self.of_part)

    def places(self, count: int) -> NDArray[np.bool_]:
        """Which of its places are taken."""
        return np.asarray(self.rng.random(count) * self.of_part < self.chance)


def rows_in_order(of: Details, choice: Choice | None = None) -> Iterator[Rows]:
    """Quantised details in the order of coding, a part at a time.

    Args:
        of: a tile's.
        choice: of some; None: all.
    """
    for level in reversed(range(LEVELS)):
        for part in _parts(of, level, choice):
            yield part.rows()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Coefficients of one group and orientation, anchors or non-anchors.

    Attributes:
        level: all coefficients of their level, as far as they are decided.
        group: of components.
        orientation: of the three.
        positions: anchors or non-anchors.
        contexts: of the group.
    """

    level: Planes
    group: slice
    orientation: int
    positions: Positions
    contexts: GroupContexts

    def rows(self) -> Rows:
        """The coefficients with what is known of them."""
        contexts, prediction = self.contexts.at(self.orientation, self.level[self.group], self.positions)
        return Rows(
            contexts=contexts.reshape(len(contexts), -1),
            prediction=prediction.ravel(),
            values=self.of_part(self.level),
        )

    def of_part(self, level: Planes) -> Planes:
        """Those of another level of that shape, in the rows' order."""
        return self._flat(level)[:, self.positions.places[0]].ravel()

    def write(self, level: Planes, values: Planes) -> None:
        """The opposite."""
        flat = self._flat(level)
        flat[:, self.positions.places[0]] = values.reshape(len(flat), -1)

    def _flat(self, level: Planes) -> Planes:
        planes = level.reshape(*level.shape[:2], -1)
        return planes[self.group, self.orientation]


def _parts(of: Details, level: int, choice: Choice | None = None) -> Iterator[_Part]:
    """Of a level, in the order of coding; a part may be changed before the next one is asked for."""
    values = of.levels[level]
    shape = (values.shape[2], values.shape[3])
    exist = present(*of.shape, level).reshape(ORIENTATIONS, -1)
    known = _level_contexts(of, level)
    both = both_positions(shape)
    parts = [(orientation, positions) for orientation in range(ORIENTATIONS) for positions in both]
    for group in groups(len(of.scale)):
        begun = [part for part in parts if choice is None or choice.part()]
        contexts = known.next_group(group.stop - group.start) if begun else None
        for orientation, positions in begun:
            assert contexts is not None
            chosen = exist[orientation, positions.places[0]]
            if choice is not None:
                chosen = chosen & choice.places(len(chosen))
            if chosen.any():
                some = _chosen(positions, chosen)
                yield _Part(level=values, group=group, orientation=orientation, positions=some, contexts=contexts)
        known.add(values[group])


def _level_contexts(of: Details, level: int) -> LevelContexts:
    lines, samples = of.levels[level].shape[2:]
    if level == LEVELS - 1:
        parents = np.zeros((len(of.scale), ORIENTATIONS, -(-lines // 2), -(-samples // 2)), np.float32)
    else:
        parents = of.levels[level + 1]
    grandparents = of.levels[level + 2] if level + 2 < LEVELS else None
    return kernels_of().level_contexts(level, parents, grandparents, (lines, samples), of.scale)


def _chosen(positions: Positions, chosen: NDArray[np.bool_]) -> Positions:
    here, twice, four_times = (places[chosen] for places in positions.places)
    return Positions(non_anchor=positions.non_anchor, lines=None, places=(here, twice, four_times))


def together(parts: Sequence[Rows]) -> Rows:
    """Rows of all parts."""
    return Rows(
        contexts=np.concatenate([part.contexts for part in parts], axis=1),
        prediction=np.concatenate([part.prediction for part in parts]),
        values=np.concatenate([part.values for part in parts]),
    )
