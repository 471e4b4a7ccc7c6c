"""Header of a compressed image, bit for bit, both ways: CCSDS 123.0-B-2, 5.3.

    Image Metadata      essential (12 octets), supplementary information tables
    Predictor Metadata  primary (5 octets), weight tables, quantization, sample representative
    Entropy Coder Metadata

Sizes and depths are stored modulo the range of their field, so 2^16 lines or 64-bit registers are written as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hyvic_runtime.errors import DecodeError

from ccsds123.bit_string import BitReader, BitWriter
from ccsds123.entropy_coders import ENTROPY_CODERS, BlockAdaptive, EntropyCoder, Hybrid, SampleAdaptive
from ccsds123.parameters import (
    BandTable,
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
from ccsds123.supplementary import read_table, write_table
from ccsds123.violations import ParameterError

MODE = ("prediction_bands", "reduced")
WEIGHTS = (
    "local_sum",
    "register_size",
    "weight_resolution",
    "weight_change_interval",
    "weight_initial_exponent",
    "weight_final_exponent",
)
"""Fields of the predictor before and after the flag of the weight exponent offsets (table 5-6)."""
NO_CONSTANT = 0b1111
"""Accumulator Initialization Constant field if there is no constant (table 5-13)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Facts that a compressed image states about itself, and a parameter file about the image to encode.

    Attributes:
        shape: dimensions of the image.
        parameters: everything else; None stands for a table that the standard allows to leave out.
    """

    shape: ImageShape
    parameters: Parameters

    def __post_init__(self) -> None:
        self.parameters.check_shape(self.shape)


def write_header(header: Header) -> bytes:
    """Return the octets of a header."""
    bits = BitWriter()
    _write_essential(bits, header)
    for table in header.parameters.supplementary_tables:
        write_table(bits, table)
    _write_predictor(bits, header.parameters)
    _write_quantization(bits, header.parameters)
    _write_sample_representative(bits, header.parameters.sample_representatives)
    _write_entropy_coder(bits, header.parameters.entropy_coder)
    return bits.octets()


def read_header(octets: bytes) -> tuple[Header, int]:
    """Read a header, and return it with the number of its octets.

    Raises:
        DecodeError: the octets end early, or a field is reserved or breaks the standard.
    """
    bits = BitReader(octets)
    try:
        header = _read(bits)
    except ParameterError as error:
        raise DecodeError(f"the header breaks CCSDS 123.0-B-2: {error}") from error
    return header, bits.octets_read


# ---------------------------------------------------------------------------------------- image metadata


def _write_essential(bits: BitWriter, header: Header) -> None:
    """Write table 5-3."""
    parameters, shape = header.parameters, header.shape
    depth = parameters.interleaving_depth
    bits.put(parameters.user_defined_data, 8)
    bits.put_fields(shape)
    bits.put(parameters.signed, 1)
    bits.put(0, 1)
    bits.put(parameters.dynamic_range > 16, 1)
    bits.put(parameters.dynamic_range % 16, 4)
    bits.put(depth is None, 1)
    bits.put(0 if depth is None else depth % 2**16, 16)
    bits.put(0, 2)
    bits.put(parameters.output_word_size % 8, 3)
    bits.put(ENTROPY_CODERS.index(type(parameters.entropy_coder)), 2)
    bits.put(0, 1)
    bits.put(parameters.fidelity_control.value, 2)
    bits.put(0, 2)
    bits.put(len(parameters.supplementary_tables), 4)


def _read(bits: BitReader) -> Header:
    user_defined_data = bits.get(8)
    shape = ImageShape(**bits.get_fields(ImageShape))
    signed = bool(bits.get(1))
    bits.get_zeros(1)
    large, depth = bits.get(1), bits.get(4)
    # D mod 16 with the flag for D > 16: 0 stands for 16 and for 32.
    dynamic_range = (depth or 16) + 16 * large
    sequential = bool(bits.get(1))
    interleaving_depth = bits.get(16)
    if sequential and interleaving_depth:
        bits.refuse("band-sequential order has an interleaving depth")
    bits.get_zeros(2)
    output_word_size = bits.get(3) or 8
    coder = bits.get(2)
    if coder == len(ENTROPY_CODERS):
        bits.refuse("entropy coder type 3 is not defined")
    bits.get_zeros(1)
    fidelity = FidelityControl(bits.get(2))
    bits.get_zeros(2)
    tables = tuple(read_table(bits, shape.lines, shape.samples, shape.bands) for _ in range(bits.get(4)))
    predictor, has_representatives = _read_predictor(bits, shape.bands)
    limits = _read_quantization(bits, shape.bands, fidelity, sequential=sequential)
    representatives = _read_sample_representative(bits, shape.bands) if has_representatives else None
    return Header(
        shape=shape,
        parameters=Parameters(
            signed=signed,
            dynamic_range=dynamic_range,
            interleaving_depth=None if sequential else interleaving_depth or 2**16,
            entropy_coder=_read_entropy_coder(bits, shape.bands, ENTROPY_CODERS[coder]),
            predictor=predictor,
            error_limits=limits,
            sample_representatives=representatives,
            supplementary_tables=tables,
            user_defined_data=user_defined_data,
            output_word_size=output_word_size,
        ),
    )


# ------------------------------------------------------------------------------------ predictor metadata


def _write_predictor(bits: BitWriter, parameters: Parameters) -> None:
    """Write table 5-6, then table 5-7: initialization first; each table is filled to an octet on its own."""
    predictor = parameters.predictor
    custom, offsets = predictor.weight_initialization, predictor.weight_exponent_offsets
    bits.put(0, 1)
    bits.put(parameters.sample_representatives is not None, 1)
    bits.put_fields(predictor, *MODE)
    bits.put(offsets is not None, 1)
    bits.put_fields(predictor, *WEIGHTS)
    bits.put(offsets is not None and offsets.in_header, 1)
    bits.put(custom is not None, 1)
    bits.put(custom is not None and custom.in_header, 1)
    bits.put(0 if custom is None else custom.resolution, 5)
    if custom is not None and custom.in_header:
        _write_rows(bits, custom.vectors, custom.resolution)
    if offsets is not None and offsets.in_header:
        _write_rows(bits, offsets.values, 4)


def _read_predictor(bits: BitReader, bands: int) -> tuple[Predictor, bool]:
    """Read tables 5-6 and 5-7, and whether sample representatives follow."""
    bits.get_zeros(1)
    has_representatives = bool(bits.get(1))
    mode = bits.get_fields(Predictor, *MODE)
    has_offsets = bool(bits.get(1))
    weights = bits.get_fields(Predictor, *WEIGHTS)
    offsets_in_header, custom, custom_in_header = (bool(bits.get(1)) for _ in range(3))
    resolution = bits.get(5)
    if offsets_in_header and not has_offsets:
        bits.refuse("a weight exponent offset table is announced without offsets")
    if custom_in_header and not custom:
        bits.refuse("a weight initialization table is announced for default weights")
    if resolution and not custom:
        bits.refuse("a weight initialization resolution is given for default weights")
    counts = [min(band, mode["prediction_bands"]) for band in range(bands)]
    initialization = offsets = vectors = values = None
    if custom_in_header:
        vectors = _read_rows(bits, [count + (0 if mode["reduced"] else 3) for count in counts], resolution)
    if offsets_in_header:
        values = _read_rows(bits, [count + (0 if mode["reduced"] else 1) for count in counts], 4)
    if custom:
        initialization = WeightInitialization(resolution=resolution, vectors=vectors, in_header=custom_in_header)
    if has_offsets:
        offsets = WeightExponentOffsets(values=values, in_header=offsets_in_header)
    predictor = Predictor(weight_initialization=initialization, weight_exponent_offsets=offsets, **mode, **weights)
    return predictor, has_representatives


def _write_rows(bits: BitWriter, rows: BandTable | None, width: int) -> None:
    for row in rows or ():
        for value in row:
            bits.put(value % (1 << width), width)
    bits.fill()


def _read_rows(bits: BitReader, lengths: Sequence[int], width: int) -> BandTable:
    if width == 0:
        bits.refuse("the resolution of the weight initialization table is 0")
    rows = tuple(tuple(bits.get_signed(width) for _ in range(length)) for length in lengths)
    bits.skip_fill()
    return rows


def _write_quantization(bits: BitWriter, parameters: Parameters) -> None:
    """Write tables 5-8 to 5-11."""
    limits = parameters.error_limits
    if limits is None:
        return
    exponent = limits.update_period_exponent
    if parameters.interleaving_depth is not None:
        bits.put(0, 1)
        bits.put(exponent is not None, 1)
        bits.put(0, 2)
        bits.put(exponent or 0, 4)
    for limit in limits.present:
        bits.put_fields(limit)
        if exponent is None:
            _write_rows(bits, limit.values[:1], limit.bit_depth)


def _read_quantization(
    bits: BitReader, bands: int, fidelity: FidelityControl, *, sequential: bool
) -> ErrorLimits | None:
    if fidelity is FidelityControl.LOSSLESS:
        return None
    exponent = None
    if not sequential:
        bits.get_zeros(1)
        periodic = bits.get(1)
        bits.get_zeros(2)
        value = bits.get(4)
        if periodic:
            exponent = value
        elif value:
            bits.refuse("an error limit update period is given without periodic updating")

    def limit() -> ErrorLimit:
        facts = bits.get_fields(ErrorLimit)
        length = bands if facts["band_dependent"] else 1
        values = () if exponent is not None else (_read_row(bits, length, facts["bit_depth"]),)
        return ErrorLimit(values=values, **facts)

    absolute = limit() if fidelity is not FidelityControl.RELATIVE else None
    relative = limit() if fidelity is not FidelityControl.ABSOLUTE else None
    return ErrorLimits(absolute=absolute, relative=relative, update_period_exponent=exponent)


def _read_row(bits: BitReader, length: int, width: int) -> tuple[int, ...]:
    row = tuple(bits.get(width) for _ in range(length))
    bits.skip_fill()
    return row


def _write_sample_representative(bits: BitWriter, representatives: SampleRepresentatives | None) -> None:
    """Write table 5-12."""
    if representatives is None:
        return
    bits.put_fields(representatives)
    tables = (
        (representatives.damping, representatives.damping_in_header),
        (representatives.offset, representatives.offset_in_header),
    )
    for values, in_header in tables:
        fixed = values if isinstance(values, int) else None
        bits.put(0, 1)
        bits.put(fixed is None, 1)
        bits.put(fixed is None and in_header, 1)
        bits.put(0, 1)
        bits.put(fixed or 0, 4)
    for values, in_header in tables:
        if isinstance(values, tuple) and in_header:
            _write_rows(bits, (values,), representatives.resolution)


def _read_sample_representative(bits: BitReader, bands: int) -> SampleRepresentatives:
    facts = bits.get_fields(SampleRepresentatives)
    announced: list[str] = []
    for name in ("damping", "offset"):
        bits.get_zeros(1)
        varying, in_header = bool(bits.get(1)), bool(bits.get(1))
        bits.get_zeros(1)
        value = bits.get(4)
        if varying and value:
            bits.refuse(f"a fixed {name} is given beside band-varying ones")
        if in_header and not varying:
            bits.refuse(f"a {name} table is announced beside a fixed {name}")
        facts |= {name: None if varying else value, f"{name}_in_header": in_header or not varying}
        announced += [name] * in_header
    facts |= {name: _read_row(bits, bands, facts["resolution"]) for name in announced}
    return SampleRepresentatives(**facts)


# -------------------------------------------------------------------------------- entropy coder metadata


def _write_entropy_coder(bits: BitWriter, coder: EntropyCoder) -> None:
    """Write table 5-13, 5-14 or 5-15."""
    bits.put_fields(coder)
    if isinstance(coder, BlockAdaptive):
        return
    if isinstance(coder, Hybrid):
        bits.put(0, 5)
        return
    initial = coder.accumulator_initialization
    bits.put(initial if isinstance(initial, int) else NO_CONSTANT, 4)
    table = initial if isinstance(initial, tuple) and coder.in_header else None
    bits.put(table is not None, 1)
    _write_rows(bits, None if table is None else (table,), 4)


def _read_entropy_coder(bits: BitReader, bands: int, kind: type[EntropyCoder]) -> EntropyCoder:
    facts = bits.get_fields(kind)
    if kind is not SampleAdaptive:
        if kind is Hybrid:
            bits.get_zeros(5)
        return kind(**facts)
    constant, in_header = bits.get(4), bool(bits.get(1))
    if in_header and constant != NO_CONSTANT:
        bits.refuse("an accumulator initialization table is announced beside a constant")
    initial: int | tuple[int, ...] | None = constant if constant != NO_CONSTANT else None
    return SampleAdaptive(
        accumulator_initialization=_read_row(bits, bands, 4) if in_header else initial,
        in_header=in_header or constant != NO_CONSTANT,
        **facts,
    )
