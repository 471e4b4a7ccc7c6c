"""Headers in words."""

from __future__ import annotations

from ccsds123.entropy_coders import BlockAdaptive, EntropyCoder, Hybrid
from ccsds123.header import Header
from ccsds123.parameters import ErrorLimit, ErrorLimits, Parameters, Predictor, SampleRepresentatives
from ccsds123.supplementary import PURPOSES, IntegerTable, SupplementaryTable


def describe(header: Header) -> str:
    """Return one line for each part of the header, with the book's symbols beside the words."""
    shape, parameters = header.shape, header.parameters
    depth = parameters.interleaving_depth
    if depth is None:
        order = "band-sequential"
    else:
        name = {1: " (BIL)", shape.bands: " (BIP)"}.get(depth, "")
        order = f"band-interleaved, M = {depth}{name}"
    lines = [
        ("image", f"{shape.samples} × {shape.lines} × {shape.bands} (N_X × N_Y × N_Z), {_samples(parameters)}"),
        ("order", f"{order}; output words of {parameters.output_word_size} octets (B)"),
        ("fidelity", _fidelity(parameters.error_limits)),
        ("prediction", _prediction(parameters.predictor)),
        ("weights", _weights(parameters.predictor)),
        ("sample representatives", _representatives(parameters.sample_representatives)),
        ("entropy coder", _coder(parameters.entropy_coder)),
        *(("supplementary table", _table(table)) for table in parameters.supplementary_tables),
        ("user-defined data", str(parameters.user_defined_data)),
    ]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines)


def _samples(parameters: Parameters) -> str:
    return f"{'signed' if parameters.signed else 'unsigned'} samples of {parameters.dynamic_range} bits (D)"


def _fidelity(limits: ErrorLimits | None) -> str:
    if limits is None:
        return "lossless"
    exponent = limits.update_period_exponent
    parts = [
        f"{name} error limits {_limit(limit)}"
        for name, limit in (("absolute", limits.absolute), ("relative", limits.relative))
        if limit is not None
    ]
    return " and ".join(parts) + ("" if exponent is None else f", updated every {1 << exponent} lines (u = {exponent})")


def _limit(limit: ErrorLimit) -> str:
    if not limit.values:
        values = "in the body"
    elif limit.band_dependent:
        values = f"of {min(limit.values[0])}..{max(limit.values[0])} by band"
    else:
        values = f"of {limit.values[0][0]}"
    return f"{values}, {limit.bit_depth} bits each"


def _prediction(predictor: Predictor) -> str:
    mode = "reduced" if predictor.reduced else "full"
    return (
        f"{mode} mode over {predictor.prediction_bands} bands (P), {predictor.local_sum.words} local sums, "
        f"registers of {predictor.register_size} bits (R)"
    )


def _weights(predictor: Predictor) -> str:
    custom, offsets = predictor.weight_initialization, predictor.weight_exponent_offsets
    start = "default" if custom is None else f"custom, Q = {custom.resolution}, table {_where(custom.in_header)}"
    text = (
        f"resolution {predictor.weight_resolution} (Ω), exponents {predictor.weight_initial_exponent} to "
        f"{predictor.weight_final_exponent} (ν_min, ν_max) every {predictor.weight_change_interval} samples (t_inc), "
        f"initially {start}"
    )
    return text if offsets is None else f"{text}, exponent offsets {_where(offsets.in_header)}"


def _where(in_header: bool) -> str:
    return "in the header" if in_header else "not in the file"


def _representatives(representatives: SampleRepresentatives | None) -> str:
    if representatives is None:
        return "the bin centres (φ = ψ = 0)"
    return (
        f"Θ = {representatives.resolution}, damping φ {_band_value(representatives.damping)}, "
        f"offset ψ {_band_value(representatives.offset)}"
    )


def _band_value(value: int | tuple[int, ...] | None) -> str:
    if value is None:
        return "by band, not in the file"
    return str(value) if isinstance(value, int) else f"{min(value)}..{max(value)} by band"


def _coder(coder: EntropyCoder) -> str:
    name = coder.name
    if isinstance(coder, BlockAdaptive):
        options = "Restricted" if coder.restricted else "Basic"
        return (
            f"{name}, blocks of {coder.block_size} (J), {options} options, reference interval "
            f"{coder.reference_sample_interval} (r)"
        )
    text = (
        f"{name}, unary length limit {coder.unary_length_limit} (U_max), rescaling counter size "
        f"{coder.rescaling_counter_size} (γ*), initial count exponent {coder.initial_count_exponent} (γ0)"
    )
    if isinstance(coder, Hybrid):
        return text
    return f"{text}, accumulator initialization {_band_value(coder.accumulator_initialization)} (K)"


def _table(table: SupplementaryTable) -> str:
    if isinstance(table, IntegerTable):
        kind = f"{'signed' if table.signed else 'unsigned'} integers of {table.bit_depth} bits"
    else:
        kind = f"floats of {table.significand_depth} + {table.exponent_depth} bits"
    structure = table.structure.name.lower().replace("_", "-")
    return f"{PURPOSES[table.purpose]}, {structure}, {len(table.values)} {kind}"
