"""`encode-scene`, `decode-packets`, `simulate-downlink` and `verify-bundle`."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hyvic_runtime.command_line import Result, command_parser, run_command
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.rate_gains import MAX_QUALITY

if TYPE_CHECKING:
    from hyvic_runtime.bundle import Bundle
    from hyvic_runtime.channel import Contact, Outage
    from hyvic_runtime.engine_choice import EngineKind
    from hyvic_runtime.scene import Scene

MAX_BAND_SHIFT_NM = 5.0
"""About half an EnMAP band: farther off, a spectrum means something else to the model."""


def encode_scene(argv: Sequence[str] | None = None) -> int:
    """Scene file to packet file."""
    from hyvic_runtime.space_packet import DEFAULT_APID, DEFAULT_PACKET_OCTETS

    parser = command_parser(
        "encode-scene",
        "Encode a scene into CCSDS Space Packets.",
        "encode-scene scene.npz --bundle hyvic.bundle --out scene.packets",
    )
    _add_coded_scene(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="STREAM", help="file of packets to write")
    parser.add_argument(
        "--no-data",
        type=int,
        metavar="V",
        help="samples of this value hold no measurement; they come back exactly (default: what the file says)",
    )
    parser.add_argument(
        "--saturated", type=int, metavar="V", help="samples of this value had too much light; they come back exactly"
    )
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument(
        "--quality",
        type=float,
        metavar="Q",
        help="0 … 100 from the bundle's lowest to its highest rate (default: the middle)",
    )
    rate.add_argument(
        "--target-ratio", type=float, metavar="R", help="compress by at least R, headers included, and hardly more"
    )
    rate.add_argument("--max-bytes", type=int, metavar="B", help="take at most B octets, and hardly fewer")
    rate.add_argument(
        "--min-psnr",
        type=float,
        metavar="DB",
        help="take what this PSNR over the bundle's range needs, found by decoding",
    )
    parser.add_argument(
        "--scene-id", type=int, metavar="ID", help="identifier in every packet (default: from the scene)"
    )
    parser.add_argument(
        "--time",
        type=_utc,
        metavar="TIME",
        help="when it was acquired, ISO 8601, UTC where no zone is given: 2026-01-01T12:34:56.789",
    )
    parser.add_argument("--apid", type=int, default=DEFAULT_APID, help=f"application process (default: {DEFAULT_APID})")
    parser.add_argument(
        "--packet-octets",
        type=int,
        default=DEFAULT_PACKET_OCTETS,
        metavar="N",
        help=f"largest packet, headers included (default: {DEFAULT_PACKET_OCTETS})",
    )
    _add_key_option(parser, "protect every packet with the key of this file (AES-256-GCM)")
    return run_command(parser, argv, _encode_scene)


def _add_key_option(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help=f"{what}: 32 random octets, readable by its owner alone"
    )


def _utc(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time of ISO 8601") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _encode_scene(arguments: argparse.Namespace) -> Result:
    from tqdm import tqdm

    from hyvic_runtime.atomic_file import replacing
    from hyvic_runtime.bundle import read_bundle
    from hyvic_runtime.encoder import SceneEncoder
    from hyvic_runtime.metrics import compression_ratio, rate_bpppb
    from hyvic_runtime.packet_security import PacketProtector, read_key
    from hyvic_runtime.scene_files import read_scene
    from hyvic_runtime.scene_stream import StreamWriter
    from hyvic_runtime.space_packet import TIME_EPOCH, Packetiser

    made = TIME_EPOCH if arguments.time is None else arguments.time
    key = None if arguments.key is None else read_key(arguments.key)

    def packetiser() -> Packetiser:
        return Packetiser(
            apid=arguments.apid,
            packet_octets=arguments.packet_octets,
            clock=lambda: made,
            protector=None if key is None else PacketProtector(key),
        )

    packetiser()  # refuses before any work
    if arguments.scene_id is not None and not 0 <= arguments.scene_id < 2**32:
        raise ValueError(f"scene id {arguments.scene_id} is outside 0..{2**32 - 1}")
    if arguments.saturated is not None and arguments.resample:
        raise ValueError(
            "--saturated is a value of the sensor's own bands, which --resample mixes with their neighbours: choose one"
        )
    scene = read_scene(arguments.scene)
    if arguments.no_data is not None:
        scene = replace(scene, no_data=arguments.no_data)
    bundle = read_bundle(arguments.bundle)
    _refuse_input_as_output(arguments.out, arguments.scene, bundle)
    scene = _on_band_centres(scene, bundle, resample=arguments.resample)
    budget = _budget(arguments, scene)
    encoder = SceneEncoder(bundle, engine=_engine(arguments))
    grid = encoder.grid(scene)
    begun = time.perf_counter()
    with (
        replacing(arguments.out) as (partial,),
        tqdm(total=grid.rows * grid.columns, unit="tile", disable=None) as bar,
    ):
        writer = StreamWriter(
            encoder=encoder,
            scene=scene,
            folder=partial.parent,
            saturated=arguments.saturated,
            scene_id=arguments.scene_id,
            packetiser=packetiser,
            key=key,
            progress=bar.update,
        )
        if budget is not None:
            stream = writer.within(budget)
        elif arguments.min_psnr is not None:
            if not math.isfinite(arguments.min_psnr):
                raise ValueError(f"a PSNR of {arguments.min_psnr:g} dB is none to ask for")
            from hyvic_runtime.decoder import SceneDecoder

            stream = writer.of_fidelity(arguments.min_psnr, SceneDecoder(bundle, engine=_engine(arguments)))
        else:
            stream = writer.at_quality(arguments.quality)
        stream.path.replace(partial)
    seconds = time.perf_counter() - begun
    ratio = compression_ratio(scene.cube.size, scene.bit_depth, stream.octets)
    result = {
        "stream": str(arguments.out),
        "bundle": bundle.identity.hex(),
        "shape": list(scene.cube.shape),
        "tiles": grid.rows * grid.columns,
        "protected": arguments.key is not None,
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
        "stages": asdict(encoder.times),
    }
    text = (
        f"{arguments.out}: {stream.octets:,} octets in {stream.packets} packets, CR {ratio:.1f}, "
        f"{result['msamples_per_s']:.1f} MSamples/s"
    )
    if budget is not None:
        text += f"; {stream.octets / budget:.1%} of {budget:,} octets, at quality {stream.quality:g}"
        if stream.quality == MAX_QUALITY:
            text += ", the bundle's highest rate"
    if stream.psnr_db is not None:
        text += f"; {stream.psnr_db:.2f} dB, at quality {stream.quality:g}"
    return result, text


def _budget(arguments: argparse.Namespace, scene: Scene) -> int | None:
    """Octets that the stream may take."""
    octets: int | None = arguments.max_bytes
    ratio: float | None = arguments.target_ratio
    if ratio is not None:
        if not ratio > 0 or not math.isfinite(scene.cube.nbytes / ratio):
            raise ValueError(f"a compression ratio of {ratio:g} is none; name one of 1 or more")
        octets = int(scene.cube.nbytes / ratio)
    if octets is not None and octets < 1:
        raise ValueError(f"a budget of {octets} octets holds no packet")
    return octets


def _add_coded_scene(parser: argparse.ArgumentParser) -> None:
    """A scene, what codes it, and how it gets there."""
    parser.add_argument("scene", type=Path, metavar="SCENE", help=".npz .npy .hdr .tif .h5 .he5 or .mat")
    parser.add_argument("--bundle", type=Path, required=True, help="what export-engine wrote")
    _add_engine_option(parser)
    parser.add_argument(
        "--resample", action="store_true", help="interpolate the scene to the bundle's band centres first"
    )


def _add_engine_option(parser: argparse.ArgumentParser) -> None:
    from hyvic_runtime.engine_choice import EngineKind

    parser.add_argument(
        "--engine",
        choices=[kind.value for kind in EngineKind],
        help="what runs the graphs (default: what the bundle was compiled for, else onnxruntime)",
    )


def _engine(arguments: argparse.Namespace) -> EngineKind | None:
    from hyvic_runtime.engine_choice import EngineKind

    return None if arguments.engine is None else EngineKind(arguments.engine)


def _refuse_input_as_output(out: Path, source: Path, bundle: Bundle) -> None:
    inputs = [source]
    if source.suffix.lower() == ".hdr":
        inputs += source.parent.glob(f"{source.stem}.*")  # ENVI keeps the samples beside the header
    if out.resolve() in (path.resolve() for path in inputs):
        raise ValueError(f"--out {out} is what {source} is read from; name another file")
    if bundle.folder.resolve() in (out.resolve(), *out.resolve().parents):
        raise ValueError(f"--out {out} lies in the bundle; name another place")


def _on_band_centres(scene: Scene, bundle: Bundle, *, resample: bool) -> Scene:
    """The scene on the bundle's band centres, or a refusal where it is known not to be."""
    import numpy as np

    from hyvic_runtime.errors import SceneError
    from hyvic_runtime.scene import resample_bands

    if bundle.manifest.wavelengths is None:
        if resample:
            raise SceneError(
                "the bundle names no band centres, so nothing can be resampled to it; leave out --resample"
            )
        return scene
    wanted = np.array(bundle.manifest.wavelengths)
    if resample:
        return resample_bands(scene, wanted)
    if scene.wavelengths is not None and scene.wavelengths.shape == wanted.shape:
        off = float(np.abs(scene.wavelengths - wanted).max())
        if off > MAX_BAND_SHIFT_NM:
            raise SceneError(f"the scene's band centres are up to {off:.0f} nm from the bundle's; pass --resample")
    return scene


def decode_packets(argv: Sequence[str] | None = None) -> int:
    """Packet file to scene file."""
    parser = command_parser(
        "decode-packets",
        "Reconstruct a scene from its packets.",
        "decode-packets scene.packets --bundle hyvic.bundle --out decoded.tif",
    )
    parser.add_argument("stream", type=Path, metavar="STREAM", help="file of packets")
    parser.add_argument("--bundle", type=Path, required=True, help="the bundle that encoded it")
    _add_engine_option(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="SCENE", help=".npz .npy .hdr .tif .h5 or .mat")
    parser.add_argument(
        "--conceal",
        action="store_true",
        help="write what arrived even if tiles were lost, and OUT.quality.npy beside it: "
        "3 exact, 2 exact but for a neighbour, 1 predicted means, 0 lost",
    )
    _add_key_option(parser, "accept no packet but those protected with the key of this file")
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
    _refuse_input_as_output(arguments.out, arguments.stream, bundle)
    decoder = SceneDecoder(bundle, engine=_engine(arguments))
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


def simulate_downlink(argv: Sequence[str] | None = None) -> int:
    """What a downlink does to a scene."""
    from hyvic_runtime.downlink_simulation import ENMAP_LINE_RATE
    from hyvic_runtime.space_packet import DEFAULT_PACKET_OCTETS
    from hyvic_runtime.transport import Transport

    parser = command_parser(
        "simulate-downlink",
        "Send a scene from the sensor at its line rate through encoder, channel and decoder, in simulated time, and "
        "report what arrived, when, and how good it is. One seed gives one report.",
        "simulate-downlink scene.npz --bundle hyvic.bundle --packet-loss 0.01 --mean-burst 5 --report report/",
        "simulate-downlink scene.npz --bundle hyvic.bundle --contact 60:300:2000000 --outage 90:10 --report report/",
    )
    _add_coded_scene(parser)
    parser.add_argument("--report", type=Path, required=True, metavar="DIR", help="folder to write, or to replace")
    parser.add_argument("--quality", type=float, metavar="Q", help="of the encoder, 0 … 100 (default: the middle)")
    parser.add_argument(
        "--packet-octets",
        type=int,
        default=DEFAULT_PACKET_OCTETS,
        metavar="N",
        help=f"largest packet, headers included (default: {DEFAULT_PACKET_OCTETS})",
    )
    sender = parser.add_argument_group("on board")
    sender.add_argument(
        "--line-rate",
        type=float,
        default=ENMAP_LINE_RATE,
        metavar="R",
        help=f"lines the sensor takes a second (default: EnMAP's {ENMAP_LINE_RATE:g})",
    )
    sender.add_argument(
        "--encoder-speed", type=float, metavar="M", help="MSamples/s of the encoder (default: it takes no time)"
    )
    channel = parser.add_argument_group("channel")
    channel.add_argument(
        "--packet-loss", type=float, default=0.0, metavar="P", help="share of packets lost, 0 … 1 (default: 0)"
    )
    channel.add_argument(
        "--mean-burst",
        type=float,
        metavar="L",
        help="mean length of a run of lost packets (default: losses are independent)",
    )
    channel.add_argument(
        "--bit-error-rate", type=float, default=0.0, metavar="P", help="probability of an inverted bit (default: 0)"
    )
    channel.add_argument(
        "--reorder", type=int, default=0, metavar="N", help="packets arrive up to N places late (default: 0)"
    )
    channel.add_argument(
        "--outage",
        type=_outage,
        action="append",
        default=[],
        metavar="START:SECONDS",
        help="all is lost; may be repeated",
    )
    channel.add_argument(
        "--contact",
        type=_contact,
        action="append",
        default=[],
        metavar="START:SECONDS:OCTETS",
        help="when packets can be sent, and how many octets; may be repeated (default: always, without limit)",
    )
    channel.add_argument(
        "--transport",
        choices=[way.value for way in Transport],
        default=Transport.MEMORY.value,
        help="how packets reach the decoder; udp stays on this machine (default: memory)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of everything random (default: 0)")
    return run_command(parser, argv, _simulate_downlink, extra="simulate")


def _outage(text: str) -> Outage:
    from hyvic_runtime.channel import Outage

    try:
        start, seconds = text.split(":")
        return Outage(start_s=float(start), seconds=float(seconds))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no START:SECONDS ({error})") from error


def _contact(text: str) -> Contact:
    from hyvic_runtime.channel import Contact

    try:
        start, seconds, octets = text.split(":")
        return Contact(start_s=float(start), seconds=float(seconds), octets=int(octets))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no START:SECONDS:OCTETS ({error})") from error


def _simulate_downlink(arguments: argparse.Namespace) -> Result:
    import matplotlib.figure  # noqa: F401 - its lack is told before the work, not after
    from tqdm import tqdm

    from hyvic_runtime.bundle import read_bundle
    from hyvic_runtime.channel import Channel, Fate
    from hyvic_runtime.decoder import SceneDecoder
    from hyvic_runtime.downlink_report import write_downlink_report
    from hyvic_runtime.downlink_simulation import DownlinkSimulator, Settings
    from hyvic_runtime.encoder import SceneEncoder
    from hyvic_runtime.scene_files import read_scene
    from hyvic_runtime.transport import Transport

    settings = Settings(
        channel=Channel(
            packet_loss=arguments.packet_loss,
            mean_burst=arguments.mean_burst,
            bit_error_rate=arguments.bit_error_rate,
            reorder=arguments.reorder,
            outages=tuple(arguments.outage),
            contacts=tuple(sorted(arguments.contact, key=lambda contact: contact.start_s)),
        ),
        seed=arguments.seed,
        line_rate=arguments.line_rate,
        encoder_msamples_per_s=arguments.encoder_speed,
        quality=arguments.quality,
        packet_octets=arguments.packet_octets,
        transport=Transport(arguments.transport),
    )
    scene = read_scene(arguments.scene)
    bundle = read_bundle(arguments.bundle)
    _refuse_input_as_output(arguments.report, arguments.scene, bundle)
    scene = _on_band_centres(scene, bundle, resample=arguments.resample)
    engine = _engine(arguments)
    simulator = DownlinkSimulator(scene, SceneEncoder(bundle, engine=engine), SceneDecoder(bundle, engine=engine))
    with tqdm(total=simulator.steps, unit="step", disable=None) as bar:
        simulation = simulator.simulate(settings, bar.update)
    write_downlink_report(
        arguments.report, name=arguments.scene.stem, scene=scene, settings=settings, simulation=simulation
    )
    arrived, hit = simulation.fates[Fate.ARRIVED.value], len(simulation.hit_tiles)
    result = {
        "report": str(arguments.report),
        "bundle": bundle.identity.hex(),
        "packets": simulation.packets,
        "octets": simulation.octets,
        "compression_ratio": simulation.ratio,
        "fates": simulation.fates,
        "tiles": simulation.tiles,
        "hit_tiles": hit,
        "unhit_exact": simulation.unhit_exact,
        "received": asdict(simulation.received),
        "psnr_db_without_loss": simulation.without_loss.psnr_db,
        "latency": asdict(simulation.latency),
        "largest_backlog_octets": max(simulation.series.backlog_octets),
        "problem": simulation.problem,
    }
    text = (
        f"{arguments.report}: {arrived} of {simulation.packets} packets arrived whole, {hit} of {simulation.tiles} "
        "tiles hit"
    )
    if simulation.problem is not None:
        text += f"; nothing was reconstructed: {simulation.problem}"
    elif simulation.received.psnr_db is not None:
        text += f", PSNR {simulation.received.psnr_db:.2f} dB"
    return result, text


def verify_bundle(argv: Sequence[str] | None = None) -> int:
    """Check a bundle's files, and that the engine at hand runs it exactly."""
    parser = command_parser(
        "verify-bundle",
        "Check every octet of a bundle, and that this machine's engine computes its entropy path exactly.",
        "verify-bundle hyvic.bundle",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    _add_engine_option(parser)
    return run_command(parser, argv, _verify_bundle)


def _verify_bundle(arguments: argparse.Namespace) -> Result:
    from hyvic_runtime.bundle import DECODER, ENCODER, EXPECTED_OUTPUTS, HYPERDECODER, read_bundle
    from hyvic_runtime.conformance import check_coder, check_decoder, check_encoder, check_hyperdecoder
    from hyvic_runtime.engine_choice import load_engine
    from hyvic_runtime.entropy_coder import EntropyCoder
    from hyvic_runtime.expected_outputs import check_expected_outputs

    bundle = read_bundle(arguments.bundle)
    encoder, hyperdecoder, decoder = (
        load_engine(bundle, graph, _engine(arguments)) for graph in (ENCODER, HYPERDECODER, DECODER)
    )
    check_hyperdecoder(bundle, hyperdecoder)
    check_encoder(bundle, encoder, hyperdecoder)
    check_decoder(bundle, decoder)
    expected = None
    if EXPECTED_OUTPUTS in bundle.manifest.extras:
        expected = check_expected_outputs(bundle, encoder, hyperdecoder, decoder)
    coder = EntropyCoder(bundle.tables)
    check_coder(bundle, coder)
    result = {
        "bundle": str(arguments.bundle),
        "identity": bundle.identity.hex(),
        "family": bundle.manifest.family,
        "bands": bundle.manifest.bands,
        "engine": hyperdecoder.describe(),
        "entropy_coder": coder.describe(),
        "conformance_vectors": len(bundle.conformance),
        "expected_outputs": None if expected is None else asdict(expected),
        "compiled": None if bundle.manifest.engines is None else asdict(bundle.manifest.engines),
        "provenance": bundle.manifest.provenance,
    }
    beside = "" if expected is None else f" and {expected.symbols_equal:.2%} of the expected symbols"
    return result, (
        f"{arguments.bundle}: intact; {hyperdecoder.describe()} computes all {len(bundle.conformance)} conformance "
        f"vectors exactly{beside}, and {coder.describe()} codes every symbol of its tables as the exporter did"
    )
