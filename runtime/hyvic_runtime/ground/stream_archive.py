"""Decodes folders of streams on Dask: on this machine, or on a cluster whose workers see the same folders.

    ARCHIVE/day/pass.packets ─▶ OUT/day/pass.packets/123.npz ...   a file per scene, named by its identifier
                                                    decoded.json   record of the stream, the bundle and the options

The output folder of a stream appears whole or not at all, so a folder that exists is complete. It is kept as long as
its record names the present content of the stream, the bundle and the options.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from hyvic_runtime.codec.scene_decoder import AnyDecoder
from hyvic_runtime.engines.selection import EngineKind, usable_cores
from hyvic_runtime.errors import ArchiveError, BundleError, DecodeError, HyvicError, one_line
from hyvic_runtime.families.registry import decoder_of, read_bundle
from hyvic_runtime.ground.scene_outputs import write_scenes
from hyvic_runtime.kernels import KernelKind
from hyvic_runtime.packets.protection import read_key
from hyvic_runtime.support.atomic_file import replacing_folder

STREAM_SUFFIX = ".packets"
RECORD = "decoded.json"
CONNECT_TIMEOUT_S = 10
_RECORDED = {"source", "files", "scenes", "failed", "strays"}
_FINISH_AT_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""Code that workers run at their start. A terminal sends Ctrl-C to workers too, but only the client may stop them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveOptions:
    """Options for decoding the streams of an archive.

    Attributes:
        bundle: folder of the bundle.
        identity: identity of the bundle; a worker that finds another bundle in the folder refuses it.
        engine: engine for the graphs; None for the engine that the bundle was compiled for.
        kernels: inner loops, in C or the reference; None: see `chosen_kernels`.
        suffix: suffix of the scene files, which names their format.
        conceal: write scenes even if tiles were lost, and write quality maps.
        key: file with the key; None for unprotected streams. Workers read the file, so the key is not sent to them.
    """

    bundle: Path
    identity: bytes
    engine: EngineKind | None
    kernels: KernelKind | None
    suffix: str
    conceal: bool
    key: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOutcome:
    """Result of decoding one stream.

    Attributes:
        stream: path of the stream in the archive.
        scenes: number of scenes in the output folder.
        inexact: number of these scenes with pixels that are not exact.
        headerless: number of scenes that were dropped because they have no valid header.
        samples: number of samples decoded now; 0 if an earlier run decoded them.
        already_there: True if an earlier run decoded the stream.
        problem: reason for which not all scenes were written, or None.
    """

    stream: Path
    scenes: int = 0
    inexact: int = 0
    headerless: int = 0
    samples: int = 0
    already_there: bool = False
    problem: str | None = None


def streams_of(archive: Path) -> list[Path]:
    """Return every file `*.packets` of a folder and its subfolders, sorted; hidden files and folders are ignored.

    Raises:
        ArchiveError: the folder holds no such file.
    """
    found = sorted(
        path
        for path in archive.rglob(f"*{STREAM_SUFFIX}")
        # The unfinished file of a running writer stands in a hidden folder.
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(archive).parts)
    )
    if not found:
        raise ArchiveError(f"{archive} holds no *{STREAM_SUFFIX}; rename the streams, or decode each stream alone")
    return found


@contextmanager
def dask_client(scheduler: str | None, tasks: int) -> Iterator[Any]:
    """Give a `distributed.Client` of a scheduler.

    Args:
        scheduler: address of the scheduler; None starts a scheduler here, with one process per core, for the block.
        tasks: number of tasks; no more processes are started.

    Raises:
        ArchiveError: Dask is missing, or no scheduler answers at the address.
    """
    try:
        distributed: Any = import_module("distributed")  # its functions have no type hints
    except ImportError as error:
        raise ArchiveError(f"{error.name} is missing: pip install 'hyvic-onboard[archive]'") from error
    if scheduler is None:
        with (
            distributed.LocalCluster(
                n_workers=min(usable_cores(), tasks),
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",  # any free port, reachable only from this machine
                silence_logs=logging.CRITICAL,
                preload=[_FINISH_AT_CTRL_C],
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise ArchiveError(f"no Dask scheduler answers at {scheduler} ({error})") from error
    with client:
        yield client


def decode_archive(
    client: Any, archive: Path, streams: Sequence[Path], out: Path, options: ArchiveOptions
) -> Generator[StreamOutcome, None, None]:
    """Decode each stream of an archive into its own folder, and yield each outcome as it comes.

    A failure of one stream does not stop the others. If the caller stops, streams that no worker has begun are dropped.
    """
    distributed: Any = import_module("distributed")
    streams_by_future = {}
    for stream in streams:
        folder = out / stream.relative_to(archive)  # the whole name with suffix, which no folder of the archive has
        future = client.submit(decode_stream, stream.resolve(), folder.resolve(), options, pure=False)
        streams_by_future[future] = stream
    try:
        for future in distributed.as_completed(list(streams_by_future)):
            stream = streams_by_future.pop(future)
            if future.status == "finished":
                yield replace(future.result(), stream=stream)
            else:
                error = future.exception() if future.status == "error" else "the scheduler cancelled the task"
                yield StreamOutcome(stream=stream, problem=f"a worker failed: {error!r}")
    finally:
        client.cancel(list(streams_by_future), force=True)


def decode_stream(stream: Path, folder: Path, options: ArchiveOptions) -> StreamOutcome:
    """Decode one stream into its folder, unless an earlier run did; a worker runs this task."""
    try:
        return _decode_stream(stream, folder, options)
    except (HyvicError, OSError, MemoryError) as error:
        problem = getattr(error, "strerror", None) or one_line(error) or "not enough memory"
        return StreamOutcome(stream=stream, problem=problem)


def _decode_stream(stream: Path, folder: Path, options: ArchiveOptions) -> StreamOutcome:
    octets = stream.read_bytes()
    source = {
        "stream_sha256": hashlib.sha256(octets).hexdigest(),
        "bundle": options.identity.hex(),
        "format": options.suffix,
        "conceal": options.conceal,
        "protected": options.key is not None,
    }
    record = _record(folder)
    if (
        record is not None
        and record["source"] == source
        and not record["failed"]
        and record["files"].items() <= _sizes(folder).items()
    ):
        return _outcome(stream, record, already_there=True)
    decoder = _decoder(options.bundle, options.identity, options.engine, options.kernels)
    received = decoder.receive(octets, key=None if options.key is None else read_key(options.key))
    with replacing_folder(folder, contents=[] if record is None else [RECORD, *record["files"]]) as partial:
        written, failed = write_scenes(decoder, received, partial, suffix=options.suffix, conceal=options.conceal)
        if not written:
            raise DecodeError(_problem(failed))
        record = {
            "source": source,
            "files": _sizes(partial),
            "scenes": [asdict(scene) for scene in written],
            "failed": failed,
            "damage": [asdict(damage) for damage in received.damage],
            "refused": received.refused,
            "strays": {scene_id: asdict(scene) for scene_id, scene in received.headerless.items()},
        }
        (partial / RECORD).write_text(json.dumps(record, indent=1))
    samples = sum(scene.samples for scene in written)
    return replace(_outcome(stream, record), samples=samples, problem=_problem(failed) if failed else None)


def _outcome(stream: Path, record: dict[str, Any], *, already_there: bool = False) -> StreamOutcome:
    return StreamOutcome(
        stream=stream,
        scenes=len(record["scenes"]),
        inexact=sum(scene["quality"]["exact"] < 1 for scene in record["scenes"]),
        headerless=len(record["strays"]),
        already_there=already_there,
    )


def _sizes(folder: Path) -> dict[str, int]:
    """Return the size of each file of a folder, by name."""
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}


def _problem(failed: dict[int, str]) -> str:
    return "; ".join(f"scene {scene_id}: {problem}" for scene_id, problem in failed.items())


def _record(folder: Path) -> dict[str, Any] | None:
    """Return the record that an earlier run wrote into a folder, or None."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return None
    ours = isinstance(record, dict) and record.keys() >= _RECORDED and isinstance(record["files"], dict)
    return record if ours else None


@lru_cache(maxsize=1)
def _decoder(folder: Path, identity: bytes, engine: EngineKind | None, kernels: KernelKind | None) -> AnyDecoder:
    """Load the decoder once a process. It uses one core, because the other cores run other tasks."""
    bundle = read_bundle(folder)
    if bundle.identity != identity:
        raise BundleError(
            f"{folder} holds bundle {bundle.identity.hex()[:16]} on a worker and {identity.hex()[:16]} on this machine"
        )
    return decoder_of(bundle, engine, kernels=kernels, workers=1, cores=1)
