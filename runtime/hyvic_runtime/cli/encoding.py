"""The command `encode-scene`."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hyvic_runtime.cli.options import (
    add_coded_scene,
    add_key_option,
    engine_of,
    kernels_of,
    on_band_centres,
    refuse_input_as_output,
)
from hyvic_runtime.command_line import Result, command_parser, run_command
from hyvic_runtime.packets.quality import HIGHEST_QUALITY, LOWEST_QUALITY, MAX_QUALITY

if TYPE_CHECKING:
    from hyvic_runtime.flight.rate_search import RateSearch, WrittenStream
    from hyvic_runtime.packets.space_packet import Packetiser
    from hyvic_runtime.scene.scene import Scene


def encode_scene(argv: Sequence[str] | None = None) -> int:
    """Encode a scene file into a file of packets."""
    from hyvic_runtime.packets.space_packet import DEFAULT_APID

    parser = command_parser(
        "encode-scene",
        "Encode a scene into CCSDS Space Packets.",
        "encode-scene scene.npz --bundle hyvic.bundle --out scene.packets",
    )
    add_coded_scene(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="STREAM", help="file of packets to write")
    parser.add_argument(
        "--no-data",
        type=int,
        metavar="V",
        help="value of samples without a measurement, restored exactly (default: the value that the file names)",
    )
    parser.add_argument(
        "--saturated", type=int, metavar="V", help="value of saturated samples, restored exactly (default: none)"
    )
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument(
        "--quality",
        type=float,
        metavar="Q",
        help="0 … 100 from the lowest to the highest rate that the bundle was trained for (default: the middle); "
        f"{LOWEST_QUALITY:g} … {HIGHEST_QUALITY:g} with coarser or finer quantiser steps than trained",
    )
    rate.add_argument(
        "--target-ratio",
        type=float,
        metavar="R",
        help="reach a compression ratio of at least R, and only slightly more; headers count",
    )
    rate.add_argument(
        "--max-bytes", type=int, metavar="B", help="write at most B octets, and only slightly fewer; headers count"
    )
    rate.add_argument(
        "--min-psnr",
        type=float,
        metavar="DB",
        help="reach a PSNR of at least DB over the bundle's peak, found by decoding",
    )
    parser.add_argument(
        "--progressive",
        action="store_true",
        help="send refinements last, part by part; a stream that is cut then shows the whole scene, coarser",
    )
    parser.add_argument(
        "--scene-id", type=int, metavar="ID", help="identifier in every packet (default: a checksum of the scene)"
    )
    parser.add_argument(
        "--time",
        type=_utc,
        metavar="TIME",
        help="time of acquisition, ISO 8601, UTC if no zone is given: 2026-01-01T12:34:56.789",
    )
    parser.add_argument(
        "--apid", type=int, default=DEFAULT_APID, help=f"application process identifier (default: {DEFAULT_APID})"
    )
    parser.add_argument(
        "--health",
        type=Path,
        metavar="FILE",
        help="write a JSON file of tiles, seconds per stage, queue and engine failures, renewed every second",
    )
    add_key_option(parser, "protect every packet with the key of this file (AES-256-GCM)")
    return run_command(parser, argv, _encode_scene)


def _utc(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in ISO 8601") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _encode_scene(arguments: argparse.Namespace) -> Result:
    from tqdm import tqdm

    from hyvic_runtime.codec.health import reported
    from hyvic_runtime.families.registry import encoder_of, read_bundle
    from hyvic_runtime.flight.rate_search import RateSearch
    from hyvic_runtime.packets.protection import read_key
    from hyvic_runtime.scene.files import read_scene
    from hyvic_runtime.support.atomic_file import replacing
    from hyvic_runtime.support.metrics import compression_ratio, rate_bpppb

    _refuse(arguments)
    key = None if arguments.key is None else read_key(arguments.key)
    _packetiser(arguments, key)  # refuse invalid options before any work
    scene = read_scene(arguments.scene)
    if arguments.no_data is not None:
        scene = replace(scene, no_data=arguments.no_data)
    bundle = read_bundle(arguments.bundle)
    refuse_input_as_output(arguments.out, arguments.scene, bundle)
    if arguments.health is not None:
        refuse_input_as_output(arguments.health, arguments.scene, bundle, option="--health")
    scene = on_band_centres(scene, bundle, resample=arguments.resample)
    budget = _budget(arguments, scene)
    encoder = encoder_of(bundle, engine=engine_of(arguments), kernels=kernels_of(arguments))
    grid = encoder.grid(scene)
    begun = time.perf_counter()
    with (
        reported(arguments.health, encoder.health_report) as beat,
        replacing(arguments.out) as (partial,),
        tqdm(total=grid.rows * grid.columns, unit="tile", disable=None) as bar,
    ):
        writer = RateSearch(
            encoder=encoder,
            scene=scene,
            folder=partial.parent,
            saturated=arguments.saturated,
            scene_id=arguments.scene_id,
            packetiser=lambda: _packetiser(arguments, key),
            key=key,
            progressive=arguments.progressive,
            progress=lambda: (bar.update(), beat()),
        )
        stream = _written(writer, arguments, budget)
        assert stream.path is not None, "the search has a folder"
        stream.path.replace(partial)
    seconds = time.perf_counter() - begun
    ratio = compression_ratio(scene.cube.size, scene.bit_depth, stream.octets)
    result = {
        "stream": str(arguments.out),
        "bundle": bundle.identity.hex(),
        "shape": list(scene.cube.shape),
        "tiles": grid.rows * grid.columns,
        "protected": arguments.key is not None,
        "progressive": arguments.progressive,
        "packets": stream.packets,
        "octets": stream.octets,
        "quality": None if bundle.manifest.rates == 1 else stream.quality,
        "budget": budget,
        "psnr_db": stream.psnr_db,
        "attempts": stream.attempts,
        "compression_ratio": ratio,
        "rate_bpppb": rate_bpppb(scene.cube.size, stream.octets),
        "seconds": seconds,
        "msamples_per_s": scene.cube.size / seconds / 1e6,
        "fallbacks": encoder.health.fallback_count,
        "stages": asdict(encoder.times),
    }
    text = (
        f"{arguments.out}: {stream.octets:,} octets in {stream.packets} packets, CR {ratio:.1f}, "
        f"{result['msamples_per_s']:.1f} MSamples/s"
    )
    if encoder.health.fallback_count:
        text += f"; the engine failed on {encoder.health.fallback_count} tiles, which were coded exactly without it"
    if budget is not None:
        text += f"; {stream.octets / budget:.1%} of {budget:,} octets, at quality {stream.quality:g}"
        if stream.quality == HIGHEST_QUALITY:
            text += ", the bundle's highest rate"
        elif not 0 <= stream.quality <= MAX_QUALITY:
            text += f", {'coarser' if stream.quality < 0 else 'finer'} than the bundle was trained for"
    if stream.psnr_db is not None:
        text += f"; {stream.psnr_db:.2f} dB, at quality {stream.quality:g}"
    return result, text


def _refuse(arguments: argparse.Namespace) -> None:
    """Refuse options that are invalid for every scene and bundle, before any work."""
    if arguments.scene_id is not None and not 0 <= arguments.scene_id < 2**32:
        raise ValueError(f"scene id {arguments.scene_id} is outside 0..{2**32 - 1}")
    if arguments.saturated is not None and arguments.resample:
        raise ValueError(
            "--saturated marks samples of the sensor's bands, and --resample mixes neighbouring bands: pass only one"
        )
    if arguments.min_psnr is not None and not math.isfinite(arguments.min_psnr):
        raise ValueError(f"--min-psnr is {arguments.min_psnr:g} dB; a finite number is needed")
    if arguments.health is not None and arguments.health.resolve() == arguments.out.resolve():
        raise ValueError(f"--health and --out both name {arguments.out}; name two different files")


def _packetiser(arguments: argparse.Namespace, key: bytes | None) -> Packetiser:
    from hyvic_runtime.packets.protection import PacketProtector
    from hyvic_runtime.packets.space_packet import TIME_EPOCH, Packetiser

    made = TIME_EPOCH if arguments.time is None else arguments.time
    return Packetiser(
        apid=arguments.apid,
        packet_octets=arguments.packet_octets,
        clock=lambda: made,
        protector=None if key is None else PacketProtector(key),
    )


def _written(writer: RateSearch, arguments: argparse.Namespace, budget: int | None) -> WrittenStream:
    """Write the stream that the options ask for."""
    if budget is not None:
        return writer.within(budget)
    if arguments.min_psnr is not None:
        from hyvic_runtime.families.registry import decoder_of

        decoder = decoder_of(writer.encoder.bundle, engine_of(arguments), kernels=kernels_of(arguments))
        return writer.of_fidelity(arguments.min_psnr, decoder)
    return writer.at_quality(arguments.quality)


def _budget(arguments: argparse.Namespace, scene: Scene) -> int | None:
    """Return the largest allowed length of the stream in octets, or None without a budget."""
    octets: int | None = arguments.max_bytes
    ratio: float | None = arguments.target_ratio
    if ratio is not None:
        if not ratio > 0 or not math.isfinite(scene.cube.nbytes / ratio):
            raise ValueError(f"the compression ratio is {ratio:g}; give a ratio of 1 or more")
        octets = int(scene.cube.nbytes / ratio)
    if octets is not None and octets < 1:
        raise ValueError(f"the budget is {octets} octets; a packet needs more")
    return octets
