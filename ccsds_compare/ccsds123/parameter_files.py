"""Parameters and image descriptions in JSON: the format of the golden vectors, `image` and `parameters`.

Keys are the book's symbols (`N_X`, `Omega`, `gamma_star`); a missing key has its default. An unknown key is refused,
and so is null for a table that another key calls for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hyvic_runtime.errors import DecodeError

from ccsds123.bit_string import BitReader
from ccsds123.entropy_coders import ENTROPY_CODERS, BlockAdaptive, EntropyCoder, Hybrid, SampleAdaptive
from ccsds123.header import Header
from ccsds123.json_fields import JsonObject, json_from_record, list_of, one_of, rows_of, scalar_or_row
from ccsds123.parameters import (
    ErrorLimit,
    ErrorLimits,
    FidelityControl,
    ImageShape,
    Parameters,
    Predictor,
    SampleRepresentatives,
    WeightExponentOffsets,
    WeightInitialization,
)
from ccsds123.supplementary import (
    FloatElement,
    FloatTable,
    IntegerTable,
    SupplementaryTable,
    Table,
    TableStructure,
    read_table_data,
)
from ccsds123.violations import ParameterError

REMARKS = ("name", "trust", "header_octets", "mapped_sha256", "reconstruction_sha256")
"""Keys of a golden vector beside `image` and `parameters` that do not say how to encode."""


def header_from_file(path: Path) -> Header:
    """Read the header to write from a parameter file.

    Raises:
        ParameterError: the file is not JSON, has an unknown or missing key, or breaks the standard.
    """
    try:
        return header_from_json(json.loads(path.read_text()))
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ParameterError(f"{path}: {error}") from error


def header_from_json(value: object) -> Header:
    """Return the header of the image that parsed JSON describes.

    Raises:
        ParameterError: an unknown or missing key, a value of the wrong type, or one that breaks the standard.
    """
    top = JsonObject("the file", value)
    image = JsonObject("image", top.get("image"))
    given = JsonObject("parameters", top.get("parameters", {}))
    for remark in REMARKS:
        top.get(remark, None)
    top.done()
    image.get("file", None)  # a remark in the golden vectors
    shape = ImageShape(**image.values_of(ImageShape))
    dynamic_range, sample_type = image.integer("D", 16), image.get("sample_type", "unsigned")
    image.done()
    if given.integer("D", dynamic_range) != dynamic_range or given.get("sample_type", sample_type) != sample_type:
        raise ParameterError("image and parameters differ in D or sample_type")
    order, depth = given.get("sample_encoding_order", "BSQ"), given.integer_or_null("sub_frame_interleaving_depth_M")
    if (order == "BSQ") != (depth is None):
        raise ParameterError(f"sample_encoding_order {order!r} does not go with sub_frame_interleaving_depth_M {depth}")
    predictor = JsonObject("predictor", given.get("predictor", {}))
    coder_name = given.get("entropy_coder_type", SampleAdaptive.name)
    fidelity = given.get("quantizer_fidelity_control_method", FidelityControl.LOSSLESS.words)
    parameters = Parameters(
        signed=one_of("sample_type", sample_type, {"unsigned": False, "signed": True}),
        dynamic_range=dynamic_range,
        interleaving_depth=one_of("sample_encoding_order", order, {"BSQ": None, "BI": depth}),
        entropy_coder=_coder(coder_name, JsonObject("entropy_coder", given.get("entropy_coder", {}))),
        predictor=_predictor(predictor),
        error_limits=_error_limits(
            one_of(
                "quantizer_fidelity_control_method", fidelity, {control.words: control for control in FidelityControl}
            ),
            JsonObject("quantization", given.get("quantization", {})),
        ),
        sample_representatives=_sample_representatives(predictor),
        supplementary_tables=tuple(
            _table(JsonObject("supplementary table", table), shape)
            for table in list_of("supplementary_information_tables", given.get("supplementary_information_tables", []))
        ),
        **given.values_of(Parameters),
    )
    predictor.done()
    given.done()
    return Header(shape=shape, parameters=parameters)


def _predictor(fields: JsonObject) -> Predictor:
    custom, offsets = fields.get("weight_initialization", "default"), fields.get("weight_exponent_offsets", None)
    return Predictor(
        weight_initialization=None if custom == "default" else _weight_initialization(custom),
        weight_exponent_offsets=None if offsets is None else _weight_exponent_offsets(offsets),
        **fields.values_of(Predictor),
    )


def _weight_initialization(value: object) -> WeightInitialization:
    fields = JsonObject("weight_initialization", value)
    one_of("method", fields.get("method", "custom"), {"custom": None})
    vectors, values = fields.get("Lambda_z"), fields.values_of(WeightInitialization)
    fields.done()
    return WeightInitialization(vectors=rows_of("Lambda_z", vectors), **values)


def _weight_exponent_offsets(value: object) -> WeightExponentOffsets:
    fields = JsonObject("weight_exponent_offsets", value)
    fields.get("rows", None)  # a remark in the golden vectors
    rows, values = fields.get("values"), fields.values_of(WeightExponentOffsets)
    fields.done()
    return WeightExponentOffsets(values=rows_of("values", rows), **values)


def _sample_representatives(fields: JsonObject) -> SampleRepresentatives | None:
    resolution = fields.integer_or_null("Theta")
    flag = fields.boolean("sample_representative_flag", bool(resolution))
    damping, offset = fields.get("phi_z", None), fields.get("psi_z", None)
    values = fields.values_of(SampleRepresentatives)
    if flag != bool(resolution):
        raise ParameterError(f"sample_representative_flag {flag} does not go with Theta {resolution} (5.3.3.5.1.1)")
    if not resolution:
        if damping or offset:
            raise ParameterError("phi_z and psi_z need Theta > 0 (4.9.1)")
        return None
    return SampleRepresentatives(
        resolution=resolution,
        damping=scalar_or_row("phi_z", fields.get("phi_z", 0)),
        offset=scalar_or_row("psi_z", fields.get("psi_z", 0)),
        **values,
    )


def _error_limits(fidelity: FidelityControl, fields: JsonObject) -> ErrorLimits | None:
    if fidelity is FidelityControl.LOSSLESS:
        fields.done()
        return None
    exponent = fields.integer_or_null("u")
    if fields.boolean("periodic_error_limit_updating", exponent is not None) != (exponent is not None):
        raise ParameterError("periodic_error_limit_updating does not go with u")

    def limit(symbol: str) -> ErrorLimit:
        values, bit_depth = fields.get(f"{symbol.lower()}_z"), fields.integer(f"D_{symbol}")
        rows = [values] if exponent is None else values
        if not isinstance(rows, list | tuple):
            raise ParameterError(f"periodic {symbol.lower()}_z is a list of one entry an update period")
        band_dependent = any(isinstance(row, list | tuple) for row in rows)
        return ErrorLimit(
            bit_depth=bit_depth,
            band_dependent=band_dependent,
            values=rows_of(f"{symbol.lower()}_z", rows if band_dependent else [[row] for row in rows]),
        )

    limits = ErrorLimits(
        absolute=limit("A") if fidelity is not FidelityControl.RELATIVE else None,
        relative=limit("R") if fidelity is not FidelityControl.ABSOLUTE else None,
        update_period_exponent=exponent,
    )
    fields.done()
    return limits


def _coder(name: object, fields: JsonObject) -> EntropyCoder:
    kind = one_of("entropy_coder_type", name, {kind.name: kind for kind in ENTROPY_CODERS})
    values = fields.values_of(kind)
    if kind is Hybrid:
        initial = fields.get("initial_high_resolution_accumulator_Sigma_z_0", 0)
        values["initial_accumulators"] = scalar_or_row("Sigma_z_0", initial)
    elif kind is SampleAdaptive:
        constant, table = fields.integer_or_null("K"), fields.get("k_z_dprime", None)
        if table is None and constant is None:
            if any(fields.states(key) for key in ("K", "k_z_dprime", "k_z_dprime_table_included")):
                raise ParameterError("neither K nor k_z_dprime has a value (5.4.3.2.3.3)")
            constant = 0
        if table is not None and constant is not None:
            raise ParameterError("either K or k_z_dprime is given (5.4.3.2.3.3)")
        values["accumulator_initialization"] = constant if table is None else scalar_or_row("k_z_dprime", table)
        values["in_header"] = fields.boolean("k_z_dprime_table_included", True)
    fields.done()
    return kind(**values)


def _table(fields: JsonObject, shape: ImageShape) -> SupplementaryTable:
    """Return a table whose data are bits, as in the golden vectors, or values."""
    kind, structure = fields.integer("table_type"), fields.integer("table_structure")
    fields.get("comment", None)
    octets = fields.get("table_data_subblock_bits", None)
    if kind not in (0, 1, 2) or structure not in range(4):
        raise ParameterError("table_type is 0, 1 or 2 and table_structure 0 to 3 (table 5-4)")
    table: SupplementaryTable
    if octets is not None:
        if not isinstance(octets, str) or set(octets) - {"0", "1"} or len(octets) % 8 or not octets:
            raise ParameterError("table_data_subblock_bits are whole octets of '0' and '1'")
        bits = BitReader(int(octets, 2).to_bytes(len(octets) // 8, "big"))
        entries = TableStructure(structure).entries(shape.lines, shape.samples, shape.bands)
        try:
            table = read_table_data(bits, kind, entries, fields.values_of(Table))
        except DecodeError as error:
            raise ParameterError(f"table_data_subblock_bits: {error}") from error
        if bits.octets_read != len(octets) // 8:
            raise ParameterError(
                f"table_data_subblock_bits are {len(octets) // 8} octets where the table takes {bits.octets_read}"
            )
    elif kind == 2:
        elements = rows_of("elements", fields.get("elements"), length=3)
        table = FloatTable(values=tuple(FloatElement(*row) for row in elements), **fields.values_of(FloatTable))
    else:
        values = rows_of("values", [fields.get("values")])[0]
        table = IntegerTable(values=values, signed=kind == 1, **fields.values_of(IntegerTable))
    fields.done()
    return table


def json_from_header(header: Header) -> dict[str, Any]:
    """Return a header as JSON with every key, the inverse of `header_from_json`; null where it does not say."""
    parameters, shape = header.parameters, header.shape
    samples = {"D": parameters.dynamic_range, "sample_type": "signed" if parameters.signed else "unsigned"}
    value: dict[str, Any] = {
        "image": json_from_record(shape) | samples,
        "parameters": json_from_record(parameters)
        | samples
        | {
            "sample_encoding_order": "BSQ" if parameters.interleaving_depth is None else "BI",
            "sub_frame_interleaving_depth_M": parameters.interleaving_depth,
            "entropy_coder_type": parameters.entropy_coder.name,
            "quantizer_fidelity_control_method": parameters.fidelity_control.words,
            "supplementary_information_tables": [_json_from_table(t) for t in parameters.supplementary_tables],
            "predictor": _json_from_predictor(parameters),
            "entropy_coder": _json_from_coder(parameters.entropy_coder),
        },
    }
    if parameters.error_limits is not None:
        value["parameters"]["quantization"] = _json_from_limits(parameters.error_limits)
    return value


def _json_from_predictor(parameters: Parameters) -> dict[str, Any]:
    predictor, representatives = parameters.predictor, parameters.sample_representatives
    custom, offsets = predictor.weight_initialization, predictor.weight_exponent_offsets
    value = json_from_record(predictor) | {
        "weight_initialization": "default",
        "weight_exponent_offsets": None,
        "sample_representative_flag": representatives is not None,
        "Theta": None,
        "phi_z": None,
        "psi_z": None,
    }
    if custom is not None:
        facts = {"method": "custom"} | json_from_record(custom) | {"Lambda_z": custom.vectors}
        value["weight_initialization"] = facts
    if offsets is not None:
        value["weight_exponent_offsets"] = json_from_record(offsets) | {"values": offsets.values}
    if representatives is not None:
        value |= {"Theta": representatives.resolution} | json_from_record(representatives)
        value |= {"phi_z": representatives.damping, "psi_z": representatives.offset}
    return value


def _json_from_limits(limits: ErrorLimits) -> dict[str, Any]:
    exponent = limits.update_period_exponent
    value: dict[str, Any] = {"periodic_error_limit_updating": exponent is not None, "u": exponent}
    for symbol, limit in (("A", limits.absolute), ("R", limits.relative)):
        if limit is None:
            continue
        rows = [list(row) if limit.band_dependent else row[0] for row in limit.values]
        value |= {f"D_{symbol}": limit.bit_depth, f"{symbol.lower()}_z": rows[0] if exponent is None else rows}
    return value


def _json_from_coder(coder: EntropyCoder) -> dict[str, Any]:
    value = json_from_record(coder)
    if isinstance(coder, BlockAdaptive):
        return value
    if isinstance(coder, Hybrid):
        return value | {"initial_high_resolution_accumulator_Sigma_z_0": coder.initial_accumulators}
    if isinstance(coder.accumulator_initialization, int):
        return value | {"K": coder.accumulator_initialization}
    return value | {"k_z_dprime": coder.accumulator_initialization, "k_z_dprime_table_included": coder.in_header}


def _json_from_table(table: SupplementaryTable) -> dict[str, Any]:
    value = {"table_type": table.type_code} | json_from_record(table)
    if isinstance(table, IntegerTable):
        return value | {"values": list(table.values)}
    return value | {"elements": [[element.sign, element.exponent, element.significand] for element in table.values]}
