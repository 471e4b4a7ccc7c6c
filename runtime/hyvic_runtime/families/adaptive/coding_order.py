"""The order in which a tile's wavelet coefficients are coded, and the table row of each: the same walk at both ends.

    level, coarse to fine ─▶ group of components ─▶ orientation ─▶ white squares, black squares
        contexts ─▶ network ─▶ rows, shifts ─▶ `Code`: the encoder chooses the coefficients, the decoder reads them

A *part* is what components of a doubling have in a level: components 0, 1, 2 … 3, 4 … 7 and so on. Parts are what a
stream may end behind; from the first one on that is missing, coefficients are zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.families.adaptive.checkerboard import CodedPositions, coded_positions
from hyvic_runtime.families.adaptive.context_network import ContextNetwork
from hyvic_runtime.families.adaptive.contexts import (
    LEVELS,
    MAX_COMPONENTS,
    ORIENTATIONS,
    GroupContexts,
    Planes,
    Scale,
    groups,
    level_contexts,
)
from hyvic_runtime.families.adaptive.wavelet import present

PARTS_OF_LEVEL = MAX_COMPONENTS.bit_length()
PARTS = LEVELS * PARTS_OF_LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Coefficients that are coded at once.

    Attributes:
        level: of the wavelet.
        components: a group.
        orientation: of the three.
        squares: of one colour.
    """

    level: int
    components: slice
    orientation: int
    squares: CodedPositions

    @property
    def part(self) -> int:
        """That it belongs to, 0 … PARTS - 1; rises from block to block."""
        return part_of(self.level, self.components.start)


class Code(Protocol):
    """Gives coefficients whose tables are known."""

    def __call__(self, block: Block, rows: NDArray[np.int32], shifts: NDArray[np.int32]) -> NDArray[np.float32] | None:
        """Coefficients (component, square); None: these and all that follow did not arrive.

        Args:
            block: which.
            rows: (component, square), of the frequency tables.
            shifts: likewise, what is subtracted from a coefficient to give its symbol.
        """
        ...


def part_of(level: int, component: int) -> int:
    """The part of a coefficient."""
    return (LEVELS - 1 - level) * PARTS_OF_LEVEL + component.bit_length()


def parts_of(components: Sequence[int]) -> tuple[int, ...]:
    """Parts of a tile that codes so many components in each level, finest first, in the order of coding."""
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
    code: Code,
) -> None:
    """Fill in the details of a tile, coefficient after coefficient.

    Args:
        network: the bundle's.
        scale: of the tile's components.
        components: how many of them have coefficients in each level, finest first; the others are made zero there.
        shape: lines and samples of the tile's pixels.
        details: by level, finest first: (component, orientation, line, sample), contiguous, zero where none exists.
            None counts before it was written, so those of an encoder may hold what it chooses from.
        code: asked for each block in turn.
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
        contexts = level_contexts(
            level,
            parents[coded],
            None if grandparents is None else grandparents[coded],
            size,
            scale.leading(coded.stop),
        )
        of_both = [
            (which, coded_positions(exist[which], black)) for which in range(ORIENTATIONS) for black in (False, True)
        ]
        blocks = [(orientation, squares) for orientation, squares in of_both if squares.count]
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
    code: Code,
) -> bool:
    """Fill in the coefficients of a group; whether they arrived."""
    for orientation, squares in blocks:
        # What does not exist is left out behind the network: it is seldom, and zero.
        rows, shifts = map(squares.of_all, network.tables_and_offsets(contexts, orientation, decoded, squares.black))
        block = Block(level=level, components=components, orientation=orientation, squares=squares)
        values = code(block, rows, shifts)
        if values is None:
            return False
        squares.put(values, decoded, orientation)
    return True
