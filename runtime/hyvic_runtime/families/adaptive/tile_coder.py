"""A tile's wavelet coefficients to units, and back.

    first unit    the tile's lead, what its coefficients are reconstructed as, how many components each level has, the
                  approximation
    part units    the details of consecutive parts, one ANS stream: as many as fill a unit that is worth its packet

A unit of part p holds the parts from p on that its first octet counts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.entropy.symbol_costs import SymbolCosts
from hyvic_runtime.entropy.unit_coder import BlockReader, EntropyCoder
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.families.adaptive.coding_order import PARTS, Block, code_details, parts_of
from hyvic_runtime.families.adaptive.context_network import ContextNetwork
from hyvic_runtime.families.adaptive.contexts import LEVELS, Planes, Scale
from hyvic_runtime.families.adaptive.lowpass_unit import pack_lowpass, unpack_lowpass
from hyvic_runtime.families.adaptive.quantiser import (
    LAGRANGIAN,
    LARGEST,
    Centroids,
    choose,
    estimated_rd,
    trailing_count,
)
from hyvic_runtime.families.adaptive.wavelet import Pyramid, empty_pyramid, low_size

FULL_UNIT_BITS = 8 * 2048
"""From here on a unit is closed: what frames it is then below 2 % of it."""

_NONZERO_BITS = 6.0
"""What a coefficient that is not zero takes, about, zeros between them included."""

PartUnit = tuple[int, bytes]
"""First part, and octets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedTile:
    """A tile's units.

    Attributes:
        first: octets behind the tile's lead.
        parts: in the order of coding.
    """

    first: bytes
    parts: tuple[PartUnit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedTile:
    """What arrived of a tile.

    Attributes:
        pyramid: its coefficients in quantiser steps, of the components that it has.
        problem: why details are missing, or None: nothing is.
    """

    pyramid: Pyramid
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class TileCoder:
    """Codes tiles with a bundle's network and tables. Several threads may use it at once.

    Attributes:
        network: the bundle's.
        coder: of its tables.
    """

    network: ContextNetwork
    coder: EntropyCoder

    @cached_property
    def costs(self) -> SymbolCosts:
        """Of the tables, for what is encoded."""
        return SymbolCosts(self.coder)

    def encode(
        self, pyramid: Pyramid, scale: Scale, shape: tuple[int, int], *, lagrangian: float = LAGRANGIAN
    ) -> CodedTile:
        """Quantise and code a tile.

        Args:
            pyramid: in quantiser steps; its details, contiguous, are used up: the integers that were chosen take the
                place of those that are coded.
            scale: of its components.
            shape: lines and samples of its pixels.
            lagrangian: see `choose`.
        """
        components = tuple(trailing_count(np.greater(*_weighed(planes, lagrangian))) for planes in pyramid.details)
        used = max(*components, trailing_count((np.abs(pyramid.approximation) > 0.5).any(axis=(1, 2))))
        details = tuple(level[:used] for level in pyramid.details)
        chooser = _Chooser(
            details=details, coder=self.coder, parts=parts_of(components), costs=self.costs, lagrangian=lagrangian
        )
        code_details(self.network, scale.leading(used), components, shape, details, chooser)
        units = chooser.finished()
        approximation = np.rint(pyramid.approximation[:used]).astype(np.int32)
        first = chooser.centroids().pack() + _COMPONENTS.pack(*components)
        first += pack_lowpass(approximation, self.coder, self.costs)
        return CodedTile(first=first, parts=units)

    def decode(
        self, first: bytes, part_unit: Callable[[int], bytes | None], scale: Scale, shape: tuple[int, int]
    ) -> DecodedTile:
        """Inverse of `encode`, as far as units arrived.

        Args:
            first: octets behind the tile's lead.
            part_unit: gives the unit of a part, or None.
            scale: of the strip's components.
            shape: lines and samples of the tile's pixels.

        Raises:
            DecodeError: the first unit is damaged.
        """
        centroids, rest = Centroids.unpack(first)
        if len(rest) < _COMPONENTS.size:
            raise DecodeError(f"a tile's first unit of {len(first)} octets ends in its head")
        components = _COMPONENTS.unpack_from(rest)
        rest = rest[_COMPONENTS.size :]
        lines, samples = (low_size(size, LEVELS - 1) for size in shape)
        approximation = unpack_lowpass(rest, self.coder, (lines, samples), len(scale))
        used = len(approximation)
        if max(components) > used:
            raise DecodeError(f"a level of {max(components)} components in a tile of {used}; its packets are damaged")
        reader = _Reader(coder=self.coder, part_unit=part_unit, parts=parts_of(components))
        details = empty_pyramid(used, *shape).details
        code_details(self.network, scale.leading(used), components, shape, details, reader)
        problem = reader.finished()
        return DecodedTile(
            pyramid=Pyramid(
                approximation=approximation.astype(np.float32),
                details=tuple(centroids.reconstructed(level) for level in details),
            ),
            problem=problem,
        )


_COMPONENTS = struct.Struct(f">{LEVELS}H")
"""How many components have details in each level, the finest first."""


def _weighed(planes: Planes, lagrangian: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What components take off the squared error, and what that is to be more than."""
    saved, bits = estimated_rd(planes)
    return saved, lagrangian * bits


class _Chooser:
    """Quantises block by block, and codes what is chosen unit after unit."""

    def __init__(
        self,
        *,
        details: tuple[Planes, ...],
        coder: EntropyCoder,
        parts: tuple[int, ...],
        costs: SymbolCosts,
        lagrangian: float,
    ) -> None:
        self._details, self._coder, self._costs, self._lagrangian = details, coder, costs, lagrangian
        self._parts, self._ended = list(parts), 0
        self._units: list[PartUnit] = []
        self._writer, self._bits = coder.writer(), 0.0
        self._off = np.zeros(2)
        self._counts = np.zeros(2)

    def __call__(self, block: Block, rows: NDArray[np.int32], shifts: NDArray[np.int32]) -> Planes:
        self._end_parts(block.part)
        coefficients = block.squares.taken(self._details[block.level][block.components], block.orientation)
        choice = choose(coefficients, rows, shifts, self._costs, self._lagrangian)
        self._writer.write(choice.symbols.ravel(), rows.ravel())
        self._bits += _NONZERO_BITS * sum(choice.counts)
        self._off += choice.off
        self._counts += choice.counts
        return choice.integers

    def _end_parts(self, until: int) -> None:
        """Of those before this one: close the unit where it is full, or holds the last."""
        while self._ended < len(self._parts) and self._parts[self._ended] < until:
            self._ended += 1
            if self._bits >= FULL_UNIT_BITS or self._ended == len(self._parts):
                self._units.append((self._parts[0], bytes([self._ended]) + self._writer.finish()))
                self._parts, self._ended = self._parts[self._ended :], 0
                self._writer, self._bits = self._coder.writer(), 0.0

    def finished(self) -> tuple[PartUnit, ...]:
        """The units; to be asked for behind the last block."""
        self._end_parts(PARTS)
        return tuple(self._units)

    def centroids(self) -> Centroids:
        """How much nearer to zero than their integers the coefficients lie."""
        one, more = self._off / np.maximum(self._counts, 1)
        return Centroids.nearest(float(one), float(more))


class _Reader:
    """Reads block by block, unit after unit."""

    def __init__(
        self, *, coder: EntropyCoder, part_unit: Callable[[int], bytes | None], parts: tuple[int, ...]
    ) -> None:
        self._coder, self._part_unit, self._parts = coder, part_unit, list(parts)
        self._reader: BlockReader | None = None
        self._open: set[int] = set()
        self._problem: str | None = None

    def __call__(self, block: Block, rows: NDArray[np.int32], shifts: NDArray[np.int32]) -> Planes | None:
        try:
            while block.part not in self._open:
                self._next_unit()
            assert self._reader is not None
            integers = self._reader.read(rows.ravel()).reshape(rows.shape).astype(np.int64) + shifts
            if np.abs(integers).max() > LARGEST:
                raise DecodeError(f"part {block.part} of the details holds a coefficient beyond {LARGEST}")
        except DecodeError as error:
            self._problem, self._reader = str(error), None
            return None
        return integers.astype(np.float32)

    def _next_unit(self) -> None:
        """Open the unit of the next part.

        Raises:
            DecodeError: it is missing or damaged, or the one before it was not read to its end.
        """
        if self._reader is not None:
            self._reader.finish()
        part = self._parts[0]
        octets = self._part_unit(part)
        if octets is None:
            raise DecodeError(f"part {part} of the details did not arrive whole")
        if not octets or not 1 <= octets[0] <= len(self._parts):
            raise DecodeError(f"a unit of part {part} announces {octets[:1].hex() or 'no'} parts")
        self._open, self._parts = set(self._parts[: octets[0]]), self._parts[octets[0] :]
        self._reader = self._coder.reader(octets[1:])

    def finished(self) -> str | None:
        """What was wrong; to be asked behind the last block."""
        try:
            while self._problem is None and self._parts:
                self._next_unit()
            if self._problem is None and self._reader is not None:
                self._reader.finish()
        except DecodeError as error:
            self._problem = str(error)
        return self._problem
