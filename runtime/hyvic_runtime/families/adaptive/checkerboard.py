"""The squares of one colour of a level as coefficients are coded on them: taken from planes, and put back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.families.adaptive.contexts import Planes, checkerboard

try:
    from hyvic_runtime.families.adaptive import _contexts
except ImportError:  # the package was built without a C compiler
    _contexts = None  # type: ignore[assignment]

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedPositions:
    """Those that exist, line by line.

    Attributes:
        black: or white squares, as the first of a checkerboard is.
        existing: (line, sample) of a level, which coefficients there are.
        among: (square,) of all of the colour, which exist; None: all do.
        count: how many do.
    """

    black: bool
    existing: NDArray[np.bool_]
    among: NDArray[np.bool_] | None
    count: int

    def of_all(self, squares: NDArray[Number]) -> NDArray[Number]:
        """Those that exist, of all of the colour, (component, square)."""
        return squares if self.among is None else squares[:, self.among]

    def taken(self, planes: Planes, orientation: int) -> Planes:
        """Coefficients (component, square) of planes (component, orientation, line, sample)."""
        if _contexts is None or self.among is not None:
            taken: Planes = planes[:, orientation, self._where()]
            return taken
        squares = np.empty((len(planes), self.count), np.float32)
        components, _, lines, samples = planes.shape
        _contexts.take_squares(
            components, orientation, self.black, lines, samples, np.ascontiguousarray(planes), squares
        )
        return squares

    def put(self, squares: Planes, planes: Planes, orientation: int) -> None:
        """Inverse of `taken`; planes are written to."""
        if _contexts is None or self.among is not None or not planes.flags.c_contiguous:
            planes[:, orientation, self._where()] = squares
            return
        components, _, lines, samples = planes.shape
        _contexts.set_squares(
            components, orientation, self.black, lines, samples, planes, np.ascontiguousarray(squares, np.float32)
        )

    def _where(self) -> NDArray[np.bool_]:
        where: NDArray[np.bool_] = self.existing & (checkerboard(self.existing.shape) == self.black)
        return where


def coded_positions(existing: NDArray[np.bool_], black: bool) -> CodedPositions:
    """Of one colour, where coefficients (line, sample) exist."""
    among = existing[checkerboard(existing.shape) == black]
    count = int(np.count_nonzero(among))
    return CodedPositions(black=black, existing=existing, among=None if count == among.size else among, count=count)
