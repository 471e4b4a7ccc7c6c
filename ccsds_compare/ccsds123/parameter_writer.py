"""Parameters and image descriptions to JSON, in the format that `parameter_files` reads."""

from __future__ import annotations

from typing import Any

from ccsds123.entropy_coders import BlockAdaptive, EntropyCoder, Hybrid
from ccsds123.parameter_files import Job
from ccsds123.parameters import ErrorLimits, Parameters
from ccsds123.supplementary import IntegerTable, SupplementaryTable


def json_from_job(job: Job) -> dict[str, Any]:
    """Return a job as JSON with every key, the inverse of `job_from_json`; null where a header does not say."""
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
