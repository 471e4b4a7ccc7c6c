"""The inner loops of the scene-adaptive codec, in NumPy (the reference) or in C; both give the same octets."""

from __future__ import annotations

from hyvic_runtime.families.adaptive import checkerboard, quantiser, table_choice, wavelet
from hyvic_runtime.families.adaptive.contexts import LevelContexts
from hyvic_runtime.kernels import KernelKind, chosen_kernels


class Kernels:
    """Inner loops: here the definition, in NumPy. Several threads may use them at once."""

    kind = KernelKind.REFERENCE
    level_contexts: type[LevelContexts] = LevelContexts
    analyse = staticmethod(wavelet.analyse)
    synthesise = staticmethod(wavelet.synthesise)
    take = staticmethod(checkerboard.take)
    put = staticmethod(checkerboard.put)
    tables_and_offsets = staticmethod(table_choice.tables_and_offsets)
    choose = staticmethod(quantiser.choose)
    estimated_rd = staticmethod(quantiser.estimated_rd)


def kernels_of(kind: KernelKind | None = None) -> Kernels:
    """Return the inner loops that are named; see `chosen_kernels` for None and for errors."""
    if chosen_kernels(kind) is KernelKind.REFERENCE:
        return Kernels()
    from hyvic_runtime.families.adaptive.native_kernels import NativeKernels

    return NativeKernels()
