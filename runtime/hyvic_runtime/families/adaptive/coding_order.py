"""The order in which a tile's wavelet coefficients are coded, and the table of each; the same at both ends.

    level, coarse to fine ─▶ group of components ─▶ orientation ─▶ anchors, non-anchors
        contexts ─▶ network ─▶ tables, offsets ─▶ `BlockCoder`: the encoder chooses coefficients, the decoder reads them

A *part* is a level's coefficients of components 0, 1, 2 … 3, 4 … 7 and so on. A stream may end after any part; the
coefficients of the first missing part, and of all later parts, are zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.families.adaptive.checkerboard import CodedPositions, coded_positions
from hyvic_runtime.families.adaptive.context_network import ContextNetwork
from hyvic_runtime.families.adaptive.contexts import GroupContexts, Scale, groups
from hyvic_runtime.families.adaptive.planes import LEVELS, MAX_COMPONENTS, ORIENTATIONS, Planes
from hyvic_runtime.families.adaptive.wavelet import present

PARTS_OF_LEVEL = MAX_COMPONENTS.bit_length()
PARTS = LEVELS * PARTS_OF_LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Coefficients that are coded at once.

    Attributes:
        level: level of the wavelet.
        components: group of components.
        orientation: orientation of the coefficients.
        positions: anchors or non-anchors.
    """

    level: int
    components: slice
    orientation: int
    positions: CodedPositions

    @property
    def part(self) -> int:
        """Return the part that it belongs to, 0 … PARTS - 1; it rises from block to block."""
        return part_of(self.level, self.components.start)


BlockCoder = Callable[[Block, NDArray[np.int32], NDArray[np.int32]], Planes | None]
"""Function that chooses or reads the coefficients of a block; None: these and all later ones did not arrive.

Its arguments are the block, the numbers of frequency tables, and the offsets that are subtracted from coefficients to
give symbols. All arrays are (component, position)."""


def part_of(level: int, component: int) -> int:
    """Return the part of a coefficient."""
    return (LEVELS - 1 - level) * PARTS_OF_LEVEL + component.bit_length()


def parts_of(components: Sequence[int]) -> tuple[int, ...]:
    """Return the parts of a tile in the order of coding, given its components in each level, finest first."""
    return tuple(
        part_of(level, first)
        for level in reversed(range(LEVELS))
        for first in (0, *(1 << n for n in range(PARTS_OF_LEVEL - 1)))
        if first < components[level]
    )


def code_details(
    network: ContextNetwork,
    scale: Scale,
    components: Sequence[int],
    shape: tuple[int, int],
    details: Sequence[Planes],
    code: BlockCoder,
) -> None:
    """Fill in the details of a tile, block by block.

    Args:
        network: network that chooses the tables.
        scale: scale of the tile's components.
        components: number of components with coefficients in each level, finest first; the others become zero there.
        shape: lines and samples of the tile's pixels.
        details: (component, orientation, line, sample) by level, finest first; contiguous, and zero in the padding.
            A coefficient is not read before it is written, so an encoder may pass the coefficients to choose from.
        code: called for each block in turn.
    """
    parents = grandparents = None
    arriving = True
    for level in reversed(range(LEVELS)):
        exist = present(*shape, level)
        size = (exist.shape[1], exist.shape[2])
        planes = details[level]
        coded = slice(components[level])
        planes[coded.stop :] = 0
        if parents is None:
            parents = np.zeros((len(scale), ORIENTATIONS, *(-(-axis // 2) for axis in size)), np.float32)
        contexts = network.kernels.level_contexts(
            level,
            parents[coded],
            None if grandparents is None else grandparents[coded],
            size,
            scale.leading(coded.stop),
        )
        of_both = [
            (which, coded_positions(exist[which], non_anchor))
            for which in range(ORIENTATIONS)
            for non_anchor in (False, True)
        ]
        blocks = [(orientation, positions) for orientation, positions in of_both if positions.count]
        for group in groups(coded.stop) if arriving else ():
            of_group = contexts.next_group(group.stop - group.start)
            arriving = _code_group(network, level, group, of_group, planes[group], blocks, code)
            if not arriving:
                break
            contexts.add(planes[group])
        grandparents, parents = parents, planes


def _code_group(
    network: ContextNetwork,
    level: int,
    components: slice,
    contexts: GroupContexts,
    decoded: Planes,
    blocks: Sequence[tuple[int, CodedPositions]],
    code: BlockCoder,
) -> bool:
    """Fill in the coefficients of a group; return whether they arrived."""
    for orientation, positions in blocks:
        chosen = network.tables_and_offsets(contexts, orientation, decoded, positions.non_anchor)
        # Padding is left out only after the network: it is rare.
        tables, offsets = map(positions.existing_of, chosen)
        block = Block(level=level, components=components, orientation=orientation, positions=positions)
        values = code(block, tables, offsets)
        if values is None:
            return False
        network.kernels.put(positions, values, decoded, orientation)
    return True
