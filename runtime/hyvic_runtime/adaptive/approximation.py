"""What a tile's first unit holds behind its lead: the approximation, and how many components there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.adaptive.contexts import MAX_COMPONENTS
from hyvic_runtime.adaptive.symbol_costs import SymbolCosts
from hyvic_runtime.adaptive.table_rows import SCALES
from hyvic_runtime.entropy_coder import EntropyCoder
from hyvic_runtime.errors import DecodeError

_COUNT_OCTETS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Approximation:
    """The coarsest plane of a tile's components.

    Every value but the first is coded as what it differs from the one before it in its line, and the first of a line
    from the one above.

    Attributes:
        planes: (component, line, sample) int32, in quantiser steps.
    """

    planes: NDArray[np.int32]

    def pack(self, coder: EntropyCoder, costs: SymbolCosts) -> bytes:
        """Octets: components (u16), the table row of each (u8, 0 … SCALES - 1), the coded differences."""
        count = len(self.planes)
        differences = self.planes.copy()
        differences[:, :, 1:] -= self.planes[:, :, :-1]
        differences[:, 1:, 0] -= self.planes[:, :-1, 0]
        flat = differences.reshape(count, differences.shape[1] * differences.shape[2])
        rows = costs.cheapest_rows(flat)
        coded = coder.encode(flat.ravel(), np.repeat(rows, flat.shape[1]))
        return count.to_bytes(_COUNT_OCTETS, "big") + bytes(rows.astype(np.uint8)) + coded


def unpack_approximation(octets: bytes, coder: EntropyCoder, shape: tuple[int, int], components: int) -> Approximation:
    """Inverse of `Approximation.pack`.

    Args:
        octets: behind the tile's lead.
        coder: of the bundle's tables.
        shape: lines and samples of the planes.
        components: of the strip, the most that a tile may have.

    Raises:
        DecodeError: no encoder wrote this.
    """
    count = int.from_bytes(octets[:_COUNT_OCTETS], "big")
    rows = np.frombuffer(octets[_COUNT_OCTETS : _COUNT_OCTETS + count], np.uint8)
    if len(octets) < _COUNT_OCTETS + count or count > min(components, MAX_COMPONENTS):
        raise DecodeError(f"a tile of {count} components in {len(octets)} octets; its strip has {components}")
    if count and int(rows.max()) >= SCALES:
        raise DecodeError(f"a component is coded under row {rows.max()}; 0..{SCALES - 1} are possible")
    cells = shape[0] * shape[1]
    differences = coder.decode(octets[_COUNT_OCTETS + count :], np.repeat(rows, cells)).astype(np.int64)
    planes = differences.reshape(count, *shape)
    planes[:, :, 0] = np.cumsum(planes[:, :, 0], axis=1)
    planes = np.cumsum(planes, axis=2)
    if planes.size and np.abs(planes).max() > np.iinfo(np.int32).max:
        raise DecodeError("an approximation coefficient beyond 32 bits; its packets are damaged")
    return Approximation(planes=planes.astype(np.int32))
