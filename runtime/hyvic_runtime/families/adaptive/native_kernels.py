"""The inner loops in C; the modules that hold the reference define them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.entropy.symbol_costs import SymbolCosts
from hyvic_runtime.families.adaptive import checkerboard, table_choice
from hyvic_runtime.families.adaptive.checkerboard import CodedPositions
from hyvic_runtime.families.adaptive.kernels import Kernels
from hyvic_runtime.families.adaptive.native_contexts import NativeLevelContexts
from hyvic_runtime.families.adaptive.planes import Integers, Planes
from hyvic_runtime.families.adaptive.quantiser import LAGRANGIAN, Choice, rd_of_sums
from hyvic_runtime.families.adaptive.wavelet import (
    SCALE,
    STEPS,
    Pyramid,
    check_size,
    coefficient_weights,
    empty_pyramid,
)
from hyvic_runtime.kernels import KernelKind, _native


class NativeKernels(Kernels):
    """Inner loops in C."""

    kind = KernelKind.NATIVE
    level_contexts = NativeLevelContexts

    @staticmethod
    def analyse(planes: Planes) -> Pyramid:
        pyramid, weights = empty_pyramid(*planes.shape), coefficient_weights(*planes.shape[1:])
        first, second, third, last = (factor for _, factor in STEPS)
        factors = (SCALE, 1 / SCALE, first, second, third, last)
        bands = (pyramid.approximation, *pyramid.details, weights.approximation, *weights.details)
        components, lines, samples = planes.shape
        _native.analyse(factors, components, lines, samples, np.ascontiguousarray(planes), *bands)
        return pyramid

    @staticmethod
    def synthesise(pyramid: Pyramid, shape: tuple[int, int]) -> Planes:
        check_size(pyramid, shape)
        weights, planes = coefficient_weights(*shape), np.empty((len(pyramid.approximation), *shape), np.float32)
        first, second, third, last = (-factor for _, factor in STEPS)
        factors = (1 / SCALE, SCALE, first, second, third, last)
        bands = [np.ascontiguousarray(band) for band in (pyramid.approximation, *pyramid.details)]
        _native.synthesise(factors, len(planes), *shape, planes, *bands, weights.approximation, *weights.details)
        return planes

    @staticmethod
    def take(positions: CodedPositions, planes: Planes, orientation: int) -> Planes:
        if positions.among is not None:
            return checkerboard.take(positions, planes, orientation)
        taken = np.empty((len(planes), positions.count), np.float32)
        components, _, lines, samples = planes.shape
        _native.take_positions(
            components, orientation, positions.non_anchor, lines, samples, np.ascontiguousarray(planes), taken
        )
        return taken

    @staticmethod
    def put(positions: CodedPositions, coefficients: Planes, planes: Planes, orientation: int) -> None:
        if positions.among is not None or not planes.flags.c_contiguous:
            checkerboard.put(positions, coefficients, planes, orientation)
            return
        coefficients = np.ascontiguousarray(coefficients, np.float32)
        components, _, lines, samples = planes.shape
        _native.put_positions(components, orientation, positions.non_anchor, lines, samples, planes, coefficients)

    @staticmethod
    def tables_and_offsets(
        scale_index: Integers, mean_steps: Integers, gain: Integers, prediction: Planes
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        scale_index, mean_steps, gain = (np.ascontiguousarray(of, np.int32) for of in (scale_index, mean_steps, gain))
        tables, offsets = np.empty_like(scale_index), np.empty_like(scale_index)
        prediction = np.ascontiguousarray(prediction, np.float32)
        if not _native.tables_and_offsets(scale_index, mean_steps, gain, prediction, tables, offsets):
            table_choice.check_outputs(scale_index, mean_steps, gain)
        return tables, offsets

    @staticmethod
    def choose(
        coefficients: Planes,
        tables: NDArray[np.int32],
        offsets: NDArray[np.int32],
        costs: SymbolCosts,
        lagrangian: float = LAGRANGIAN,
    ) -> Choice:
        coefficients = np.ascontiguousarray(coefficients)
        integers, symbols = np.empty_like(coefficients), np.empty(coefficients.shape, np.int32)
        off, counts = _native.choose(
            coefficients,
            np.ascontiguousarray(tables),
            np.ascontiguousarray(offsets),
            lagrangian,
            costs.coder.tables.first,
            costs.coder.tables.length,
            costs.starts,
            costs.of_frequencies,
            integers,
            symbols,
        )
        return Choice(integers=integers, symbols=symbols, off=off, counts=counts)

    @staticmethod
    def estimated_rd(planes: Planes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        saved, total = np.zeros(len(planes)), np.zeros(len(planes))
        _native.rd_sums(np.ascontiguousarray(planes), saved, total)
        return rd_of_sums(saved, total, planes)
