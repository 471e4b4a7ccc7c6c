"""Parameters and image descriptions in JSON: the format of the golden vectors, `image` and `parameters`.

Keys are the book's symbols (`N_X`, `Omega`, `gamma_star`); what is left out has its default. An unknown key is
refused, and so is null for a table that another key calls for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hyvic_runtime.errors import DecodeError

from ccsds123.bit_string import BitReader
from ccsds123.parameters import (
    BlockAdaptive,
    EntropyCoder,
    ErrorLimit,
    ErrorLimits,
    Fidelity,
    Hybrid,
    ImageShape,
    LocalSum,
    ParameterError,
    Parameters,
    Predictor,
    SampleAdaptive,
    SampleRepresentatives,
    WeightExponentOffsets,
    WeightInitialization,
)
from ccsds123.supplementary import (
    FloatElement,
    FloatTable,
    IntegerTable,
    SupplementaryTable,
    TableStructure,
    read_table_data,
)

CODER_NAMES: dict[type[EntropyCoder], str] = {
    SampleAdaptive: "sample-adaptive",
    Hybrid: "hybrid",
    BlockAdaptive: "block-adaptive",
}
FIDELITY_NAMES = {fidelity: fidelity.name.lower().replace("_", " ") for fidelity in Fidelity}


REMARKS = ("name", "trust", "header_octets", "mapped_sha256", "reconstruction_sha256")
"""Keys of a golden vector beside `image` and `parameters`; they say nothing about how to encode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An image to encode: its dimensions and how."""

    shape: ImageShape
    parameters: Parameters


def read_job(path: Path) -> Job:
    """Read a parameter file.

    Raises:
        ParameterError: no JSON, an unknown or missing key, or values that break the standard.
    """
    try:
        return job_from_json(json.loads(path.read_text()))
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ParameterError(f"{path}: {error}") from error


def job_from_json(value: object) -> Job:
    """An image description and parameters from parsed JSON.

    Raises:
        ParameterError: an unknown or missing key, a value of the wrong type, or one that breaks the standard.
    """
    top = _Fields("the file", value)
    image = _Fields("image", top.get("image"))
    given = _Fields("parameters", top.get("parameters", {}))
    for remark in REMARKS:
        top.get(remark, None)
    top.done()
    image.get("file", None)  # a remark in the golden vectors
    shape = ImageShape(lines=image.integer("N_Y"), samples=image.integer("N_X"), bands=image.integer("N_Z"))
    dynamic_range, sample_type = image.integer("D", 16), image.get("sample_type", "unsigned")
    image.done()
    if given.integer("D", dynamic_range) != dynamic_range or given.get("sample_type", sample_type) != sample_type:
        raise ParameterError("image and parameters differ in D or sample_type")
    order, depth = given.get("sample_encoding_order", "BSQ"), given.integer_or_null("sub_frame_interleaving_depth_M")
    if (order == "BSQ") != (depth is None):
        raise ParameterError(f"sample_encoding_order {order!r} does not go with sub_frame_interleaving_depth_M {depth}")
    predictor = _Fields("predictor", given.get("predictor", {}))
    coder_name = given.get("entropy_coder_type", CODER_NAMES[SampleAdaptive])
    fidelity = given.get("quantizer_fidelity_control_method", FIDELITY_NAMES[Fidelity.LOSSLESS])
    parameters = Parameters(
        signed=_one_of("sample_type", sample_type, {"unsigned": False, "signed": True}),
        dynamic_range=dynamic_range,
        interleaving_depth=_one_of("sample_encoding_order", order, {"BSQ": None, "BI": depth}),
        entropy_coder=_coder(coder_name, _Fields("entropy_coder", given.get("entropy_coder", {}))),
        predictor=_predictor(predictor),
        error_limits=_error_limits(
            _one_of("quantizer_fidelity_control_method", fidelity, {v: k for k, v in FIDELITY_NAMES.items()}),
            _Fields("quantization", given.get("quantization", {})),
        ),
        sample_representatives=_sample_representatives(predictor),
        supplementary_tables=tuple(
            _table(_Fields("supplementary table", table), shape)
            for table in _list("supplementary_information_tables", given.get("supplementary_information_tables", []))
        ),
        user_defined_data=given.integer("user_defined_data", 0),
        output_word_size=given.integer("output_word_size_B", 1),
    )
    predictor.done()
    given.done()
    parameters.check_shape(shape)
    return Job(shape=shape, parameters=parameters)


def json_from_job(job: Job) -> dict[str, Any]:
    """The same as JSON, every key given; null where a header does not say."""
    parameters, shape = job.parameters, job.shape
    sample_type = "signed" if parameters.signed else "unsigned"
    value: dict[str, Any] = {
        "image": {
            "N_X": shape.samples,
            "N_Y": shape.lines,
            "N_Z": shape.bands,
            "D": parameters.dynamic_range,
            "sample_type": sample_type,
        },
        "parameters": {
            "user_defined_data": parameters.user_defined_data,
            "sample_type": sample_type,
            "D": parameters.dynamic_range,
            "sample_encoding_order": "BSQ" if parameters.interleaving_depth is None else "BI",
            "sub_frame_interleaving_depth_M": parameters.interleaving_depth,
            "output_word_size_B": parameters.output_word_size,
            "entropy_coder_type": CODER_NAMES[type(parameters.entropy_coder)],
            "quantizer_fidelity_control_method": FIDELITY_NAMES[parameters.fidelity],
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
    value: dict[str, Any] = {
        "P": predictor.prediction_bands,
        "prediction_mode": "reduced" if predictor.reduced else "full",
        "local_sum_type": predictor.local_sum.words,
        "R": predictor.register_size,
        "Omega": predictor.weight_resolution,
        "t_inc": predictor.weight_change_interval,
        "nu_min": predictor.weight_initial_exponent,
        "nu_max": predictor.weight_final_exponent,
        "weight_initialization": "default",
        "weight_exponent_offsets": None,
        "sample_representative_flag": representatives is not None,
        "Theta": None,
        "phi_z": None,
        "psi_z": None,
    }
    if custom is not None:
        value["weight_initialization"] = {
            "method": "custom",
            "table_included": custom.in_header,
            "Q": custom.resolution,
            "Lambda_z": custom.vectors,
        }
    if offsets is not None:
        value["weight_exponent_offsets"] = {"table_included": offsets.in_header, "values": offsets.values}
    if representatives is not None:
        value |= {
            "Theta": representatives.resolution,
            "phi_z": representatives.damping,
            "psi_z": representatives.offset,
            "phi_z_table_included": representatives.damping_in_header,
            "psi_z_table_included": representatives.offset_in_header,
        }
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
    if isinstance(coder, BlockAdaptive):
        return {
            "J": coder.block_size,
            "restricted_code_options": coder.restricted,
            "r": coder.reference_sample_interval,
        }
    value: dict[str, Any] = {
        "U_max": coder.unary_length_limit,
        "gamma_star": coder.rescaling_counter_size,
        "gamma_0": coder.initial_count_exponent,
    }
    if isinstance(coder, Hybrid):
        return value | {"initial_high_resolution_accumulator_Sigma_z_0": coder.initial_accumulators}
    if isinstance(coder.accumulator_initialization, int):
        return value | {"K": coder.accumulator_initialization}
    return value | {"k_z_dprime": coder.accumulator_initialization, "k_z_dprime_table_included": coder.in_header}


def _json_from_table(table: SupplementaryTable) -> dict[str, Any]:
    value: dict[str, Any] = {
        "table_type": table.type_code,
        "table_purpose": table.purpose,
        "table_structure": int(table.structure),
        "supplementary_user_defined_data": table.user_defined_data,
    }
    if isinstance(table, IntegerTable):
        return value | {"D_I": table.bit_depth, "values": list(table.values)}
    return value | {
        "D_F": table.significand_depth,
        "D_E": table.exponent_depth,
        "beta": table.exponent_bias,
        "elements": [[element.sign, element.exponent, element.significand] for element in table.values],
    }


class _Fields:
    """A JSON object whose keys must all be used."""

    def __init__(self, name: str, value: object) -> None:
        if not isinstance(value, Mapping):
            raise ParameterError(f"{name} is no JSON object")
        self._name, self._values, self._used = name, value, {"note"}

    def get(self, key: str, *default: Any) -> Any:
        self._used.add(key)
        if key not in self._values and not default:
            raise ParameterError(f"{self._name} lacks {key}")
        return self._values.get(key, *default)

    def states(self, key: str) -> bool:
        """Whether the key is there, be it with null."""
        return key in self._values

    def integer(self, key: str, *default: int) -> int:
        value = self.get(key, *default)
        if type(value) is not int:
            raise ParameterError(f"{key} of {self._name} is no integer but {value!r}")
        return value

    def integer_or_null(self, key: str) -> int | None:
        return None if self.get(key, None) is None else self.integer(key)

    def boolean(self, key: str, default: bool) -> bool:
        value = self.get(key, default)
        if type(value) is not bool:
            raise ParameterError(f"{key} of {self._name} is neither true nor false but {value!r}")
        return value

    def done(self) -> None:
        for key in self._values:
            if key not in self._used:
                raise ParameterError(f"{self._name} has an unknown key {key!r}")


T = TypeVar("T")


def _one_of(key: str, value: object, choices: Mapping[str, T]) -> T:
    if not isinstance(value, str) or value not in choices:
        raise ParameterError(f"{key} {value!r} is none of {', '.join(choices)}")
    return choices[value]


def _predictor(fields: _Fields) -> Predictor:
    custom, offsets = fields.get("weight_initialization", "default"), fields.get("weight_exponent_offsets", None)
    return Predictor(
        prediction_bands=fields.integer("P", 3),
        reduced=_one_of("prediction_mode", fields.get("prediction_mode", "full"), {"full": False, "reduced": True}),
        local_sum=_one_of(
            "local_sum_type",
            fields.get("local_sum_type", LocalSum.WIDE_NEIGHBOR_ORIENTED.words),
            {kind.words: kind for kind in LocalSum},
        ),
        register_size=fields.integer("R", 64),
        weight_resolution=fields.integer("Omega", 19),
        weight_change_interval=fields.integer("t_inc", 64),
        weight_initial_exponent=fields.integer("nu_min", -1),
        weight_final_exponent=fields.integer("nu_max", 3),
        weight_initialization=None if custom == "default" else _weight_initialization(custom),
        weight_exponent_offsets=None if offsets is None else _weight_exponent_offsets(offsets),
    )


def _weight_initialization(value: object) -> WeightInitialization:
    fields = _Fields("weight_initialization", value)
    _one_of("method", fields.get("method", "custom"), {"custom": None})
    vectors, in_header = fields.get("Lambda_z"), fields.boolean("table_included", True)
    resolution = fields.integer("Q")
    fields.done()
    return WeightInitialization(resolution=resolution, vectors=_rows("Lambda_z", vectors), in_header=in_header)


def _weight_exponent_offsets(value: object) -> WeightExponentOffsets:
    fields = _Fields("weight_exponent_offsets", value)
    fields.get("rows", None)  # a remark in the golden vectors
    values, in_header = fields.get("values"), fields.boolean("table_included", True)
    fields.done()
    return WeightExponentOffsets(values=_rows("values", values), in_header=in_header)


def _sample_representatives(fields: _Fields) -> SampleRepresentatives | None:
    resolution = fields.integer_or_null("Theta")
    flag = fields.boolean("sample_representative_flag", bool(resolution))
    damping, offset = fields.get("phi_z", None), fields.get("psi_z", None)
    in_header = fields.boolean("phi_z_table_included", True), fields.boolean("psi_z_table_included", True)
    if flag != bool(resolution):
        raise ParameterError(f"sample_representative_flag {flag} does not go with Theta {resolution} (5.3.3.5.1.1)")
    if not resolution:
        if damping or offset:
            raise ParameterError("phi_z and psi_z need Theta > 0 (4.9.1)")
        return None
    return SampleRepresentatives(
        resolution=resolution,
        damping=_scalar_or_row("phi_z", fields.get("phi_z", 0)),
        offset=_scalar_or_row("psi_z", fields.get("psi_z", 0)),
        damping_in_header=in_header[0],
        offset_in_header=in_header[1],
    )


def _error_limits(fidelity: Fidelity, fields: _Fields) -> ErrorLimits | None:
    if fidelity is Fidelity.LOSSLESS:
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
            values=_rows(f"{symbol.lower()}_z", rows if band_dependent else [[row] for row in rows]),
        )

    limits = ErrorLimits(
        absolute=limit("A") if fidelity is not Fidelity.RELATIVE else None,
        relative=limit("R") if fidelity is not Fidelity.ABSOLUTE else None,
        update_period_exponent=exponent,
    )
    fields.done()
    return limits


def _coder(name: object, fields: _Fields) -> EntropyCoder:
    kind = _one_of("entropy_coder_type", name, {word: kind for kind, word in CODER_NAMES.items()})
    coder: EntropyCoder
    if kind is BlockAdaptive:
        coder = BlockAdaptive(
            block_size=fields.integer("J", 32),
            restricted=fields.boolean("restricted_code_options", False),
            reference_sample_interval=fields.integer("r", 4096),
        )
    else:
        limit, size, count = fields.integer("U_max", 18), fields.integer("gamma_star", 6), fields.integer("gamma_0", 1)
        if kind is Hybrid:
            initial = fields.get("initial_high_resolution_accumulator_Sigma_z_0", 0)
            coder = Hybrid(
                unary_length_limit=limit,
                rescaling_counter_size=size,
                initial_count_exponent=count,
                initial_accumulators=_scalar_or_row("Sigma_z_0", initial),
            )
        else:
            table = fields.get("k_z_dprime", None)
            constant = fields.integer_or_null("K")
            if table is None and constant is None:
                if any(fields.states(key) for key in ("K", "k_z_dprime", "k_z_dprime_table_included")):
                    raise ParameterError("neither K nor k_z_dprime has a value (5.4.3.2.3.3)")
                constant = 0
            if table is not None and constant is not None:
                raise ParameterError("either K or k_z_dprime is given (5.4.3.2.3.3)")
            coder = SampleAdaptive(
                unary_length_limit=limit,
                rescaling_counter_size=size,
                initial_count_exponent=count,
                accumulator_initialization=constant if table is None else _scalar_or_row("k_z_dprime", table),
                in_header=fields.boolean("k_z_dprime_table_included", True),
            )
    fields.done()
    return coder


def _table(fields: _Fields, shape: ImageShape) -> SupplementaryTable:
    """A table whose data are given as bits, as in the golden vectors, or as values."""
    kind, purpose = fields.integer("table_type"), fields.integer("table_purpose")
    structure, user = fields.integer("table_structure"), fields.integer("supplementary_user_defined_data", 0)
    fields.get("comment", None)
    octets = fields.get("table_data_subblock_bits", None)
    if kind not in (0, 1, 2) or structure not in range(4):
        raise ParameterError("table_type is 0, 1 or 2 and table_structure 0 to 3 (table 5-4)")
    structure = TableStructure(structure)
    table: SupplementaryTable
    if octets is not None:
        if not isinstance(octets, str) or set(octets) - {"0", "1"} or len(octets) % 8 or not octets:
            raise ParameterError("table_data_subblock_bits are whole octets of '0' and '1'")
        bits = BitReader(int(octets, 2).to_bytes(len(octets) // 8, "big"))
        entries = structure.entries(shape.lines, shape.samples, shape.bands)
        try:
            table = read_table_data(bits, kind, purpose, structure, user, entries)
        except DecodeError as error:
            raise ParameterError(f"table_data_subblock_bits: {error}") from error
        if bits.octets_read != len(octets) // 8:
            raise ParameterError(
                f"table_data_subblock_bits are {len(octets) // 8} octets where the table takes {bits.octets_read}"
            )
    elif kind == 2:
        table = FloatTable(
            purpose=purpose,
            structure=structure,
            values=tuple(FloatElement(*row) for row in _rows("elements", fields.get("elements"), length=3)),
            significand_depth=fields.integer("D_F"),
            exponent_depth=fields.integer("D_E"),
            exponent_bias=fields.integer("beta"),
            user_defined_data=user,
        )
    else:
        table = IntegerTable(
            purpose=purpose,
            structure=structure,
            values=_rows("values", [fields.get("values")])[0],
            bit_depth=fields.integer("D_I"),
            signed=kind == 1,
            user_defined_data=user,
        )
    fields.done()
    return table


def _list(name: str, value: object) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ParameterError(f"{name} is no list")
    return value


def _rows(name: str, rows: Any, *, length: int | None = None) -> tuple[tuple[int, ...], ...]:
    if (
        not isinstance(rows, list | tuple)
        or not all(isinstance(row, list | tuple) for row in rows)
        or not all(type(value) is int for row in rows for value in row)
        or (length is not None and any(len(row) != length for row in rows))
    ):
        raise ParameterError(f"{name} is no list of lists of integers{f', {length} each' if length else ''}")
    return tuple(tuple(row) for row in rows)


def _scalar_or_row(name: str, value: object) -> int | tuple[int, ...]:
    if type(value) is int:
        return value
    if value is None:
        raise ParameterError(f"{name} is null; give a number, or a list with one for every band")
    return _rows(name, [value])[0]
