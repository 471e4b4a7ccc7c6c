"""Quantised wavelet coefficients with their contexts: training and validation data of the context model.

    cube ─▶ spectral_basis ─▶ project ─▶ details, in quantiser steps ─▶ rounded ─▶ visit_rows: Rows, block by block

Basis, scale, wavelet, contexts and the order of coding are the runtime's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast

import numpy as np
from hyvic_runtime.families.adaptive.checkerboard import Positions, both_positions, take
from hyvic_runtime.families.adaptive.coding_order import Block, code_details
from hyvic_runtime.families.adaptive.context_network import ContextNetwork
from hyvic_runtime.families.adaptive.contexts import GroupContexts, Scale
from hyvic_runtime.families.adaptive.kernels import kernels_of
from hyvic_runtime.families.adaptive.planes import LEVELS, ORIENTATIONS, Planes
from hyvic_runtime.families.adaptive.strip import basis_of_strip
from hyvic_runtime.families.adaptive.strip_basis import SpectralBasis
from hyvic_runtime.families.adaptive.wavelet import present
from numpy.typing import NDArray

LEAST_MAGNITUDE = 0.8
"""Quantiser steps: a component that never reaches them is worth no bit, nor is any component after it."""


def spectral_basis(cube: Planes, components: int) -> SpectralBasis:
    """Return the leading components of a strip (band, line, sample), as an encoder finds them."""
    basis = basis_of_strip(np.moveaxis(cube, 0, -1), None)
    return replace(basis, vectors=basis.vectors[:components], deviations=basis.deviations[:components])


def project(basis: SpectralBasis, cube: Planes) -> Planes:
    """Return the components (component, line, sample) of a cube (band, line, sample), in digital numbers.

    An encoder projects on the vectors after it quantised them (`StripBasis.project`); here they are exact.
    """
    bands, *size = cube.shape
    spectra = cube.reshape(bands, -1) - basis.mean.astype(np.float32)[:, None]
    return np.asarray(basis.vectors.astype(np.float32) @ spectra).reshape(-1, *size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """Details of one tile in quantiser steps.

    Attributes:
        shape: lines and samples of the planes.
        levels: coefficients of every level, the finest first: (component, orientation, line, sample) float32; integers
            once they are quantised.
        scale: scale of the components.
    """

    shape: tuple[int, int]
    levels: tuple[Planes, ...]
    scale: Scale

    @property
    def count(self) -> int:
        """Number of coefficients."""
        exist = sum(np.count_nonzero(present(*self.shape, level)) for level in range(LEVELS))
        return len(self.scale) * int(exist)


def details(planes: Planes, basis: SpectralBasis, step: float) -> Details:
    """Transform the leading components that are worth it; nothing is quantised yet.

    Args:
        planes: (component, line, sample) digital numbers.
        basis: basis of the components.
        step: step of the quantiser, in digital numbers.
    """
    reached = np.flatnonzero(np.abs(planes).max(axis=(1, 2)) > LEAST_MAGNITUDE * step)
    count = int(reached[-1]) + 1 if len(reached) else 1
    nearest_code = round(1000 * (10 - np.log2(step)))
    return Details(
        shape=(planes.shape[1], planes.shape[2]),
        levels=kernels_of().analyse(planes[:count] / np.float32(step)).details,
        scale=basis.quantised(count, step).scale(nearest_code),
    )


def rounded(exact: Details, rounding: float) -> Details:
    """Quantise each coefficient for itself: `rounding` is added to magnitudes before they are rounded down."""
    levels = tuple(np.copysign(np.floor(np.abs(level) + np.float32(rounding)), level) for level in exact.levels)
    return replace(exact, levels=levels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Coefficients with their contexts.

    Attributes:
        contexts: (CONTEXTS, row) float32 integers.
        prediction: (row,) in steps of 2**-PREDICTION_STEP_BITS.
        values: (row,) the coefficients.
    """

    contexts: Planes
    prediction: Planes
    values: Planes


Bits = Callable[[Rows, Planes], NDArray[np.float32]]
"""Returns code lengths of values that rows might have in place of their own, (choice, row) both."""
Visit = Callable[[Rows, Block], Planes | None]
"""Sees the rows of a block; returns other values for them, (row,), or None to keep their own."""


def rounded_for_less(exact: Details, bits: Bits, bit_weight: float) -> Details:
    """Quantise in the order of coding as an encoder does.

    Each coefficient becomes the nearest integer, or the next integer towards zero where the saved bits are worth the
    larger error.

    Args:
        exact: coefficients before quantisation.
        bits: code lengths, given the rows and a choice of their values.
        bit_weight: squared quantiser steps that a bit is worth.
    """
    nearest = rounded(exact, 0.5)

    def choose(rows: Rows, block: Block) -> Planes:
        wanted = take(block.positions, exact.levels[block.level][block.components], block.orientation).ravel()
        choices = np.stack((rows.values, rows.values - np.sign(rows.values)))
        cost, cost_nearer = np.square(wanted - choices) + bit_weight * bits(rows, choices)
        return np.where(cost_nearer < cost, choices[1], choices[0])

    visit_rows(nearest, choose)
    return nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Random choice of coefficients: some blocks, and some positions of a block with all components of the group.

    The contexts of a block cost time however many of its positions are taken, so not all blocks are begun.

    Attributes:
        rng: source of the random numbers.
        chance: probability that a coefficient is taken.
        of_block: probability that a block is begun, at least `chance`.
    """

    rng: np.random.Generator
    chance: float
    of_block: float

    def block(self) -> bool:
        """Whether the next block is begun."""
        return bool(self.rng.random() < self.of_block)

    def positions(self, count: int) -> NDArray[np.bool_]:
        """Draw which of its positions are taken."""
        return np.asarray(self.rng.random(count) * self.of_block < self.chance)


def visit_rows(tile: Details, visit: Visit, choice: Choice | None = None) -> None:
    """Visit quantised details in the order of coding, block by block.

    Args:
        tile: details of a tile; values that `visit` returns are written to it.
        visit: called with the rows of each block.
        choice: choice of some coefficients, whose values `visit` must keep; None: all.
    """
    walk = _Walk(visit, choice)
    # The walk needs no engine: only `kernels` and `tables_and_offsets` are used.
    network, counts = cast(ContextNetwork, walk), [len(tile.scale)] * LEVELS
    code_details(network, tile.scale, counts, tile.shape, tile.levels, walk.code)


class _Walk:
    """Stands in for network and coder on the way of `code_details` through a tile."""

    def __init__(self, visit: Visit, choice: Choice | None) -> None:
        self.kernels = kernels_of()
        self._visit, self._choice = visit, choice
        self._contexts: GroupContexts | None = None
        self._begun = [True] * (2 * ORIENTATIONS)
        self._decoded: Planes

    def tables_and_offsets(
        self, contexts: GroupContexts, orientation: int, decoded: Planes, non_anchor: bool
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Keep what `code` needs for the block that comes next; the tables that are returned mean nothing."""
        if contexts is not self._contexts:
            self._contexts, self._decoded = contexts, decoded
            if self._choice is not None:
                self._begun = [self._choice.block() for _ in self._begun]
        count = len(_places((decoded.shape[2], decoded.shape[3]), non_anchor)[0])
        nothing = np.broadcast_to(np.int32(0), (len(decoded), count))
        return nothing, nothing

    def code(self, block: Block, tables: NDArray[np.int32], offsets: NDArray[np.int32]) -> Planes:
        """Visit the rows of a block that are chosen, and return the block's values."""
        assert self._contexts is not None
        positions, orientation, decoded = block.positions, block.orientation, self._decoded
        values = take(positions, decoded, orientation)
        if not self._begun[2 * orientation + positions.non_anchor]:
            return values
        places = _places((decoded.shape[2], decoded.shape[3]), positions.non_anchor)
        chosen = np.ones(len(places[0]), np.bool_) if positions.among is None else positions.among
        if self._choice is not None:
            chosen = chosen & self._choice.positions(len(chosen))
        if not chosen.any():
            return values
        here, twice, four_times = (of_size[chosen] for of_size in places)
        some = Positions(non_anchor=positions.non_anchor, lines=None, places=(here, twice, four_times))
        contexts, prediction = self._contexts.at(orientation, decoded, some)
        found = Rows(
            contexts=contexts.reshape(len(contexts), -1),
            prediction=prediction.ravel(),
            values=decoded[:, orientation].reshape(len(decoded), -1)[:, here].ravel(),
        )
        changed = self._visit(found, block)
        return values if changed is None else changed.reshape(values.shape)


@lru_cache(maxsize=64)
def _places(shape: tuple[int, int], non_anchor: bool) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    return both_positions(shape)[non_anchor].places


def all_rows(tile: Details, choice: Choice | None = None) -> Rows | None:
    """Return the rows of a tile, or those of a choice, in the order of coding; None without any."""
    parts: list[Rows] = []

    def keep(rows: Rows, block: Block) -> None:
        parts.append(rows)

    visit_rows(tile, keep, choice)
    if not parts:
        return None
    return Rows(
        contexts=np.concatenate([part.contexts for part in parts], axis=1),
        prediction=np.concatenate([part.prediction for part in parts]),
        values=np.concatenate([part.values for part in parts]),
    )
