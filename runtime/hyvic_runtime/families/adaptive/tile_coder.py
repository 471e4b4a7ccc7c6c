"""Units of a tile's wavelet coefficients, coded and decoded.

    first unit    the tile's prefix, the centroids, the number of components of each level, the approximation
    part units    the details of consecutive parts in one ANS stream: as many parts as make a unit worth its packet

A unit of part p holds as many parts, from p on, as its first octet says.
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
from hyvic_runtime.families.adaptive.contexts import Scale
from hyvic_runtime.families.adaptive.kernels import Kernels
from hyvic_runtime.families.adaptive.lowpass_unit import pack_lowpass, unpack_lowpass
from hyvic_runtime.families.adaptive.planes import LEVELS, Planes
from hyvic_runtime.families.adaptive.quantiser import LAGRANGIAN, LARGEST, Centroids, trailing_count
from hyvic_runtime.families.adaptive.wavelet import Pyramid, empty_pyramid, low_size

FULL_UNIT_BITS = 8 * 2048
"""Size at which a unit is closed: its framing is then below 2 %."""

_NONZERO_BITS = 6.0
"""Approximate cost of a coefficient that is not zero, with the zeros before it."""

PartUnit = tuple[int, bytes]
"""First part and octets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedTile:
    """Units of a tile.

    Attributes:
        first: octets after the tile's prefix.
        parts: part units in the order of coding.
    """

    first: bytes
    parts: tuple[PartUnit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedTile:
    """Coefficients of a tile that arrived.

    Attributes:
        pyramid: coefficients in quantiser steps, of the tile's components.
        problem: reason why details are missing; None if none are missing.
    """

    pyramid: Pyramid
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class TileCoder:
    """Codes tiles with a bundle's network and tables. Several threads may use it at once.

    Attributes:
        network: the bundle's context network.
        coder: entropy coder of the bundle's tables.
    """

    network: ContextNetwork
    coder: EntropyCoder

    @cached_property
    def costs(self) -> SymbolCosts:
        """Return the costs of symbols, for encoding."""
        return SymbolCosts(self.coder)

    def encode(
        self, pyramid: Pyramid, scale: Scale, shape: tuple[int, int], *, lagrangian: float = LAGRANGIAN
    ) -> CodedTile:
        """Quantise and code a tile.

        Args:
            pyramid: coefficients in quantiser steps; the chosen integers replace its details, which are contiguous.
            scale: scale of the tile's components.
            shape: lines and samples of the tile's pixels.
            lagrangian: see `quantiser.choose`.
        """
        kernels = self.network.kernels
        estimates = [kernels.estimated_rd(planes) for planes in pyramid.details]
        components = tuple(trailing_count(saved > lagrangian * bits) for saved, bits in estimates)
        used = max(*components, trailing_count((np.abs(pyramid.approximation) > 0.5).any(axis=(1, 2))))
        details = tuple(level[:used] for level in pyramid.details)
        chooser = _Chooser(
            details=details,
            coder=self.coder,
            kernels=kernels,
            parts=parts_of(components),
            costs=self.costs,
            lagrangian=lagrangian,
        )
        code_details(self.network, scale.leading(used), components, shape, details, chooser)
        units = chooser.finished()
        approximation = np.rint(pyramid.approximation[:used]).astype(np.int32)
        centroids = chooser.centroids()
        first = _HEAD.pack(centroids.one, centroids.more, *components)
        first += pack_lowpass(approximation, self.coder, self.costs)
        return CodedTile(first=first, parts=units)

    def decode(
        self, first: bytes, part_unit: Callable[[int], bytes | None], scale: Scale, shape: tuple[int, int]
    ) -> DecodedTile:
        """Invert `encode`, as far as units arrived.

        Args:
            first: octets after the tile's prefix.
            part_unit: returns the unit of a part, or None.
            scale: scale of the strip's components.
            shape: lines and samples of the tile's pixels.

        Raises:
            DecodeError: the first unit is damaged.
        """
        if len(first) < _HEAD.size:
            raise DecodeError(f"a tile's first unit of {len(first)} octets ends in its head")
        one, more, *components = _HEAD.unpack_from(first)
        centroids = Centroids(one=one, more=more)
        lines, samples = (low_size(size, LEVELS - 1) for size in shape)
        approximation = unpack_lowpass(first[_HEAD.size :], self.coder, (lines, samples), len(scale))
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


_HEAD = struct.Struct(f">bb{LEVELS}H")
"""Centroids; number of components that have details in each level, the finest first."""


class _Chooser:
    """Quantises block by block, and codes the integers unit by unit."""

    def __init__(
        self,
        *,
        details: tuple[Planes, ...],
        coder: EntropyCoder,
        kernels: Kernels,
        parts: tuple[int, ...],
        costs: SymbolCosts,
        lagrangian: float,
    ) -> None:
        self._details, self._coder, self._kernels = details, coder, kernels
        self._costs, self._lagrangian = costs, lagrangian
        self._parts, self._ended = list(parts), 0
        self._units: list[PartUnit] = []
        self._writer, self._bits = coder.writer(), 0.0
        self._off = np.zeros(2)
        self._counts = np.zeros(2)

    def __call__(self, block: Block, tables: NDArray[np.int32], offsets: NDArray[np.int32]) -> Planes:
        self._end_parts(block.part)
        planes = self._details[block.level][block.components]
        coefficients = self._kernels.take(block.positions, planes, block.orientation)
        choice = self._kernels.choose(coefficients, tables, offsets, self._costs, self._lagrangian)
        self._writer.write(choice.symbols.ravel(), tables.ravel())
        self._bits += _NONZERO_BITS * sum(choice.counts)
        self._off += choice.off
        self._counts += choice.counts
        return choice.integers

    def _end_parts(self, until: int) -> None:
        """End the parts before this one; close the unit if it is full, or holds the last part."""
        while self._ended < len(self._parts) and self._parts[self._ended] < until:
            self._ended += 1
            if self._bits >= FULL_UNIT_BITS or self._ended == len(self._parts):
                self._units.append((self._parts[0], bytes([self._ended]) + self._writer.finish()))
                self._parts, self._ended = self._parts[self._ended :], 0
                self._writer, self._bits = self._coder.writer(), 0.0

    def finished(self) -> tuple[PartUnit, ...]:
        """Return the units; call it after the last block."""
        self._end_parts(PARTS)
        return tuple(self._units)

    def centroids(self) -> Centroids:
        """Return the mean distances by which coefficients lie nearer to zero than their integers."""
        one, more = self._off / np.maximum(self._counts, 1)
        return Centroids.nearest(float(one), float(more))


class _Reader:
    """Reads block by block, unit by unit."""

    def __init__(
        self, *, coder: EntropyCoder, part_unit: Callable[[int], bytes | None], parts: tuple[int, ...]
    ) -> None:
        self._coder, self._part_unit, self._parts = coder, part_unit, list(parts)
        self._reader: BlockReader | None = None
        self._open: set[int] = set()
        self._problem: str | None = None

    def __call__(self, block: Block, tables: NDArray[np.int32], offsets: NDArray[np.int32]) -> Planes | None:
        try:
            while block.part not in self._open:
                self._next_unit()
            assert self._reader is not None
            integers = self._reader.read(tables.ravel()).reshape(tables.shape).astype(np.int64) + offsets
            if np.abs(integers).max() > LARGEST:
                raise DecodeError(f"part {block.part} of the details holds a coefficient beyond {LARGEST}")
        except DecodeError as error:
            self._problem, self._reader = str(error), None
            return None
        return integers.astype(np.float32)

    def _next_unit(self) -> None:
        """Open the unit of the next part.

        Raises:
            DecodeError: the unit is missing or damaged, or the unit before it was not read to its end.
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
        """Return what was wrong, or None; call it after the last block."""
        try:
            while self._problem is None and self._parts:
                self._next_unit()
            if self._problem is None and self._reader is not None:
                self._reader.finish()
        except DecodeError as error:
            self._problem = str(error)
        return self._problem
