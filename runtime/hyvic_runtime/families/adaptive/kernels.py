"""The inner loops of the scene-adaptive codec, in NumPy (the reference) or in C; both give the same octets."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.entropy.symbol_costs import SymbolCosts
from hyvic_runtime.families.adaptive import checkerboard, quantiser, table_choice, wavelet
from hyvic_runtime.families.adaptive.checkerboard import CodedPositions
from hyvic_runtime.families.adaptive.contexts import LevelContexts, Scale
from hyvic_runtime.families.adaptive.planes import Integers, Planes
from hyvic_runtime.families.adaptive.quantiser import LAGRANGIAN, Choice
from hyvic_runtime.families.adaptive.wavelet import Pyramid
from hyvic_runtime.kernels import KernelKind, chosen_kernels


class Kernels(Protocol):
    """Inner loops. Several threads may use them at once."""

    @property
    def kind(self) -> KernelKind:
        """Name of the implementation."""
        ...

    def analyse(self, planes: Planes, /) -> Pyramid:
        """See `wavelet.analyse`."""
        ...

    def synthesise(self, pyramid: Pyramid, shape: tuple[int, int], /) -> Planes:
        """See `wavelet.synthesise`."""
        ...

    def level_contexts(
        self, level: int, parents: Planes, grandparents: Planes | None, shape: tuple[int, int], scale: Scale, /
    ) -> LevelContexts:
        """Begin a level; see `LevelContexts`."""
        ...

    def take(self, positions: CodedPositions, planes: Planes, orientation: int, /) -> Planes:
        """See `checkerboard.take`."""
        ...

    def put(self, positions: CodedPositions, coefficients: Planes, planes: Planes, orientation: int, /) -> None:
        """See `checkerboard.put`."""
        ...

    def tables_and_offsets(
        self, scale_index: Integers, mean_steps: Integers, gain: Integers, prediction: Planes, /
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """See `table_choice.tables_and_offsets`."""
        ...

    def choose(
        self,
        coefficients: Planes,
        tables: NDArray[np.int32],
        offsets: NDArray[np.int32],
        costs: SymbolCosts,
        lagrangian: float = LAGRANGIAN,
        /,
    ) -> Choice:
        """See `quantiser.choose`."""
        ...

    def estimated_rd(self, planes: Planes, /) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See `quantiser.estimated_rd`."""
        ...


class ReferenceKernels:
    """The definition, in NumPy."""

    kind = KernelKind.REFERENCE
    analyse = staticmethod(wavelet.analyse)
    synthesise = staticmethod(wavelet.synthesise)
    level_contexts = LevelContexts
    take = staticmethod(checkerboard.take)
    put = staticmethod(checkerboard.put)
    tables_and_offsets = staticmethod(table_choice.tables_and_offsets)
    choose = staticmethod(quantiser.choose)
    estimated_rd = staticmethod(quantiser.estimated_rd)


def kernels_of(kind: KernelKind | None = None) -> Kernels:
    """Return the inner loops that are named; see `chosen_kernels` for None and for errors."""
    if chosen_kernels(kind) is KernelKind.REFERENCE:
        return ReferenceKernels()
    from hyvic_runtime.families.adaptive.native_kernels import NativeKernels

    return NativeKernels()
