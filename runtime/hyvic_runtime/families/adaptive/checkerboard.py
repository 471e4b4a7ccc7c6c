"""The two halves of a plane that are coded one after the other (checkerboard context model, He et al., CVPR 2021).

a n a n a     a: anchors are coded first, without knowing their neighbours
n a n a n     n: non-anchors are coded then; all four neighbours of each are known
a n a n a
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.families.adaptive.planes import Planes

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """Anchor or non-anchor positions of a level, line by line.

    Attributes:
        non_anchor: True for non-anchors, False for anchors.
        lines: lines whose positions are all here; None if some positions are left out.
        places: flat indices (position,) into planes as large as the level, half and a quarter as large.
    """

    non_anchor: bool
    lines: slice | None
    places: tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedPositions:
    """Anchor or non-anchor positions that have a coefficient, line by line.

    Attributes:
        non_anchor: True for non-anchors, False for anchors.
        existing: (line, sample) of a level, True where there is a coefficient.
        among: (position,) of all anchors or non-anchors, True where there is a coefficient; None if all have one.
        count: number of positions that have a coefficient.
    """

    non_anchor: bool
    existing: NDArray[np.bool_]
    among: NDArray[np.bool_] | None
    count: int

    def existing_of(self, values: NDArray[Number]) -> NDArray[Number]:
        """Return the values (component, position) of positions that have a coefficient."""
        return values if self.among is None else values[:, self.among]

    def where(self) -> NDArray[np.bool_]:
        """Return the positions as a mask (line, sample)."""
        where: NDArray[np.bool_] = self.existing & (non_anchors(self.existing.shape) == self.non_anchor)
        return where


def non_anchors(shape: Sequence[int]) -> NDArray[np.bool_]:
    """Return True for non-anchors, (line, sample); the first position is an anchor."""
    lines, samples = shape
    found = np.zeros((lines, samples), np.bool_)
    found[::2, 1::2] = found[1::2, ::2] = True
    return found


def both_positions(shape: tuple[int, int], lines: slice = slice(None)) -> tuple[Positions, Positions]:
    """Return anchors and non-anchors of some lines of a level of `shape`."""
    lines = slice(*lines.indices(shape[0])[:2])
    mask = non_anchors(shape)[lines]
    found = []
    for non_anchor in (False, True):
        line, sample = np.nonzero(mask == non_anchor)
        line += lines.start
        places, samples = [line * shape[1] + sample], shape[1]
        for halvings in (1, 2):
            samples = -(-samples // 2)
            places.append((line >> halvings) * samples + (sample >> halvings))
        found.append(Positions(non_anchor=non_anchor, lines=lines, places=(places[0], places[1], places[2])))
    return found[0], found[1]


def coded_positions(existing: NDArray[np.bool_], non_anchor: bool) -> CodedPositions:
    """Return the anchors or non-anchors among existing coefficients (line, sample)."""
    among = existing[non_anchors(existing.shape) == non_anchor]
    count = int(np.count_nonzero(among))
    all_exist = count == among.size
    return CodedPositions(non_anchor=non_anchor, existing=existing, among=None if all_exist else among, count=count)


def take(positions: CodedPositions, planes: Planes, orientation: int) -> Planes:
    """Return coefficients (component, position) of planes (component, orientation, line, sample)."""
    taken: Planes = planes[:, orientation, positions.where()]
    return taken


def put(positions: CodedPositions, coefficients: Planes, planes: Planes, orientation: int) -> None:
    """Inverse of `take`; writes to the planes."""
    planes[:, orientation, positions.where()] = coefficients
