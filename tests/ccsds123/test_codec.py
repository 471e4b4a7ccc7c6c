from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ccsds123 import (
    BlockAdaptive,
    EntropyCoder,
    ErrorLimit,
    ErrorLimits,
    Hybrid,
    LocalSum,
    ParameterError,
    Parameters,
    Predictor,
    SampleAdaptive,
    SampleRepresentatives,
    WeightExponentOffsets,
    WeightInitialization,
)
from ccsds123.codec import compress, decompress
from ccsds123.predictor import map_samples, narrow_suffices
from ccsds123.rate import match_ratio
from hypothesis import given, settings
from reference_predictor import reference_prediction
from scenes import smooth_cube
from strategies import Case, cases

CODERS = (SampleAdaptive(), Hybrid(), BlockAdaptive())


@pytest.mark.slow
@given(cases())
@settings(deadline=None, max_examples=150)
def test_any_image_with_any_parameters_comes_back_within_its_limits(case: Case) -> None:
    """The plain-Python reference agrees in every index, and says how far each sample may be off."""
    mapped, maximum = reference_prediction(case.cube, case.parameters)
    assert np.array_equal(map_samples(case.cube, case.parameters), mapped)
    decoded = decompress(compress(case.cube, case.parameters)).astype(np.int64)
    assert (np.abs(decoded - case.cube.astype(np.int64)) <= maximum).all()
    if case.parameters.error_limits is None:
        assert not maximum.any()


@pytest.mark.parametrize("coder", CODERS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("depth", [2, 3, 16, 17, 32])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 1, 7), (1, 9, 1), (9, 1, 1), (1, 8, 5), (8, 1, 5), (5, 7, 1), (4, 2, 3)]
)
def test_smallest_images_at_the_extremes_of_depth(shape: tuple[int, int, int], depth: int, coder: EntropyCoder) -> None:
    narrow = shape[1] == 1
    predictor = Predictor(reduced=narrow, local_sum=LocalSum(2 if narrow else 0), weight_resolution=13)
    for signed in (False, True):
        parameters = Parameters(signed=signed, dynamic_range=depth, entropy_coder=coder, predictor=predictor)
        low, high, _ = parameters.sample_limits
        rng = np.random.default_rng(depth)
        for cube in (rng.integers(low, high, shape, endpoint=True), rng.choice([low, high], shape)):
            assert np.array_equal(decompress(compress(cube, parameters)), cube)


@pytest.mark.parametrize("coder", CODERS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("depth", [None, 1, 2, 7, 20])
def test_every_encoding_order_of_an_image_of_some_size(coder: EntropyCoder, depth: int | None) -> None:
    cube = smooth_cube(40, 33, 20)
    limits = ErrorLimits(absolute=ErrorLimit(bit_depth=3, values=((3,),)))
    for error_limits in (None, limits):
        parameters = Parameters(interleaving_depth=depth, entropy_coder=coder, error_limits=error_limits)
        decoded = decompress(compress(cube, parameters))
        assert decoded.dtype == np.uint16
        assert np.abs(decoded.astype(int) - cube).max() == (3 if error_limits else 0)


def test_size_of_sample_adaptive_files_does_not_depend_on_the_order() -> None:
    """CCSDS 123.0-B-2, 5.1."""
    cube = smooth_cube(20, 21, 9)
    sizes = {len(compress(cube, Parameters(interleaving_depth=depth))) for depth in (None, 1, 4, 9)}
    assert len(sizes) == 1


@pytest.mark.parametrize("dtype", [">u2", "<u2", ">i4", "<u8", "i8"])
def test_any_integer_type_and_byte_order_gives_the_same_file(dtype: str) -> None:
    cube = smooth_cube(9, 8, 7)
    assert compress(cube.astype(dtype), Parameters()) == compress(cube, Parameters())
    assert compress(np.asfortranarray(cube), Parameters()) == compress(cube, Parameters())


def test_wide_arrays_are_taken_where_narrow_ones_would_overflow() -> None:
    assert narrow_suffices(Parameters())
    assert not narrow_suffices(Parameters(dynamic_range=17))
    steep = Predictor(weight_initial_exponent=-6)
    assert narrow_suffices(Parameters(predictor=steep))
    assert not narrow_suffices(Parameters(dynamic_range=12, predictor=steep))
    offsets = WeightExponentOffsets(values=((-6,), (0, -6)))
    steeper = replace(steep, weight_exponent_offsets=offsets)
    assert not narrow_suffices(Parameters(dynamic_range=15, predictor=steeper))


WITHOUT_TABLES = Parameters(
    predictor=Predictor(
        prediction_bands=1,
        weight_initialization=WeightInitialization(
            resolution=5, vectors=((1, 2, 3), (4, -5, 6, 7), (0, 0, 0, 9)), in_header=False
        ),
        weight_exponent_offsets=WeightExponentOffsets(values=((1,), (2, -3), (0, 5)), in_header=False),
    ),
    error_limits=ErrorLimits(relative=ErrorLimit(bit_depth=8, values=((200,),))),
    sample_representatives=SampleRepresentatives(
        resolution=2, damping=(1, 2, 3), offset=(3, 0, 1), damping_in_header=False, offset_in_header=False
    ),
    entropy_coder=SampleAdaptive(accumulator_initialization=(1, 5, 9), in_header=False),
)
"""Every table that a header may leave out, left out, for three bands."""


def test_tables_that_the_header_leaves_out_are_taken_from_known_parameters() -> None:
    cube, parameters = smooth_cube(6, 7, 3), WITHOUT_TABLES
    octets = compress(cube, parameters)
    with pytest.raises(
        ParameterError,
        match="weight initialization and the weight exponent offset and the damping and the offset and the accumulator",
    ):
        decompress(octets)
    carried = replace(
        parameters,
        predictor=replace(
            parameters.predictor,
            weight_initialization=replace(parameters.predictor.weight_initialization, in_header=True),
            weight_exponent_offsets=replace(parameters.predictor.weight_exponent_offsets, in_header=True),
        ),
        sample_representatives=replace(
            parameters.sample_representatives, damping_in_header=True, offset_in_header=True
        ),
        entropy_coder=replace(parameters.entropy_coder, in_header=True),
    )
    longer = compress(cube, carried)
    assert len(longer) > len(octets)
    assert np.array_equal(decompress(octets, parameters), decompress(longer))


def _without(*parts: str) -> Parameters:
    """`WITHOUT_TABLES` with some parts of the predictor or of the whole as they are by default."""
    predictor = replace(
        WITHOUT_TABLES.predictor, **{part: None for part in parts if part in Predictor.__dataclass_fields__}
    )
    whole = {"predictor": predictor, "entropy_coder": Hybrid(), "sample_representatives": None}
    return replace(WITHOUT_TABLES, **{key: value for key, value in whole.items() if key in {"predictor", *parts}})


@pytest.mark.parametrize(
    ("known", "match"),
    [
        (_without("weight_initialization"), "the weight initialization table is not in the header"),
        (_without("weight_exponent_offsets"), "the weight exponent offset table is not in the header"),
        (_without("sample_representatives"), "the damping and the offset table is not in the header"),
        (_without("entropy_coder"), "the accumulator initialization table is not in the header"),
        (
            replace(WITHOUT_TABLES, entropy_coder=SampleAdaptive(accumulator_initialization=3)),
            "the accumulator initialization table is not in the header",
        ),
        (
            replace(WITHOUT_TABLES, sample_representatives=SampleRepresentatives(resolution=2, damping=1)),
            "the damping and the offset table is not in the header",
        ),
        (Parameters(), "the weight initialization and the weight exponent offset and the damping and the offset and"),
    ],
)
def test_known_parameters_without_a_table_are_refused(known: Parameters, match: str) -> None:
    octets = compress(smooth_cube(6, 7, 3), WITHOUT_TABLES)
    with pytest.raises(ParameterError, match=match):
        decompress(octets, known)


def test_known_tables_that_do_not_go_with_the_header_are_refused() -> None:
    octets = compress(smooth_cube(6, 7, 3), WITHOUT_TABLES)
    representatives = WITHOUT_TABLES.sample_representatives
    vectors = WeightInitialization(resolution=6, vectors=((1, 2, 3), (4, -5, 6, 7), (0, 0, 0, 9)))
    short = WeightExponentOffsets(values=((1,), (2, -3)))
    for known, match in (
        (
            replace(WITHOUT_TABLES, predictor=replace(WITHOUT_TABLES.predictor, weight_initialization=vectors)),
            "Q 6 of the given tables is not the header's 5",
        ),
        (
            replace(WITHOUT_TABLES, predictor=replace(WITHOUT_TABLES.predictor, weight_exponent_offsets=short)),
            "2 rows of ς where 3 are needed",
        ),
        (
            replace(WITHOUT_TABLES, sample_representatives=replace(representatives, resolution=3)),
            "Θ 3 of the given tables is not the header's 2",
        ),
    ):
        with pytest.raises(ParameterError, match=match):
            decompress(octets, known)


def test_only_tables_are_taken_from_known_parameters() -> None:
    octets = compress(smooth_cube(6, 7, 3), WITHOUT_TABLES)
    coder = SampleAdaptive(
        unary_length_limit=9,
        rescaling_counter_size=9,
        initial_count_exponent=3,
        accumulator_initialization=(1, 5, 9),
    )
    known = replace(
        WITHOUT_TABLES,
        entropy_coder=coder,
        interleaving_depth=1,
        predictor=replace(WITHOUT_TABLES.predictor, reduced=True),
    )
    assert np.array_equal(decompress(octets, known), decompress(octets, WITHOUT_TABLES))


@pytest.mark.parametrize("coder", CODERS, ids=lambda c: type(c).__name__)
def test_a_file_may_come_as_any_kind_of_octets(coder: EntropyCoder) -> None:
    cube = smooth_cube(6, 7, 3)
    octets = compress(cube, Parameters(entropy_coder=coder))
    for same in (memoryview(octets), bytearray(octets)):
        assert np.array_equal(decompress(same), cube)


@pytest.mark.parametrize(
    ("cube", "match"),
    [
        (np.zeros((2, 2), np.uint16), "cube of integers"),
        (np.zeros((2, 2, 2)), "cube of integers"),
        (np.full((2, 2, 2), -1), r"samples are -1..-1, outside 0..65535"),
        (np.full((2, 2, 2), 65536), r"outside 0..65535 of D and sample type \(3.3.2\)"),
        (np.zeros((0, 2, 2), np.uint16), r"N_Y 0 is outside 1..65536 \(3.2.2\)"),
        (
            np.zeros((2, 1, 2), np.uint16),
            r"width 1 needs reduced prediction mode \(4.3.1\); an image of width 1 needs col",
        ),
    ],
)
def test_a_cube_that_cannot_be_coded_is_refused(cube: np.ndarray, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        compress(cube, Parameters())


def test_periodic_limits_without_values_are_refused() -> None:
    """A header that was read has them empty, since the body holds the values; an encoder needs them."""
    given, empty = ErrorLimit(bit_depth=4, values=((1,), (2,), (3,))), ErrorLimit(bit_depth=4, values=())
    for limits in (
        ErrorLimits(absolute=empty, update_period_exponent=1),
        ErrorLimits(absolute=given, relative=empty, update_period_exponent=1),
    ):
        with pytest.raises(ParameterError, match=r"periodic error limits have no values; .* \(4.8.2.4\)"):
            compress(smooth_cube(6, 7, 3), Parameters(interleaving_depth=1, error_limits=limits))


def test_target_ratio_is_met_with_the_smallest_limit() -> None:
    cube = smooth_cube(24, 24, 12)
    lossless = match_ratio(cube, Parameters(), 1.5)
    assert lossless.limit == 0
    assert np.array_equal(decompress(lossless.octets), cube)
    match = match_ratio(cube, Parameters(), 5)
    assert match.ratio == cube.size * 16 / (8 * len(match.octets)) >= 5
    assert np.abs(decompress(match.octets).astype(int) - cube).max() == match.limit
    lower = ErrorLimit(bit_depth=match.limit.bit_length(), values=((match.limit - 1,),))
    assert len(compress(cube, Parameters(error_limits=ErrorLimits(absolute=lower)))) > len(match.octets)
    with pytest.raises(ParameterError, match="a ratio of 1000 is out of reach: the largest limit gives"):
        match_ratio(cube, Parameters(), 1000)
