"""Contexts made in C; `contexts` defines them.

NumPy makes contexts in many short calls, during which two threads only hand the interpreter's lock to each other. C
releases the lock, so all cores code tiles, and takes a fraction of the time (tests/benchmarks/bench_adaptive.py).
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from hyvic_runtime.families.adaptive.checkerboard import Positions
from hyvic_runtime.families.adaptive.contexts import CONTEXTS, GroupContexts, LevelContexts
from hyvic_runtime.families.adaptive.planes import ORIENTATIONS, Planes
from hyvic_runtime.families.adaptive.prediction import Prediction
from hyvic_runtime.kernels import _native


def _magnitudes(planes: Planes) -> tuple[Planes, Planes]:
    planes = np.ascontiguousarray(planes)
    own, sums = np.empty_like(planes), np.empty_like(planes)
    lines, samples = planes.shape[-2:]
    _native.magnitudes(lines, samples, planes, own, sums)
    return own, sums


def _predict(
    parents: Planes, predictor_parents: Planes, predictor_details: Planes, shape: tuple[int, int]
) -> Prediction:
    components, half = len(parents), parents.shape[2:]
    predicted = Prediction(
        prediction=np.empty((components, ORIENTATIONS, *shape), np.float32),
        parent_energy=np.empty((components, *half), np.float32),
        residual_energy=np.empty((components, *half), np.float32),
    )
    arrays = (predicted.prediction, predicted.parent_energy, predicted.residual_energy)
    _native.predict(components, len(predictor_details), *shape, parents, predictor_parents, predictor_details, *arrays)
    return predicted


class NativeGroupContexts(GroupContexts):
    """Contexts of a group, made in C for whole lines."""

    _magnitudes = staticmethod(_magnitudes)

    @cached_property
    def group(self) -> _native.Group:
        """Return the group's arrays as C holds them."""
        lines, samples = self.largest.shape[1:]
        return _native.group_contexts(
            self.level,
            self.first,
            lines,
            samples,
            self.parent,
            self.parent_sum_3x3,
            self.grandparent,
            self.previous_components,
            self.mean,
            self.previous_sum_3x3,
            self.largest,
            self.predicted.prediction,
            self.predicted.parent_energy,
            self.predicted.residual_energy,
            self.log2_spread,
        )

    def at(
        self, orientation: int, decoded: Planes, positions: Positions, only: slice = slice(None)
    ) -> tuple[Planes, Planes]:
        lines = positions.lines
        if lines is None:
            return super().at(orientation, decoded, positions, only)
        first, end, _ = only.indices(len(decoded))
        contexts = np.empty((CONTEXTS, end - first, len(positions.places[0])), np.float32)
        prediction = np.empty(contexts.shape[1:], np.float32)
        sums = self.decoded_sums(orientation, decoded)
        block = (self.group, orientation, positions.non_anchor, decoded, *sums)
        _native.describe(*block, lines.start, lines.stop, first, end, contexts, prediction)
        return contexts, prediction

    def decoded_sums(self, orientation: int, decoded: Planes) -> tuple[Planes | None, Planes | None]:
        """Return `decoded_sum_3x3` of the first two orientations, as far as they come before this one."""
        return (
            self._sum_3x3_of(0, decoded) if orientation > 0 else None,
            self._sum_3x3_of(1, decoded) if orientation > 1 else None,
        )


class NativeLevelContexts(LevelContexts):
    """Contexts of a level, predicted and added up in C."""

    _group = NativeGroupContexts
    _magnitudes = staticmethod(_magnitudes)
    _predict = staticmethod(_predict)

    def _add_magnitudes(self, details: Planes) -> None:
        before = (self._previous, self._sum, self._largest)
        after = (np.empty_like(before[0]), np.empty_like(before[1]), np.empty_like(before[2]))
        _native.add_magnitudes(len(details), *self._shape, np.ascontiguousarray(details), *before, *after)
        self._previous, self._sum, self._largest = after
