"""Images and parameters from the whole of what CCSDS 123.0-B-2 allows, small enough to code in a moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ccsds123 import (
    BlockAdaptive,
    EntropyCoder,
    ErrorLimit,
    ErrorLimits,
    Hybrid,
    LocalSum,
    Parameters,
    Predictor,
    SampleAdaptive,
    SampleRepresentatives,
    WeightExponentOffsets,
    WeightInitialization,
)
from ccsds123.supplementary import FloatElement, FloatTable, IntegerTable, TableStructure
from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass(frozen=True)
class Case:
    cube: np.ndarray
    parameters: Parameters


@st.composite
def cases(draw: Draw, *, coders: tuple[type, ...] = (SampleAdaptive, Hybrid, BlockAdaptive)) -> Case:
    lines, samples, bands = draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    depth, signed = draw(st.sampled_from((2, 3, 4, 8, 9, 12, 15, 16, 17, 24, 31, 32))), draw(st.booleans())
    order = draw(st.one_of(st.none(), st.integers(1, bands)))
    limits = draw(error_limits(lines, bands, depth, periodic=order is not None))
    parameters = Parameters(
        signed=signed,
        dynamic_range=depth,
        interleaving_depth=order,
        entropy_coder=draw(entropy_coders(depth, bands, coders)),
        predictor=draw(predictors(samples, bands, depth)),
        error_limits=limits,
        sample_representatives=draw(representatives(bands, lossless=limits is None)),
        supplementary_tables=tuple(draw(st.lists(tables(lines, samples, bands), max_size=2))),
        user_defined_data=draw(st.integers(0, 255)),
        output_word_size=draw(st.integers(1, 8)),
    )
    return Case(draw(cubes((lines, samples, bands), parameters)), parameters)


@st.composite
def cubes(draw: Draw, shape: tuple[int, ...], parameters: Parameters) -> np.ndarray:
    """Noise, two extremes, a ramp or a constant."""
    low, high, middle = parameters.sample_limits
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(("noise", "extremes", "ramp", "constant", "smooth")))
    if kind == "noise":
        cube = rng.integers(low, high, shape, endpoint=True)
    elif kind == "extremes":
        cube = rng.choice([low, high], shape)
    elif kind == "ramp":
        cube = low + np.arange(int(np.prod(shape))).reshape(shape) * 3 % (high - low + 1)
    elif kind == "constant":
        cube = np.full(shape, draw(st.sampled_from((low, high, middle))))
    else:
        cube = np.clip(middle + rng.normal(0, 4, shape).round().astype(np.int64), low, high)
    dtype = (
        np.dtype(np.int64) if parameters.dynamic_range > 16 else np.dtype(np.int16 if parameters.signed else np.uint16)
    )
    return cube.astype(draw(st.sampled_from((dtype, dtype.newbyteorder(">")))))


@st.composite
def predictors(draw: Draw, samples: int, bands: int, depth: int) -> Predictor:
    prediction_bands, resolution = draw(st.integers(0, 15)), draw(st.integers(4, 19))
    reduced = samples == 1 or draw(st.booleans())
    column = samples == 1
    initial = draw(st.integers(-6, 9))
    counts = [min(band, prediction_bands) for band in range(bands)]
    custom = None
    if draw(st.booleans()):
        q = draw(st.integers(3, resolution + 3))
        component = st.integers(-(1 << q - 1), (1 << q - 1) - 1)
        rows = [draw(st.tuples(*[component] * (n + (0 if reduced else 3)))) for n in counts]
        custom = WeightInitialization(resolution=q, vectors=tuple(rows))
    offsets = None
    if draw(st.booleans()):
        rows = [draw(st.tuples(*[st.integers(-6, 5)] * (n + (0 if reduced else 1)))) for n in counts]
        offsets = WeightExponentOffsets(values=tuple(rows))
    return Predictor(
        prediction_bands=prediction_bands,
        reduced=reduced,
        local_sum=draw(st.sampled_from([k for k in LocalSum if not column or k >= LocalSum.WIDE_COLUMN_ORIENTED])),
        register_size=draw(st.integers(max(32, depth + resolution + 2), 64)),
        weight_resolution=resolution,
        weight_change_interval=1 << draw(st.integers(4, 11)),
        weight_initial_exponent=initial,
        weight_final_exponent=draw(st.integers(initial, 9)),
        weight_initialization=custom,
        weight_exponent_offsets=offsets,
    )


@st.composite
def error_limits(draw: Draw, lines: int, bands: int, depth: int, *, periodic: bool) -> ErrorLimits | None:
    kind = draw(st.sampled_from(("lossless", "absolute", "relative", "both")))
    if kind == "lossless":
        return None
    exponent = draw(st.one_of(st.none(), st.integers(0, 9))) if periodic else None
    periods = 1 if exponent is None else -(-lines >> exponent)

    def limit() -> ErrorLimit:
        bits = draw(st.integers(1, min(depth - 1, 16)))
        band_dependent = draw(st.booleans())
        row = st.tuples(*[st.integers(0, (1 << bits) - 1)] * (bands if band_dependent else 1))
        values = tuple(draw(row) for _ in range(periods))
        return ErrorLimit(bit_depth=bits, values=values, band_dependent=band_dependent)

    return ErrorLimits(
        absolute=limit() if kind != "relative" else None,
        relative=limit() if kind != "absolute" else None,
        update_period_exponent=exponent,
    )


@st.composite
def representatives(draw: Draw, bands: int, *, lossless: bool) -> SampleRepresentatives | None:
    if draw(st.booleans()):
        return None
    resolution = draw(st.integers(1, 4))
    value = st.integers(0, (1 << resolution) - 1)
    values = st.one_of(value, st.tuples(*[value] * bands))
    return SampleRepresentatives(resolution=resolution, damping=draw(values), offset=0 if lossless else draw(values))


@st.composite
def entropy_coders(draw: Draw, depth: int, bands: int, kinds: tuple[type, ...]) -> EntropyCoder:
    kind = draw(st.sampled_from(kinds))
    if kind is BlockAdaptive:
        return BlockAdaptive(
            block_size=draw(st.sampled_from((8, 16, 32, 64))),
            restricted=depth <= 4 and draw(st.booleans()),
            reference_sample_interval=draw(st.sampled_from((1, 2, 63, 64, 65, 4096))),
        )
    count = draw(st.integers(1, 8))
    statistics = {
        "unary_length_limit": draw(st.integers(8, 32)),
        "initial_count_exponent": count,
        "rescaling_counter_size": draw(st.integers(max(4, count + 1), 11)),
    }
    if kind is Hybrid:
        value = st.integers(0, (1 << depth + count) - 1)
        return Hybrid(**statistics, initial_accumulators=draw(st.one_of(value, st.tuples(*[value] * bands))))
    value = st.integers(0, min(depth - 2, 14))
    return SampleAdaptive(**statistics, accumulator_initialization=draw(st.one_of(value, st.tuples(*[value] * bands))))


@st.composite
def tables(draw: Draw, lines: int, samples: int, bands: int) -> IntegerTable | FloatTable:
    structure = draw(st.sampled_from(TableStructure))
    entries = structure.entries(lines, samples, bands)
    common = {
        "purpose": draw(st.sampled_from((0, 1, 2, 3, 4, 10, 15))),
        "structure": structure,
        "user_defined_data": draw(st.integers(0, 15)),
    }
    if draw(st.booleans()):
        bits, signed = draw(st.sampled_from((1, 2, 7, 31, 32))), draw(st.booleans())
        low = -(1 << bits - 1) if signed else 0
        value = st.integers(low, low + (1 << bits) - 1)
        return IntegerTable(**common, bit_depth=bits, signed=signed, values=draw(st.tuples(*[value] * entries)))
    significand, exponent = draw(st.sampled_from((1, 10, 23))), draw(st.sampled_from((2, 5, 8)))
    element = st.builds(
        FloatElement, st.integers(0, 1), st.integers(0, (1 << exponent) - 1), st.integers(0, (1 << significand) - 1)
    )
    return FloatTable(
        **common,
        significand_depth=significand,
        exponent_depth=exponent,
        exponent_bias=draw(st.integers(0, (1 << exponent) - 1)),
        values=draw(st.tuples(*[element] * entries)),
    )
