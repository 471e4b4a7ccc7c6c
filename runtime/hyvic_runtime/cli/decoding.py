"""The command `decode-packets`: decodes a stream, or an archive of streams."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hyvic_runtime.cli.options import add_engine_option, add_key_option, engine_of, kernels_of, refuse_input_as_output
from hyvic_runtime.command_line import PartlyDoneError, Result, command_parser, run_command
from hyvic_runtime.errors import DecodeError

if TYPE_CHECKING:
    from hyvic_runtime.codec.scene_decoder import AnyDecoder, Progress
    from hyvic_runtime.ground.scene_outputs import WrittenScene
    from hyvic_runtime.ground.stream_archive import StreamOutcome
    from hyvic_runtime.packets.reassembly import ReceivedStream

FORMATS = ("npz", "npy", "hdr", "tif", "h5", "mat")
DEFAULT_FORMAT = "npz"
_WITHOUT_HEADER = "send these scenes again, or pass --conceal to do without them"
NAMED_FAILURES = 3
"""Number of failures that the one line of an error names; `--json` names all."""


def decode_packets(argv: Sequence[str] | None = None) -> int:
    """Decode files of packets into scene files."""
    parser = command_parser(
        "decode-packets",
        "Reconstruct the scenes of a stream from its packets, or of all streams of an archive.",
        "decode-packets scene.packets --bundle hyvic.bundle --out decoded.tif",
        "decode-packets pass.packets --bundle hyvic.bundle --out scenes/ --format tif",
        "decode-packets archive/ --bundle hyvic.bundle --out decoded/ --scheduler tcp://10.0.0.1:8786",
    )
    parser.add_argument(
        "stream", type=Path, metavar="STREAM", help="file of packets; or a folder, for all *.packets in its tree"
    )
    parser.add_argument("--bundle", type=Path, required=True, help="bundle that encoded the stream")
    add_engine_option(parser)
    parser.add_argument(
        "--out",
        required=True,
        metavar="OUT",
        help="scene file, .npz .npy .hdr .tif .h5 or .mat; or a folder, which ends in / or exists, for one file per "
        "scene, named by its identifier. For an archive: a folder that gets one folder per stream",
    )
    parser.add_argument(
        "--format", choices=FORMATS, help="format of the files in a folder (default: npz; tif keeps the georeference)"
    )
    parser.add_argument("--scene-id", type=int, metavar="ID", help="decode this scene of the stream")
    parser.add_argument(
        "--conceal",
        action="store_true",
        help="write the scene even if tiles were lost, and a quality map SCENE.quality.npy: "
        "3 exact, 2 affected by a neighbour, 1 predicted means, 0 lost",
    )
    add_key_option(parser, "accept only packets that are protected with the key of this file")
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="address of a Dask cluster that decodes an archive, as tcp://HOST:8786 (default: this machine)",
    )
    return run_command(parser, argv, _decode_packets)


def _decode_packets(arguments: argparse.Namespace) -> Result:
    archive, out = arguments.stream.is_dir(), Path(arguments.out)
    folder = archive or arguments.out.endswith("/") or out.is_dir()
    for given, fits, message in (
        (arguments.format, folder, "--format is for the files of a folder, and --out names a file"),
        (arguments.scheduler, archive, "--scheduler is for an archive, and STREAM is not a folder"),
        (arguments.scene_id, not archive, "--scene-id is for one stream, and STREAM is a folder"),
    ):
        if given is not None and not fits:
            raise ValueError(message)
    if archive:
        return _decode_archive(arguments, out)
    return _decode_stream(arguments, out, folder=folder)


def _decode_stream(arguments: argparse.Namespace, out: Path, *, folder: bool) -> Result:
    from tqdm import tqdm

    from hyvic_runtime.families.registry import decoder_of, read_bundle
    from hyvic_runtime.packets.protection import read_key
    from hyvic_runtime.scene.files import check_writable_format

    if not folder:
        check_writable_format(out)
    key = None if arguments.key is None else read_key(arguments.key)
    try:
        octets = arguments.stream.read_bytes()
    except OSError as error:
        raise DecodeError(f"{arguments.stream}: cannot be read ({error.strerror})") from error
    bundle = read_bundle(arguments.bundle)
    refuse_input_as_output(out, arguments.stream, bundle)
    decoder = decoder_of(bundle, engine=engine_of(arguments), kernels=kernels_of(arguments))
    begun = time.perf_counter()
    with tqdm(unit="tile", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        try:
            received = decoder.receive(octets, key=key)
            outputs = (_into_folder if folder else _into_file)(decoder, received, out, arguments, progress)
        except DecodeError as error:
            raise DecodeError(f"{arguments.stream}: {error}") from error
    seconds = time.perf_counter() - begun
    speed = sum(scene.samples for scene, _ in outputs.written) / seconds / 1e6
    headerless = {scene_id: scene.packets for scene_id, scene in received.headerless.items()}
    result = {
        **outputs.result,
        "refused": received.refused,
        "strays": headerless,
        "seconds": seconds,
        "msamples_per_s": speed,
        "stages": asdict(decoder.times),
    }
    text = f"{out}: {outputs.text}, {speed:.1f} MSamples/s"
    text += "".join(_inexact(scene, path) for scene, path in outputs.written)
    text += "".join(f"; {count} packets refused as {refusal.value}" for refusal, count in received.refused.items())
    if outputs.failed:
        raise PartlyDoneError(f"{arguments.stream}: {outputs.text}; {_failures(outputs.failed)}", result)
    if headerless:
        text += f"; {sum(headerless.values())} packets of {len(headerless)} scenes without a header dropped"
        if not arguments.conceal:
            raise PartlyDoneError(f"{text}; {_WITHOUT_HEADER}", result)
    return result, text


class _Outputs(NamedTuple):
    """Result of decoding a stream.

    Attributes:
        result: object for `--json`.
        text: text for people.
        written: scenes that were decoded, and their files.
        failed: reason of each failure, by scene.
    """

    result: dict[str, Any]
    text: str
    written: list[tuple[WrittenScene, Path]]
    failed: dict[str, str]


def _into_file(
    decoder: AnyDecoder,
    received: ReceivedStream,
    out: Path,
    arguments: argparse.Namespace,
    progress: Progress,
) -> _Outputs:
    from hyvic_runtime.ground.scene_outputs import write_decoded

    decoded = decoder.reconstruct(received, arguments.scene_id, conceal=arguments.conceal, progress=progress)
    written = write_decoded(decoded, out, with_quality=arguments.conceal)
    result = {
        "scene": str(out),
        "scene_id": written.scene_id,
        "shape": list(written.shape),
        "quality": written.quality,
        "damage": [asdict(damage) for damage in decoded.damage],
    }
    return _Outputs(result, " × ".join(map(str, written.shape)), [(written, out)], {})


def _into_folder(
    decoder: AnyDecoder,
    received: ReceivedStream,
    out: Path,
    arguments: argparse.Namespace,
    progress: Progress,
) -> _Outputs:
    from hyvic_runtime.ground.scene_outputs import write_scenes

    try:
        written, problems = write_scenes(
            decoder,
            received,
            out,
            scene_id=arguments.scene_id,
            suffix=_suffix(arguments),
            conceal=arguments.conceal,
            progress=progress,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the scenes in {out} are complete, and other scenes are missing") from None
    failed = {f"scene {scene_id}": problem for scene_id, problem in problems.items()}
    if not written:
        raise DecodeError(_failures(failed))
    conflicts = [damage for units in received.scenes.values() for damage in units.damage]
    result = {
        "scenes": [{**asdict(scene), "file": str(out / scene.file)} for scene in written],
        "failed": failed,
        "damage": [asdict(damage) for damage in (*received.damage, *conflicts)],
    }
    files = [(scene, out / scene.file) for scene in written]
    return _Outputs(result, f"{len(written)} scenes written", files, failed)


def _decode_archive(arguments: argparse.Namespace, out: Path) -> Result:
    from tqdm import tqdm

    from hyvic_runtime.families.registry import read_bundle
    from hyvic_runtime.ground.stream_archive import ArchiveOptions, dask_client, decode_archive, streams_of
    from hyvic_runtime.packets.protection import read_key
    from hyvic_runtime.support.sigint import until_interrupted

    if arguments.key is not None:
        read_key(arguments.key)  # refuse an invalid key before any work
    bundle = read_bundle(arguments.bundle)
    refuse_input_as_output(out, arguments.stream, bundle)
    options = ArchiveOptions(
        bundle=bundle.folder.resolve(),
        identity=bundle.identity,
        engine=engine_of(arguments),
        kernels=kernels_of(arguments),
        suffix=_suffix(arguments),
        conceal=arguments.conceal,
        key=None if arguments.key is None else arguments.key.resolve(),
    )
    streams = streams_of(arguments.stream)
    outcomes: dict[str, StreamOutcome] = {}
    begun = time.perf_counter()
    try:
        with (
            dask_client(arguments.scheduler, len(streams)) as client,
            closing(decode_archive(client, arguments.stream, streams, out, options)) as coming,
            tqdm(total=len(streams), unit="stream", disable=None) as bar,
        ):
            for outcome in until_interrupted(coming):
                outcomes[str(outcome.stream)] = outcome
                bar.set_postfix(failed=sum(outcome.problem is not None for outcome in outcomes.values()))
                bar.update()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{len(outcomes)} of {len(streams)} streams are done and kept; run the same command for the rest"
        ) from None
    seconds = time.perf_counter() - begun
    failed = {stream: outcome.problem for stream, outcome in sorted(outcomes.items()) if outcome.problem}
    there = sum(outcome.already_there for outcome in outcomes.values())
    samples = sum(outcome.samples for outcome in outcomes.values())
    result = {
        "archive": str(arguments.stream),
        "out": str(out),
        "streams": len(streams),
        "decoded": len(streams) - len(failed) - there,
        "already_there": there,
        "failed": failed,
        "scenes": sum(outcome.scenes for outcome in outcomes.values()),
        "inexact_scenes": sum(outcome.inexact for outcome in outcomes.values()),
        "headless_scenes": sum(outcome.headerless for outcome in outcomes.values()),
        "seconds": seconds,
        "msamples_per_s": samples / seconds / 1e6,
    }
    text = (
        f"{out}: {result['decoded']} streams decoded, {there} already there, {result['scenes']} scenes, "
        f"{result['msamples_per_s']:.1f} MSamples/s"
    )
    if result["inexact_scenes"]:
        text += f"; {result['inexact_scenes']} scenes have pixels that are not exact, see their quality maps"
    if result["headless_scenes"]:
        text += f"; {result['headless_scenes']} scenes without a header dropped"
    if failed:
        raise PartlyDoneError(f"{text}; {len(failed)} streams failed: {_failures(failed)}", result)
    if result["headless_scenes"] and not arguments.conceal:
        raise PartlyDoneError(f"{text}; {_WITHOUT_HEADER}", result)
    return result, text


def _suffix(arguments: argparse.Namespace) -> str:
    return f".{arguments.format or DEFAULT_FORMAT}"


def _inexact(scene: WrittenScene, path: Path) -> str:
    """Return the end of a line that says which share of a scene is not exact; empty for an exact scene."""
    from hyvic_runtime.ground.scene_outputs import quality_map_of

    shares = scene.quality
    if shares["exact"] == 1:
        return ""
    return (
        f"; {shares['lost']:.1%} lost, {shares['means']:.1%} predicted, {shares['affected']:.1%} affected by a "
        f"neighbour: {quality_map_of(path)}"
    )


def _failures(failed: dict[str, str]) -> str:
    """Return the first failures with their reasons."""
    first = "; ".join(f"{name}: {problem}" for name, problem in list(failed.items())[:NAMED_FAILURES])
    more = len(failed) - NAMED_FAILURES
    return f"{first}; and {more} more (see --json)" if more > 0 else first
