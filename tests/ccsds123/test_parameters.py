from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ccsds123 import (
    BlockAdaptive,
    ErrorLimit,
    ErrorLimits,
    Hybrid,
    ImageShape,
    ParameterError,
    Parameters,
    Predictor,
    SampleAdaptive,
    SampleRepresentatives,
    WeightExponentOffsets,
    WeightInitialization,
)
from ccsds123.description import describe
from ccsds123.header import Header, read_header, write_header
from ccsds123.parameter_files import header_from_json, json_from_header
from ccsds123.supplementary import FloatElement, FloatTable, IntegerTable, TableStructure
from golden_vectors import vector
from hypothesis import given, settings
from hyvic_runtime.errors import DecodeError
from strategies import Case, cases


def limit(value: int, bits: int = 4) -> ErrorLimits:
    return ErrorLimits(absolute=ErrorLimit(bit_depth=bits, values=((value,),)))


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: Parameters(dynamic_range=33), r"D 33 is outside 2..32 \(3.3.1\)"),
        (lambda: Parameters(output_word_size=9), r"B 9 is outside 1..8 \(5.2.2\)"),
        (lambda: Parameters(dynamic_range=32, predictor=Predictor(register_size=40)), r"R 40 .* 53..64 \(4.7.2\)"),
        (lambda: Parameters(user_defined_data=True), r"user_defined_data is not an integer but True"),
        (lambda: Predictor(prediction_bands=16), r"P 16 is outside 0..15 \(4.2\)"),
        (lambda: Predictor(weight_change_interval=48), r"t_inc 48 is not a power of two in 16..2048 \(4.10.2\)"),
        (lambda: Predictor(weight_initial_exponent=4), r"ν_max 3 is outside 4..9 \(4.10.2\)"),
        (
            lambda: Predictor(weight_resolution=3, prediction_bands=-1),
            r"P -1 is outside 0..15 \(4.2\); Ω 3 is outside 4..19 \(4.6.1.2\)",
        ),
        (
            lambda: Predictor(weight_initialization=WeightInitialization(resolution=3, vectors=((4,),))),
            r"Λ of band 0 4 is outside -4..3 \(4.6.3.3.1\)",
        ),
        (lambda: WeightExponentOffsets(values=((0,), (6,))), r"ς of band 1 6 is outside -6..5 \(4.10.4\)"),
        (lambda: SampleRepresentatives(resolution=0), r"Θ 0 is outside 1..4 \(4.9.1\)"),
        (lambda: SampleRepresentatives(resolution=2, damping=4), r"φ 4 is outside 0..3 \(4.9.1.1\)"),
        (
            lambda: Parameters(sample_representatives=SampleRepresentatives(resolution=2, offset=1)),
            r"ψ is 0 under lossless fidelity control \(4.9.1.2\)",
        ),
        (lambda: limit(16), r"error limit 16 is outside 0..15 \(4.8.2.2\)"),
        (lambda: Parameters(dynamic_range=4, error_limits=limit(3)), r"error limit bit depth 4 is outside 1..3"),
        (ErrorLimits, r"neither absolute nor relative error limits are given \(4.8.2.1.1\)"),
        (
            lambda: Parameters(
                error_limits=ErrorLimits(absolute=ErrorLimit(bit_depth=2, values=((1,),)), update_period_exponent=2)
            ),
            r"periodic error limit updating is not for band-sequential order \(4.8.2.4.4\)",
        ),
        (lambda: SampleAdaptive(unary_length_limit=7), r"U_max 7 is outside 8..32 \(5.4.3.2.2.2\)"),
        (lambda: SampleAdaptive(initial_count_exponent=6), r"γ\* 6 is outside 7..11 \(5.4.3.2.3.4\)"),
        (
            lambda: Parameters(dynamic_range=4, entropy_coder=SampleAdaptive(accumulator_initialization=3)),
            r"k″ 3 is outside 0..2 \(5.4.3.2.3.3\)",
        ),
        (
            lambda: Parameters(dynamic_range=2, entropy_coder=Hybrid(initial_accumulators=8)),
            r"Σ̃\(0\) 8 is outside 0..7 \(5.4.3.3.4.3\)",
        ),
        (
            lambda: Parameters(dynamic_range=10**12, entropy_coder=Hybrid(), predictor=Predictor(register_size=40)),
            r"D 1000000000000 is outside 2..32 \(3.3.1\); R 40 is outside",
        ),
        (
            lambda: Hybrid(unary_length_limit=7, initial_count_exponent=9, rescaling_counter_size=12),
            r"U_max 7 .* \(5.4.3.3.3.2.2\); γ0 9 .* \(5.4.3.3.4.2\); γ\* 12 .* \(5.4.3.3.4.5\)",
        ),
        (lambda: BlockAdaptive(block_size=24), r"J 24 is not a power of two in 8..64 \(5.4.3.4.2.4\)"),
        (
            lambda: Parameters(entropy_coder=BlockAdaptive(restricted=True)),
            r"the Restricted code options need D ≤ 4, not 16 \(table 5-15\)",
        ),
        (
            lambda: IntegerTable(purpose=7, structure=TableStructure(0), values=(4,), bit_depth=2),
            r"table purpose 7 is reserved \(table 3-1\); table element 4 is outside 0..3 \(3.5.2.3.1\)",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_the_clause_it_breaks(build: Callable[[], object], match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        build()


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (
            lambda: Parameters(dynamic_range="16", signed="no"),
            "signed is not True or False but 'no'; dynamic_range is not an integer but '16'",
        ),
        (
            lambda: Parameters(entropy_coder=None),
            "entropy_coder is not of SampleAdaptive or of Hybrid or of BlockAdapti",
        ),
        (lambda: Parameters(supplementary_tables=(3,)), "supplementary_tables is not a list, each entry of IntegerTab"),
        (lambda: SampleRepresentatives(resolution="2"), "resolution is not an integer but '2'"),
        (
            lambda: SampleRepresentatives(resolution=2, damping="1"),
            "damping is not an integer or a list of integers or",
        ),
        (lambda: SampleRepresentatives(resolution=2, offset=[1, 0.5]), r"or None but \[1, 0.5\]"),
        (lambda: WeightInitialization(resolution=5.0, vectors=None), "resolution is not an integer but 5.0"),
        (lambda: WeightExponentOffsets(values=(1, 2)), "values is not a list, each entry a list of integers, or None"),
        (lambda: Predictor(local_sum=7), "local_sum is not of LocalSum but 7"),
        (lambda: Predictor(weight_change_interval=64.0), "weight_change_interval is not an integer but 64.0"),
        (lambda: BlockAdaptive(restricted=3), "restricted is not True or False but 3"),
        (lambda: SampleAdaptive(accumulator_initialization={1, 2}), "or a list of integers or None but {1, 2}"),
        (lambda: Hybrid(initial_accumulators=None), "initial_accumulators is not an integer or a list of integers but"),
        (lambda: ErrorLimit(bit_depth=4, values=3), "values is not a list"),
        (lambda: ErrorLimits(absolute=3), "absolute is not of ErrorLimit or None but 3"),
        (lambda: ImageShape(lines=1.0, samples=2, bands=3), "lines is not an integer but 1.0"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_by_its_name(build: Callable[[], object], match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        build()


def test_lists_and_numpy_values_are_the_parameters_that_tuples_and_integers_are() -> None:
    def parameters(row: Callable[[list[int]], Any], number: Callable[[int], Any]) -> Parameters:
        return Parameters(
            signed=np.bool_(True),
            dynamic_range=number(12),
            predictor=Predictor(
                prediction_bands=number(1),
                local_sum=number(1),
                weight_initialization=WeightInitialization(
                    resolution=number(5), vectors=[row([1, 2, 3]), row([4, -5, 6, 7])]
                ),
                weight_exponent_offsets=WeightExponentOffsets(values=[row([1]), row([2, -3])]),
            ),
            error_limits=ErrorLimits(absolute=ErrorLimit(bit_depth=4, values=[row([3, 9])], band_dependent=True)),
            sample_representatives=SampleRepresentatives(resolution=number(2), damping=row([1, 2]), offset=row([3, 0])),
            entropy_coder=SampleAdaptive(accumulator_initialization=row([1, 9])),
            supplementary_tables=[
                IntegerTable(purpose=2, structure=number(1), values=row([3, 1]), bit_depth=number(2))
            ],
        )

    plain = parameters(tuple, int)
    assert parameters(list, np.int16) == parameters(np.array, np.uint8) == plain
    assert Hybrid(initial_accumulators=[4, 5]) == Hybrid(initial_accumulators=(4, 5))
    header = Header(shape=ImageShape(lines=4, samples=5, bands=2), parameters=parameters(list, np.int64))
    assert read_header(write_header(header))[0] == replace(header, parameters=plain)


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        (Parameters(interleaving_depth=4), r"M 4 is outside 1..3 \(5.4.2.2.1\)"),
        (
            Parameters(entropy_coder=SampleAdaptive(accumulator_initialization=(1, 2))),
            r"2 values of k″ for 3 bands \(5.4.3.2.3.3\)",
        ),
        (
            Parameters(predictor=Predictor(weight_exponent_offsets=WeightExponentOffsets(values=((0,), (0,), (0,))))),
            r"row 1 of ς has 1 values and needs 2 \(4.10.4\)",
        ),
        (
            Parameters(
                interleaving_depth=1,
                error_limits=ErrorLimits(absolute=ErrorLimit(bit_depth=2, values=((1,),)), update_period_exponent=1),
            ),
            r"1 rows of error limits where 2 are needed",
        ),
        (
            Parameters(
                supplementary_tables=(
                    IntegerTable(purpose=2, structure=TableStructure.ONE_DIMENSIONAL, values=(1, 2), bit_depth=2),
                )
            ),
            r"table 0 has 2 entries and needs 3 \(3.5.2.4\)",
        ),
    ],
)
def test_what_does_not_go_with_the_image_is_refused(parameters: Parameters, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        Header(shape=ImageShape(lines=4, samples=5, bands=3), parameters=parameters)


@given(cases())
@settings(deadline=None, max_examples=100)
def test_header_and_parameter_file_hold_every_parameter(case: Case) -> None:
    lines, samples, bands = case.cube.shape
    shape = ImageShape(lines=lines, samples=samples, bands=bands)
    header = Header(shape=shape, parameters=case.parameters)
    octets = write_header(header)
    read, length = read_header(octets + b"\xff")
    assert length == len(octets)
    assert write_header(read) == octets
    assert header_from_json(json.loads(json.dumps(json_from_header(header)))) == header
    assert describe(read)


def test_largest_values_are_stored_as_zero() -> None:
    """Fields hold their value modulo their range."""
    parameters = Parameters(
        dynamic_range=32,
        interleaving_depth=2**16,
        output_word_size=8,
        predictor=Predictor(prediction_bands=0),
        entropy_coder=SampleAdaptive(unary_length_limit=32, rescaling_counter_size=11, initial_count_exponent=8),
    )
    header = Header(shape=ImageShape(lines=2**16, samples=2**16, bands=2**16), parameters=parameters)
    octets = write_header(header)
    assert octets[1:7] == bytes(6)
    assert octets[7] == 0b00100000  # unsigned, reserved, large D, D mod 16, band-interleaved
    assert octets[8:12] == bytes(4)
    assert octets[-2:] == bytes((0b00000_111, 0b000_0000_0))
    assert read_header(octets)[0] == header


def test_elements_of_float_tables_are_ieee_numbers() -> None:
    table = FloatTable(purpose=2, structure=TableStructure.ZERO_DIMENSIONAL, values=(FloatElement(1, 0, 0),))
    assert table.number(FloatElement(0, 127, 0)) == 1
    assert table.number(FloatElement(1, 128, 1 << 22)) == -3
    assert table.number(FloatElement(0, 0, 1)) == 2.0**-149
    assert table.number(FloatElement(1, 255, 0)) == -float("inf")
    assert str(table.number(FloatElement(0, 255, 1))) == "nan"


def _with(name: str, **changes: Any) -> dict[str, Any]:
    facts = json.loads(json.dumps({key: vector(name).facts[key] for key in ("image", "parameters")}))
    for path, value in changes.items():
        *folders, key = path.split("__")
        target = facts
        for folder in folders:
            target = target[folder]
        target[key] = value
    return facts


SMALLEST = {"N_X": 7, "N_Y": 6, "N_Z": 3, "D": 16}
TABLE_AND_AN_OCTET = {
    "table_type": 0,
    "table_purpose": 0,
    "table_structure": 0,
    "table_data_subblock_bits": "01000" + "11111111" + "000" + "00000000",
}
"""One unsigned number of 8 bits, its fill, and eight zeros too many."""


@pytest.mark.parametrize(
    ("facts", "match"),
    [
        ([], "the file is not a JSON object"),
        ({"parameters": {}}, "the file lacks image"),
        (_with("edge_sa_single", image__N_X="1"), "N_X of image is not an integer but '1'"),
        (_with("edge_sa_single", parameters__predictor__P=[3]), r"P of predictor is not an integer but \[3\]"),
        (_with("edge_sa_single", image__D=10**12, parameters__D=10**12), r"D 1000000000000 is outside 2..32"),
        (_with("edge_sa_single", parameters__supplementary_information_tables=3), "is not a list"),
        (_with("edge_sa_single", image__D=12), "image and parameters differ in D or sample_type"),
        (_with("edge_sa_single", parameters__omega=3), "parameters has an unknown key 'omega'"),
        (_with("edge_sa_single", parameters__entropy_coder__J=8), "entropy_coder has an unknown key 'J'"),
        (
            _with("edge_sa_single", parameters__entropy_coder_type="rice"),
            "'rice' is not one of sample-adaptive",
        ),
        (_with("lossless_sa_bip_full_wn", parameters__sample_encoding_order="BSQ"), "'BSQ' does not go with"),
        (_with("edge_sa_single", parameters__predictor__Theta=2), "does not go with Theta 2"),
        (_with("nl_sa_bsq_abs5", parameters__quantization__a_z=[[1, 2]]), "a_z is not a list of lists"),
        (_with("par_sa_bandvar_sr", parameters__predictor__phi_z=[0.5]), "phi_z is not a list of lists of integers"),
        (_with("supp_ba_one_table", parameters__supplementary_information_tables=[{}]), "lacks table_type"),
        ({"image": SMALLEST, "paramters": {}}, "the file has an unknown key 'paramters'"),
        ({"image": SMALLEST | {"sampletype": "signed"}}, "image has an unknown key 'sampletype'"),
        (
            _with("par_sa_bandvar_sr", parameters__predictor__sample_representative_flag=1),
            "sample_representative_flag of predictor is neither true nor false but 1",
        ),
        (_with("par_sa_bandvar_sr", parameters__predictor__phi_z=None), "phi_z is null; give a number, or a list"),
        (_with("par_sa_bandvar_sr", parameters__predictor__psi_z=None), "psi_z is null; give a number, or a list"),
        (_with("ec_sa_Ktable", parameters__entropy_coder__k_z_dprime=None), "neither K nor k_z_dprime has a value"),
        (
            {"image": SMALLEST, "parameters": {"entropy_coder": {"k_z_dprime_table_included": True}}},
            "neither K nor k_z_dprime has a value",
        ),
        (
            _with("supp_ba_one_table", parameters__supplementary_information_tables=[TABLE_AND_AN_OCTET]),
            "table_data_subblock_bits are 3 octets where the table takes 2",
        ),
    ],
)
def test_a_wrong_parameter_file_is_refused(facts: Any, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        header_from_json(facts)


def test_a_golden_vectors_whole_document_is_a_parameter_file() -> None:
    chosen = vector("edge_sa_single")
    assert header_from_json(chosen.facts) == chosen.header
    assert header_from_json({"image": SMALLEST}).parameters == Parameters()


@pytest.mark.parametrize(
    ("octet", "bit", "match"),
    [
        (7, 6, "reserved bits"),
        (8, 7, "breaks CCSDS 123.0-B-2: M 32774"),
        (10, 6, "reserved bits"),
        (10, 0, "reserved bits"),
        (12, 7, "reserved bits"),
        (16, 7, "table is announced without offsets"),
        (16, 5, "table is announced for default weights"),
        (16, 0, "resolution is given for default weights"),
    ],
)
def test_a_header_that_breaks_the_standard_is_refused(octet: int, bit: int, match: str) -> None:
    octets = bytearray(vector("lossless_sa_bip_full_wn").stream.read_bytes())
    octets[octet] ^= 1 << bit
    with pytest.raises(DecodeError, match=match):
        read_header(bytes(octets))
