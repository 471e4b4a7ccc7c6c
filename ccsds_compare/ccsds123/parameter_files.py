"""Parameters and image descriptions in JSON: the format of the golden vectors, `image` and `parameters`.

Keys are the book's symbols (`N_X`, `Omega`, `gamma_star`); a missing key has its default. An unknown key is refused,
and so is null for a table that another key calls for. `parameter_writer` writes the format.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from hyvic_runtime.errors import DecodeError

from ccsds123.bit_string import BitReader
from ccsds123.entropy_coders import ENTROPY_CODERS, BlockAdaptive, EntropyCoder, Hybrid, SampleAdaptive
from ccsds123.json_fields import Fields, list_of, one_of, rows_of, scalar_or_row
from ccsds123.parameters import (
    ErrorLimit,
    ErrorLimits,
    FidelityControl,
    ImageShape,
    LocalSum,
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
    TableStructure,
    read_table_data,
)
from ccsds123.violations import ParameterError

REMARKS = ("name", "trust", "header_octets", "mapped_sha256", "reconstruction_sha256")
"""Keys of a golden vector beside `image` and `parameters` that do not say how to encode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An image to encode.

    Attributes:
        shape: dimensions of the image.
        parameters: settings of the standard.
    """

    shape: ImageShape
    parameters: Parameters


def read_job(path: Path) -> Job:
    """Read a parameter file.

    Raises:
        ParameterError: the file is not JSON, has an unknown or missing key, or breaks the standard.
    """
    try:
        return job_from_json(json.loads(path.read_text()))
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ParameterError(f"{path}: {error}") from error


def job_from_json(value: object) -> Job:
    """Return an image description and parameters from parsed JSON.

    Raises:
        ParameterError: an unknown or missing key, a value of the wrong type, or one that breaks the standard.
    """
    top = Fields("the file", value)
    image = Fields("image", top.get("image"))
    given = Fields("parameters", top.get("parameters", {}))
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
    predictor = Fields("predictor", given.get("predictor", {}))
    coder_name = given.get("entropy_coder_type", SampleAdaptive.name)
    fidelity = given.get("quantizer_fidelity_control_method", FidelityControl.LOSSLESS.words)
    parameters = Parameters(
        signed=one_of("sample_type", sample_type, {"unsigned": False, "signed": True}),
        dynamic_range=dynamic_range,
        interleaving_depth=one_of("sample_encoding_order", order, {"BSQ": None, "BI": depth}),
        entropy_coder=_coder(coder_name, Fields("entropy_coder", given.get("entropy_coder", {}))),
        predictor=_predictor(predictor),
        error_limits=_error_limits(
            one_of(
                "quantizer_fidelity_control_method", fidelity, {control.words: control for control in FidelityControl}
            ),
            Fields("quantization", given.get("quantization", {})),
        ),
        sample_representatives=_sample_representatives(predictor),
        supplementary_tables=tuple(
            _table(Fields("supplementary table", table), shape)
            for table in list_of("supplementary_information_tables", given.get("supplementary_information_tables", []))
        ),
        user_defined_data=given.integer("user_defined_data", 0),
        output_word_size=given.integer("output_word_size_B", 1),
    )
    predictor.done()
    given.done()
    parameters.check_shape(shape)
    return Job(shape=shape, parameters=parameters)


def _predictor(fields: Fields) -> Predictor:
    custom, offsets = fields.get("weight_initialization", "default"), fields.get("weight_exponent_offsets", None)
    return Predictor(
        prediction_bands=fields.integer("P", 3),
        reduced=one_of("prediction_mode", fields.get("prediction_mode", "full"), {"full": False, "reduced": True}),
        local_sum=one_of(
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
    fields = Fields("weight_initialization", value)
    one_of("method", fields.get("method", "custom"), {"custom": None})
    vectors, in_header = fields.get("Lambda_z"), fields.boolean("table_included", True)
    resolution = fields.integer("Q")
    fields.done()
    return WeightInitialization(resolution=resolution, vectors=rows_of("Lambda_z", vectors), in_header=in_header)


def _weight_exponent_offsets(value: object) -> WeightExponentOffsets:
    fields = Fields("weight_exponent_offsets", value)
    fields.get("rows", None)  # a remark in the golden vectors
    values, in_header = fields.get("values"), fields.boolean("table_included", True)
    fields.done()
    return WeightExponentOffsets(values=rows_of("values", values), in_header=in_header)


def _sample_representatives(fields: Fields) -> SampleRepresentatives | None:
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
        damping=scalar_or_row("phi_z", fields.get("phi_z", 0)),
        offset=scalar_or_row("psi_z", fields.get("psi_z", 0)),
        damping_in_header=in_header[0],
        offset_in_header=in_header[1],
    )


def _error_limits(fidelity: FidelityControl, fields: Fields) -> ErrorLimits | None:
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


def _coder(name: object, fields: Fields) -> EntropyCoder:
    kind = one_of("entropy_coder_type", name, {kind.name: kind for kind in ENTROPY_CODERS})
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
                initial_accumulators=scalar_or_row("Sigma_z_0", initial),
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
                accumulator_initialization=constant if table is None else scalar_or_row("k_z_dprime", table),
                in_header=fields.boolean("k_z_dprime_table_included", True),
            )
    fields.done()
    return coder


def _table(fields: Fields, shape: ImageShape) -> SupplementaryTable:
    """Return a table whose data are bits, as in the golden vectors, or values."""
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
            values=tuple(FloatElement(*row) for row in rows_of("elements", fields.get("elements"), length=3)),
            significand_depth=fields.integer("D_F"),
            exponent_depth=fields.integer("D_E"),
            exponent_bias=fields.integer("beta"),
            user_defined_data=user,
        )
    else:
        table = IntegerTable(
            purpose=purpose,
            structure=structure,
            values=rows_of("values", [fields.get("values")])[0],
            bit_depth=fields.integer("D_I"),
            signed=kind == 1,
            user_defined_data=user,
        )
    fields.done()
    return table
