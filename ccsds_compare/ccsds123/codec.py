"""Cubes to CCSDS 123.0-B-2 compressed images and back.

cube ─▶ predictor, quantizer, mapping ─▶ δ ─▶ encoding order ─▶ entropy coder ─▶ header + body + fill
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from types import ModuleType
from typing import Any

import numpy as np
from hyvic_runtime.errors import DecodeError
from numpy.typing import NDArray

from ccsds123 import block_adaptive, hybrid, sample_adaptive
from ccsds123.encoding_order import (
    encoding_loops,
    limits_from_values,
    mapped_from_sequence,
    sequence_from_mapped,
    values_from_limits,
)
from ccsds123.entropy_coders import BlockAdaptive, EntropyCoder, Hybrid, SampleAdaptive
from ccsds123.header import Header, read_header, write_header
from ccsds123.parameters import ImageShape, Parameters
from ccsds123.predictor import map_samples, unmap_samples
from ccsds123.violations import ParameterError, Violations

Cube = NDArray[np.integer[Any]]

_CODERS: Mapping[type[EntropyCoder], ModuleType] = {
    SampleAdaptive: sample_adaptive,
    Hybrid: hybrid,
    BlockAdaptive: block_adaptive,
}
"""Module whose `encode` and `decode` make and read the body."""
_TABLES = {
    "predictor.weight_initialization.vectors": "weight initialization",
    "predictor.weight_exponent_offsets.values": "weight exponent offset",
    "sample_representatives.damping": "damping",
    "sample_representatives.offset": "offset",
    "entropy_coder.accumulator_initialization": "accumulator initialization",
}
"""Tables that a header may leave out: where they are in the parameters, with None for one left out, and their names."""
_RESOLUTIONS = {"predictor.weight_initialization": ("Q", "5.3.3.2"), "sample_representatives": ("Θ", "5.3.3.5")}
"""Parts whose `resolution` gives the range of their tables: its symbol and clause."""


def compress(cube: Cube, parameters: Parameters) -> bytes:
    """Return a complete compressed image, header and body.

    Args:
        cube: integers of any width and byte order within the range of D, (line, sample, band).
        parameters: settings of the standard.

    Raises:
        ParameterError: the cube or its shape does not fit the parameters.
    """
    shape = shape_of(cube)
    header = write_header(Header(shape=shape, parameters=parameters))
    _need_tables(parameters)
    if parameters.error_limits is not None and not all(limit.values for limit in parameters.error_limits.present):
        raise ParameterError("periodic error limits have no values; give one row an update period (4.8.2.4)")
    low, high, _ = parameters.sample_limits
    smallest, largest = int(cube.min()), int(cube.max())
    if smallest < low or largest > high:
        raise ParameterError(f"samples are {smallest}..{largest}, outside {low}..{high} of D and sample type (3.3.2)")
    mapped = map_samples(cube, parameters)
    sequence = sequence_from_mapped(mapped, parameters.interleaving_depth)
    loops = encoding_loops(shape, parameters)
    limits = values_from_limits(parameters.error_limits, loops)
    coder = parameters.entropy_coder
    body: bytes = _CODERS[type(coder)].encode(sequence, loops, coder, parameters.dynamic_range, limits)
    return header + body + bytes(-(len(header) + len(body)) % parameters.output_word_size)


def decompress(octets: bytes, known: Parameters | None = None) -> Cube:
    """Return the image in a compressed image, (line, sample, band); lossy samples are bin centres (4.9.2, note 1).

    The header may announce a larger image than the octets could hold, which is refused before memory is taken. An octet
    of the body holds at most 8 samples of the sample-adaptive coder and 2048 of the hybrid coder. It holds 64 · 8 · J/7
    to 64 · 8 · J/11 samples of the block-adaptive coder. With J = 64, these are 4681 for D ≤ 2 and 3277 for 16
    bits. So a file of n octets from an unknown sender may ask for memory for that many times n samples.

    Args:
        octets: a complete compressed image.
        known: parameters that hold the tables that the header leaves out because both sides know them; nothing else
            in them counts.

    Returns:
        A cube of the smallest type from int8, uint8, … uint32 that holds D bits of the sample type.

    Raises:
        DecodeError: the octets are not a compressed image, or are damaged.
        ParameterError: a table is left out and not in `known`, or the table there does not fit the header.
    """
    octets = bytes(octets)  # also of a bytearray or memoryview
    header, begin = read_header(octets)
    parameters, shape = _with_known_tables(header.parameters, known, header.shape), header.shape
    if len(octets) % parameters.output_word_size:
        raise DecodeError(
            f"{len(octets)} octets are not a whole number of words of {parameters.output_word_size}; the end is missing"
        )
    body = octets[begin:]
    loops = encoding_loops(shape, parameters)
    coder = parameters.entropy_coder
    try:
        sequence, limits, bits = _CODERS[type(coder)].decode(body, loops, coder, parameters.dynamic_range)
        _check_fill(body, bits, parameters.output_word_size)
        if parameters.error_limits is not None and len(loops.limit_widths):
            found = limits_from_values(parameters.error_limits, limits, shape.bands)
            parameters = replace(parameters, error_limits=found)
        samples = unmap_samples(mapped_from_sequence(sequence, shape, parameters.interleaving_depth), parameters)
    except MemoryError as error:
        raise DecodeError(
            f"the header announces {shape.size} samples, more than this machine's memory holds"
        ) from error
    return samples.astype(sample_dtype(parameters))


def shape_of(cube: Cube) -> ImageShape:
    """Return the dimensions of a cube (line, sample, band)."""
    if cube.ndim != 3 or cube.dtype.kind not in "iu":
        raise ParameterError(f"an image is a cube of integers (3.2.1), not {cube.dtype} of {cube.ndim} dimensions")
    lines, samples, bands = cube.shape
    return ImageShape(lines=lines, samples=samples, bands=bands)


def sample_dtype(parameters: Parameters) -> np.dtype[np.integer[Any]]:
    """Return the smallest type for samples of D bits."""
    octets = next(size for size in (1, 2, 4) if parameters.dynamic_range <= 8 * size)
    return np.dtype(f"{'i' if parameters.signed else 'u'}{octets}")


def _check_fill(body: bytes, bits: int, word_size: int) -> None:
    """Check that zeros fill the last word and nothing follows: 5.4.3.2.4.4, 5.4.3.3.5.4.5 and 5.4.3.4.3.2."""
    used = -(-bits // 8)
    left = len(body) - used
    if left >= word_size or any(body[used:]) or (bits % 8 and body[used - 1] & (0xFF >> bits % 8)):
        raise DecodeError(f"{left} octets after the last sample are more than fill; the file is damaged")


def _at(record: Any, path: str) -> Any:
    """Return what names lead to, 0 where a name leads nowhere."""
    return reduce(lambda part, name: getattr(part, name, 0), path.split("."), record)


def _replaced(record: Any, path: str, value: object) -> Any:
    """Return a record with another value where names lead to."""
    name, _, rest = path.partition(".")
    return replace(record, **{name: _replaced(getattr(record, name), rest, value) if rest else value})


def _need_tables(parameters: Parameters) -> None:
    """Refuse parameters that name a table and do not hold it."""
    missing = [name for path, name in _TABLES.items() if _at(parameters, path) is None]
    if missing:
        raise ParameterError(
            f"the {' and the '.join(missing)} table is not in the header; pass parameters that hold it"
        )


def _with_known_tables(parameters: Parameters, known: Parameters | None, shape: ImageShape) -> Parameters:
    """Return the parameters of a header, with the tables that it leaves out, and nothing else, taken from `known`.

    A single value for all bands is not a table, because the header itself would hold it.
    """
    given = {path: _at(known, path) for path in _TABLES if _at(parameters, path) is None}
    tables = {path: table for path, table in given.items() if isinstance(table, tuple)}
    wrong = Violations()
    for part, (symbol, clause) in _RESOLUTIONS.items():
        if any(path.startswith(part) for path in tables):
            own, other = (_at(each, f"{part}.resolution") for each in (parameters, known))
            wrong.differs(symbol, other, own, clause)
    wrong.complain()  # before the ranges of the tables are judged by a resolution that does not belong to them
    for path, table in tables.items():
        parameters = _replaced(parameters, path, table)
    parameters.check_shape(shape)
    _need_tables(parameters)
    return parameters
