"""The approximation (LL band) of a tile and its number of components, in the tile's first unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.entropy.symbol_costs import SymbolCosts
from hyvic_runtime.entropy.unit_coder import EntropyCoder
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.families.adaptive.planes import MAX_COMPONENTS
from hyvic_runtime.families.adaptive.table_choice import SCALES

_COUNT_OCTETS = 2


def pack_lowpass(planes: NDArray[np.int32], coder: EntropyCoder, costs: SymbolCosts) -> bytes:
    """Code the coarsest plane of a tile's components.

    Every value is coded as its difference from the value before it in its line; a line's first, from the value above.

    Args:
        planes: (component, line, sample) int32, in quantiser steps.
        coder: entropy coder of the bundle's tables.
        costs: costs of symbols under these tables.

    Returns:
        Number of components (u16), table of each (u8, 0 … SCALES - 1), coded differences.
    """
    differences = planes.copy()
    differences[:, :, 1:] -= planes[:, :, :-1]
    differences[:, 1:, 0] -= planes[:, :-1, 0]
    flat = differences.reshape(len(planes), differences.shape[1] * differences.shape[2])
    tables = _cheapest_tables(flat, costs)
    coded = coder.encode(flat.ravel(), np.repeat(tables, flat.shape[1]))
    return len(planes).to_bytes(_COUNT_OCTETS, "big") + bytes(tables.astype(np.uint8)) + coded


def _cheapest_tables(vectors: NDArray[np.int32], costs: SymbolCosts) -> NDArray[np.intp]:
    """Return which table, 0 … SCALES - 1, codes each vector of (vector, symbol) in fewest bits."""
    tables = np.arange(SCALES)[:, None]
    bits = [costs.bits(vector[None].repeat(SCALES, axis=0), tables.repeat(len(vector), axis=1)) for vector in vectors]
    return np.array([per_table.sum(axis=1).argmin() for per_table in bits], np.intp)


def unpack_lowpass(octets: bytes, coder: EntropyCoder, shape: tuple[int, int], components: int) -> NDArray[np.int32]:
    """Inverse of `pack_lowpass`.

    Args:
        octets: octets of `pack_lowpass`.
        coder: entropy coder of the bundle's tables.
        shape: lines and samples of the planes.
        components: number of components of the strip, the most that a tile may have.

    Raises:
        DecodeError: no encoder writes such octets.
    """
    count = int.from_bytes(octets[:_COUNT_OCTETS], "big")
    tables = np.frombuffer(octets[_COUNT_OCTETS : _COUNT_OCTETS + count], np.uint8)
    if len(octets) < _COUNT_OCTETS + count or count > min(components, MAX_COMPONENTS):
        raise DecodeError(f"a tile of {count} components in {len(octets)} octets; its strip has {components}")
    if count and int(tables.max()) >= SCALES:
        raise DecodeError(f"a component is coded under table {tables.max()}; 0..{SCALES - 1} are possible")
    cells = shape[0] * shape[1]
    differences = coder.decode(octets[_COUNT_OCTETS + count :], np.repeat(tables, cells)).astype(np.int64)
    planes = differences.reshape(count, *shape)
    planes[:, :, 0] = np.cumsum(planes[:, :, 0], axis=1)
    planes = np.cumsum(planes, axis=2)
    if planes.size and np.abs(planes).max() > np.iinfo(np.int32).max:
        raise DecodeError("an approximation coefficient beyond 32 bits; its packets are damaged")
    return planes.astype(np.int32)
