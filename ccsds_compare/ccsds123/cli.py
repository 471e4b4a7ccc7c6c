"""`ccsds123`: encode, decode and inspect images by CCSDS 123.0-B-2."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyvic_runtime.command_line import Result, command_parser, run_command
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.support.atomic_file import replacing

if TYPE_CHECKING:
    from ccsds123.parameters import ImageShape


def main(argv: Sequence[str] | None = None) -> int:
    """Encode, decode and inspect CCSDS 123.0-B-2 images; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = command_parser(
        "ccsds123",
        "Compress images losslessly or near-losslessly by CCSDS 123.0-B-2. IMAGE.raw is band-sequential and "
        "big-endian, two octets a sample, or four where D > 16; P.json describes it (`image`) and says how "
        "(`parameters`), in the book's symbols.",
        "ccsds123 encode image.raw --params p.json --out image.c123",
        "ccsds123 decode image.c123 --out image.raw",
        "ccsds123 inspect image.c123",
    )
    commands = parser.add_subparsers(required=True, metavar="encode|decode|inspect")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        options = commands.add_parser(name, help=text, description=text)
        options.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object on stdout"
        )
        return options

    encode = command("encode", "raw image to compressed image")
    encode.add_argument("image", type=Path, metavar="IMAGE.raw")
    encode.add_argument("--params", type=Path, required=True, metavar="P.json", help="image and parameters")
    encode.add_argument("--out", type=Path, required=True, metavar="F.c123", help="file to write")
    encode.set_defaults(command=_encode)
    decode = command("decode", "compressed image to raw image")
    decode.add_argument("stream", type=Path, metavar="F.c123")
    decode.add_argument("--out", type=Path, required=True, metavar="IMAGE.raw", help="file to write")
    decode.add_argument(
        "--params", type=Path, metavar="P.json", help="parameters with the tables that the header leaves out"
    )
    decode.set_defaults(command=_decode)
    inspect = command("inspect", "print a compressed image's header in words")
    inspect.add_argument("stream", type=Path, metavar="F.c123")
    inspect.set_defaults(command=_inspect)
    return run_command(parser, argv, lambda arguments: arguments.command(arguments), extra="compare")


def _encode(arguments: argparse.Namespace) -> Result:
    from ccsds123.codec import compress
    from ccsds123.parameter_files import header_from_file
    from ccsds123.raw_image import cube_from_raw

    _refuse_input_as_output(arguments.out, arguments.image, arguments.params)
    header = header_from_file(arguments.params)
    try:
        cube = cube_from_raw(_read(arguments.image), header.shape, header.parameters)
        begun = time.perf_counter()
        octets = compress(cube, header.parameters)
    except ValueError as error:
        raise ValueError(f"{arguments.image}: {error}") from error
    seconds = time.perf_counter() - begun
    with replacing(arguments.out) as (partial,):
        partial.write_bytes(octets)
    result = {
        "stream": str(arguments.out),
        "shape": _shape(header.shape),
        "octets": len(octets),
        "bits_per_sample": 8 * len(octets) / cube.size,
        "compression_ratio": cube.size * header.parameters.dynamic_range / (8 * len(octets)),
        "seconds": seconds,
        "msamples_per_s": cube.size / seconds / 1e6,
    }
    return result, (
        f"{arguments.out}: {len(octets):,} octets, {result['bits_per_sample']:.3f} bits per sample, "
        f"CR {result['compression_ratio']:.2f}"
    )


def _decode(arguments: argparse.Namespace) -> Result:
    from ccsds123.codec import decompress
    from ccsds123.header import read_header
    from ccsds123.parameter_files import header_from_file
    from ccsds123.raw_image import raw_from_cube

    known = None if arguments.params is None else header_from_file(arguments.params).parameters
    _refuse_input_as_output(arguments.out, arguments.stream, arguments.params)
    octets = _read(arguments.stream)
    try:
        header, _ = read_header(octets)
        begun = time.perf_counter()
        cube = decompress(octets, known)
    except (DecodeError, ValueError) as error:
        raise DecodeError(f"{arguments.stream}: {error}") from error
    seconds = time.perf_counter() - begun
    with replacing(arguments.out) as (partial,):
        partial.write_bytes(raw_from_cube(cube, header.parameters))
    result = {
        "image": str(arguments.out),
        "shape": _shape(header.shape),
        "seconds": seconds,
        "msamples_per_s": cube.size / seconds / 1e6,
    }
    return result, f"{arguments.out}: {' × '.join(map(str, cube.shape))} (line, sample, band)"


def _inspect(arguments: argparse.Namespace) -> Result:
    from ccsds123.description import describe
    from ccsds123.header import read_header
    from ccsds123.parameter_files import json_from_header

    octets = _read(arguments.stream)
    try:
        header, begin = read_header(octets)
    except DecodeError as error:
        raise DecodeError(f"{arguments.stream}: {error}") from error
    result = json_from_header(header)
    result |= {"header_octets": begin, "body_octets": len(octets) - begin}
    return result, f"{describe(header)}\nheader and body  {begin} and {len(octets) - begin:,} octets"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DecodeError(f"{path}: cannot be read ({error.strerror})") from error


def _refuse_input_as_output(out: Path, *inputs: Path | None) -> None:
    if any(path is not None and path.resolve() == out.resolve() for path in inputs):
        raise ValueError(f"--out {out} is an input; name another file")


def _shape(shape: ImageShape) -> list[int]:
    return [shape.lines, shape.samples, shape.bands]
