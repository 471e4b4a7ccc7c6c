"""The order in which a tile's wavelet coefficients are coded, and the table row of each: the same walk at both ends.

    level, coarse to fine ─▶ group of components ─▶ orientation ─▶ white squares, black squares
        contexts ─▶ network ─▶ rows, shifts ─▶ `Code`: the encoder chooses the coefficients, the decoder reads them

A *part* is what components of a doubling have in a level: components 0, 1, 2 … 3, 4 … 7 and so on. Parts are what a
stream may end behind; from the first one on that is missing, coefficients are zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.adaptive.contexts import (
    CONTEXTS,
    LEVELS,
    MAX_COMPONENTS,
    ORIENTATIONS,
    GroupContexts,
    Planes,
    Scale,
    Squares,
    both_squares,
    groups,
    level_contexts,
)
from hyvic_runtime.adaptive.table_rows import rows_and_shifts
from hyvic_runtime.adaptive.wavelet import present
from hyvic_runtime.engine import Engine
from hyvic_runtime.errors import EngineError

PARTS_OF_LEVEL = MAX_COMPONENTS.bit_length()
PARTS = LEVELS * PARTS_OF_LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Coefficients that are coded at once.

    Attributes:
        level: of the wavelet.
        components: a group.
        orientation: of the three.
        places: (square,) in the plane of a component, line by line.
    """

    level: int
    components: slice
    orientation: int
    places: NDArray[np.intp]

    @property
    def part(self) -> int:
        """That it belongs to, 0 … PARTS - 1; rises from block to block."""
        return part_of(self.level, self.components.start)


CONTEXTS_AT_ONCE = 8192
"""Made and given to the network at a time: more outgrow the processor's cache (4,096 … 8,192 are fastest,
tests/benchmarks/bench_adaptive.py)."""


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


def walk(
    engine: Engine, scale: Scale, components: Sequence[int], shape: tuple[int, int], code: Code
) -> tuple[Planes, ...]:
    """Details of a tile by level, finest first: (component, orientation, line, sample), zero where there are none.

    Args:
        engine: of the bundle's graph.
        scale: of the tile's components.
        components: how many of them have coefficients in each level, finest first; the others are zero there.
        shape: lines and samples of the tile's pixels.
        code: asked for each block in turn.
    """
    details: list[Planes] = []
    parents = grandparents = None
    arriving = True
    scratch = np.empty(CONTEXTS * CONTEXTS_AT_ONCE, np.float32)
    for level in reversed(range(LEVELS)):
        exist = present(*shape, level)
        size = (exist.shape[1], exist.shape[2])
        planes = np.zeros((len(scale), ORIENTATIONS, *size), np.float32)
        if parents is None:
            parents = np.zeros((len(scale), ORIENTATIONS, *(-(-axis // 2) for axis in size)), np.float32)
        coded = slice(components[level])
        contexts = level_contexts(
            level,
            parents[coded],
            None if grandparents is None else grandparents[coded],
            size,
            scale.leading(coded.stop),
        )
        colours = _colours(size)
        for group in groups(coded.stop) if arriving else ():
            arriving = _walk_group(
                engine,
                level,
                group,
                contexts.next_group(group.stop - group.start),
                planes[group],
                colours,
                exist,
                code,
                scratch,
            )
            if not arriving:
                break
            contexts.add(planes[group])
        details.append(planes)
        grandparents, parents = parents, planes
    return tuple(reversed(details))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Colour:
    """The squares of one colour of a level.

    Attributes:
        places: (square,) of all.
        portions: of whole lines, at most CONTEXTS_AT_ONCE squares each, and where they stand in `places`.
    """

    places: NDArray[np.intp]
    portions: tuple[tuple[slice, Squares], ...]


def _colours(shape: tuple[int, int]) -> tuple[_Colour, _Colour]:
    """White and black squares of a level of so many lines and samples."""
    lines, samples = shape
    height = max(2 * CONTEXTS_AT_ONCE // (samples + 1), 1)
    portions = [both_squares(shape, slice(line, line + height)) for line in range(0, lines, height)]
    white, black = map(_colour, zip(*portions, strict=True))
    return white, black


def _colour(portions: Sequence[Squares]) -> _Colour:
    places = [squares.places[0] for squares in portions]
    ends = np.cumsum([len(of) for of in places]).tolist()
    where = map(slice, [0, *ends], ends)
    return _Colour(places=np.concatenate(places), portions=tuple(zip(where, portions, strict=True)))


def _walk_group(
    engine: Engine,
    level: int,
    components: slice,
    contexts: GroupContexts,
    decoded: Planes,
    colours: tuple[_Colour, _Colour],
    exist: NDArray[np.bool_],
    code: Code,
    scratch: Planes,
) -> bool:
    """Fill in the coefficients of a group; whether they arrived."""
    flat = decoded.reshape(*decoded.shape[:2], -1)
    for orientation in range(ORIENTATIONS):
        there = exist[orientation].ravel()
        for colour in colours:
            places = colour.places
            among = there[places]
            if not among.any():
                continue
            rows = np.empty((len(decoded), len(places)), np.int32)
            shifts = np.empty_like(rows)
            for where, squares in colour.portions:
                for only in _components(len(decoded), where.stop - where.start):
                    found, prediction = contexts.of(orientation, decoded, squares, only, scratch)
                    rows[only, where], shifts[only, where] = _rows_and_shifts(engine, found, prediction)
            if not among.all():
                # What does not exist is left out behind the network: it is seldom, and zero.
                places, rows, shifts = places[among], rows[:, among], shifts[:, among]
            block = Block(level=level, components=components, orientation=orientation, places=places)
            values = code(block, rows, shifts)
            if values is None:
                return False
            flat[:, orientation, places] = values
    return True


def _components(count: int, squares: int) -> Iterator[slice]:
    """A few at a time."""
    portion = max(CONTEXTS_AT_ONCE // max(squares, 1), 1)
    return (slice(first, min(first + portion, count)) for first in range(0, count, portion))


def _rows_and_shifts(
    engine: Engine, contexts: Planes, prediction: Planes
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Of contexts (CONTEXTS, component, square), (component, square) both.

    Raises:
        EngineError: the engine fails, or gives what no such network does.
    """
    outputs = engine.run({"contexts": contexts[None]})
    scale_index, mean_steps, gain = (
        outputs[name].reshape(prediction.shape) for name in ("scale_index", "mean_steps", "gain")
    )
    try:
        return rows_and_shifts(scale_index, mean_steps, gain, prediction)
    except ValueError as error:
        raise EngineError(f"{engine.describe()} gave {error}") from error
