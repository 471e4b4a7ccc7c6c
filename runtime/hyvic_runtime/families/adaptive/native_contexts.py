"""Contexts made in C, where a compiler built that with the package; what they are stands in `contexts`.

NumPy makes them in many short calls, which two threads only hand to each other: this one lets go of the interpreter's
lock, so that tiles are coded on all cores, and takes a fraction of the time (tests/benchmarks/bench_adaptive.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hyvic_runtime.families.adaptive import _contexts
from hyvic_runtime.families.adaptive.contexts import (
    CONTEXTS,
    ORIENTATIONS,
    GroupContexts,
    LevelContexts,
    Planes,
    Prediction,
    Squares,
    clipped,
)


def _magnitudes(planes: Planes) -> tuple[Planes, Planes]:
    planes = np.ascontiguousarray(planes)
    there, around = np.empty_like(planes), np.empty_like(planes)
    lines, samples = planes.shape[-2:]
    _contexts.magnitudes(lines, samples, planes, there, around)
    return there, around


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeGroupContexts(GroupContexts):
    """Of whole lines in C."""

    _magnitudes = staticmethod(_magnitudes)

    def of(
        self, orientation: int, decoded: Planes, squares: Squares, only: slice = slice(None)
    ) -> tuple[Planes, Planes]:
        if squares.lines is None:
            return GroupContexts.of(self, orientation, decoded, squares, only)
        contexts = np.empty((CONTEXTS, len(self.log2_spread[only]), len(squares.places[0])), np.float32)
        prediction = np.empty(contexts.shape[1:], np.float32)
        description = self.description(orientation, decoded, squares.black, squares.lines, only)
        _contexts.describe(description, contexts, prediction)
        return contexts, prediction

    def description(
        self, orientation: int, decoded: Planes, black: bool, lines: slice, only: slice = slice(None)
    ) -> _contexts.Description:
        """What contexts are made of, for C.

        Args:
            orientation: see `of`.
            decoded: likewise.
            black: or white squares.
            lines: first and end of those that are described.
            only: of these components of the group.
        """
        around, second_around = (
            self._around(which, decoded)[only] if which < orientation else None for which in range(ORIENTATIONS - 1)
        )
        first, end, _ = only.indices(len(decoded))
        height, width = decoded.shape[2:]
        return (
            end - first,
            self.level,
            orientation,
            black,
            self.first + first,
            lines.start,
            lines.stop,
            height,
            width,
            self.parent[only],
            self.around_parent[only],
            None if self.grandparent is None else self.grandparent[only],
            self.nearest,
            self.mean,
            self.around_nearest,
            self.largest,
            self.predicted.prediction[only],
            self.predicted.energy[only],
            self.predicted.rest[only],
            around,
            second_around,
            decoded[only],
            self.log2_spread[only],
        )


class NativeLevelContexts(LevelContexts):
    """Predicts and adds up in C."""

    _group = NativeGroupContexts
    _magnitudes = staticmethod(_magnitudes)

    def _add_magnitudes(self, details: Planes) -> None:
        before = (self._nearest, self._sum, self._largest)
        after = tuple(map(np.empty_like, before))
        _contexts.add_magnitudes(len(details), *self._shape, np.ascontiguousarray(details), *before, *after)
        self._nearest, self._sum, self._largest = after

    def _predicted(self, of: slice) -> Prediction:
        parents = clipped(self._parents[of])
        details, half = (len(parents), ORIENTATIONS, *self._shape), (len(parents), *parents.shape[2:])
        predicted = Prediction(
            prediction=np.empty(details, np.float32),
            energy=np.empty(half, np.float32),
            rest=np.empty(half, np.float32),
        )
        lines, samples = self._shape
        _contexts.predict(
            len(parents),
            len(self._predictors),
            lines,
            samples,
            parents,
            clipped(self._parents[self._predictors_of]),
            self._predictors,
            predicted.prediction,
            predicted.energy,
            predicted.rest,
        )
        return predicted
