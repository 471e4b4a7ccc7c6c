"""`decode-packets`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from hyvic_runtime.cli.options import add_engine_option, add_key_option, engine_of, refuse_input_as_output
from hyvic_runtime.command_line import Result, command_parser, run_command
from hyvic_runtime.errors import DecodeError


def decode_packets(argv: Sequence[str] | None = None) -> int:
    """Packet file to scene file."""
    parser = command_parser(
        "decode-packets",
        "Reconstruct a scene from its packets.",
        "decode-packets scene.packets --bundle hyvic.bundle --out decoded.tif",
    )
    parser.add_argument("stream", type=Path, metavar="STREAM", help="file of packets")
    parser.add_argument("--bundle", type=Path, required=True, help="the bundle that encoded it")
    add_engine_option(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="SCENE", help=".npz .npy .hdr .tif .h5 or .mat")
    parser.add_argument(
        "--conceal",
        action="store_true",
        help="write what arrived even if tiles were lost, and OUT.quality.npy beside it: "
        "3 exact, 2 exact but for a neighbour, 1 predicted means, 0 lost",
    )
    add_key_option(parser, "accept no packet but those protected with the key of this file")
    return run_command(parser, argv, _decode_packets)


def _decode_packets(arguments: argparse.Namespace) -> Result:
    import numpy as np
    from tqdm import tqdm

    from hyvic_runtime.atomic_file import replacing
    from hyvic_runtime.bundle import read_bundle
    from hyvic_runtime.decoder import Quality, SceneDecoder
    from hyvic_runtime.packet_security import read_key
    from hyvic_runtime.scene_files import check_writable_format, write_scene

    check_writable_format(arguments.out)
    key = None if arguments.key is None else read_key(arguments.key)
    try:
        stream = arguments.stream.read_bytes()
    except OSError as error:
        raise DecodeError(f"{arguments.stream}: cannot be read ({error.strerror})") from error
    bundle = read_bundle(arguments.bundle)
    refuse_input_as_output(arguments.out, arguments.stream, bundle)
    decoder = SceneDecoder(bundle, engine=engine_of(arguments))
    begun = time.perf_counter()
    with tqdm(unit="tile", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        try:
            decoded = decoder.decode(stream, conceal=arguments.conceal, key=key, progress=progress)
        except DecodeError as error:
            raise DecodeError(f"{arguments.stream}: {error}") from error
    seconds = time.perf_counter() - begun
    shares = {quality.name.lower(): float(np.mean(decoded.quality == quality)) for quality in Quality}
    quality_map = arguments.out.with_name(f"{arguments.out.name}.quality.npy")
    if arguments.conceal:
        with replacing(quality_map) as (partial,):  # before the picture, which must not stand without it
            np.save(partial, decoded.quality)
    write_scene(decoded.scene, arguments.out)
    if not arguments.conceal:
        quality_map.unlink(missing_ok=True)  # of the picture that stood here before
    result = {
        "scene": str(arguments.out),
        "shape": list(decoded.scene.cube.shape),
        "quality": shares,
        "damage": [asdict(damage) for damage in decoded.damage],
        "refused": decoded.refused,
        "seconds": seconds,
        "msamples_per_s": decoded.scene.cube.size / seconds / 1e6,
        "stages": asdict(decoder.times),
    }
    text = (
        f"{arguments.out}: {' × '.join(map(str, decoded.scene.cube.shape))}, {result['msamples_per_s']:.1f} MSamples/s"
    )
    if shares["exact"] < 1:
        text += f"; {shares['lost']:.1%} lost, {shares['means']:.1%} predicted, {shares['affected']:.1%} beside them: "
        text += str(quality_map)
    text += "".join(f"; {count} packets refused as {refusal.value}" for refusal, count in decoded.refused.items())
    return result, text
