"""Folders of streams, decoded on Dask: on this machine, or on a cluster whose workers see the same folders.

    ARCHIVE/day/pass.packets ─▶ OUT/day/pass.packets/123.npz ...   a file a scene, named by its identifier
                                                    decoded.json   what they were decoded from

A stream's folder appears whole or not at all, so what stands there is finished; it is left as it is as long as its
record names the stream's present content, the bundle and the options.
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
from hyvic_runtime.errors import ArchiveError, BundleError, DecodeError, HyvicError
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
"""A terminal tells the workers too; they end what they have begun when the client tells them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveOptions:
    """How the streams of an archive are decoded.

    Attributes:
        bundle: folder of the bundle.
        identity: of the bundle; a worker that finds another there refuses it.
        engine: what runs its graphs; None: what the bundle was compiled for.
        kernels: inner loops in C or the reference; None: see `chosen_kernels`.
        suffix: of the scenes' files.
        conceal: write what arrived even if tiles were lost, and quality maps.
        key: file with the key; None: the streams are not protected. Workers read it themselves, so it does not travel.
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
    """What became of a stream.

    Attributes:
        stream: its file, as the archive names it.
        scenes: that stand in its folder.
        inexact: those of them that are not wholly as they were sent.
        headless: scenes that were dropped because they have no header.
        samples: of those that were decoded now; 0 where they stood there before.
        already_there: whether they did.
        problem: why not all scenes could be written, or None.
    """

    stream: Path
    scenes: int = 0
    inexact: int = 0
    headless: int = 0
    samples: int = 0
    already_there: bool = False
    problem: str | None = None


def streams_of(archive: Path) -> list[Path]:
    """Every file `*.packets` of a folder and the folders in it, sorted; what is hidden is left out.

    Raises:
        ArchiveError: there is none.
    """
    found = sorted(
        path
        for path in archive.rglob(f"*{STREAM_SUFFIX}")
        # A writer's unfinished file stands in a hidden folder.
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(archive).parts)
    )
    if not found:
        raise ArchiveError(f"{archive} holds no *{STREAM_SUFFIX}; rename the streams, or decode them one by one")
    return found


@contextmanager
def dask_client(scheduler: str | None, tasks: int) -> Iterator[Any]:
    """A `distributed.Client` of a scheduler.

    Args:
        scheduler: its address; None: one is started here, with a process a core, for as long as the block runs.
        tasks: that there will be; more processes are not started.

    Raises:
        ArchiveError: Dask is missing, or there is no scheduler at the address.
    """
    try:
        distributed: Any = import_module("distributed")  # its functions carry no types
    except ImportError as error:
        raise ArchiveError(f"{error.name} is missing: pip install 'hyvic-onboard[archive]'") from error
    if scheduler is None:
        with (
            distributed.LocalCluster(
                n_workers=min(usable_cores(), tasks),
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",  # any free port, of this machine alone
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
    """Decode the streams of an archive into folders of their own, giving each outcome as it comes.

    Whatever happens to one stream, the others are decoded. Where the caller stops, what no worker has begun is dropped.
    """
    distributed: Any = import_module("distributed")
    streams_by_future = {}
    for stream in streams:
        folder = out / stream.relative_to(archive)  # its whole name, which no folder of the archive has
        future = client.submit(decode_stream, stream.resolve(), folder.resolve(), options, pure=False)
        streams_by_future[future] = stream
    try:
        for future in distributed.as_completed(list(streams_by_future)):
            stream = streams_by_future.pop(future)
            if future.status == "finished":
                yield replace(future.result(), stream=stream)
            else:
                error = future.exception() if future.status == "error" else "the scheduler gave it up"
                yield StreamOutcome(stream=stream, problem=f"a worker failed: {error!r}")
    finally:
        client.cancel(list(streams_by_future), force=True)


def decode_stream(stream: Path, folder: Path, options: ArchiveOptions) -> StreamOutcome:
    """Decode one stream into its folder, or find that done; a worker's task."""
    try:
        return _decode_stream(stream, folder, options)
    except (HyvicError, OSError, MemoryError) as error:
        problem = getattr(error, "strerror", None) or " ".join(str(error).split()) or "not enough memory"
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
            "strays": {scene_id: asdict(stray) for scene_id, stray in received.strays.items()},
        }
        (partial / RECORD).write_text(json.dumps(record, indent=1))
    samples = sum(scene.samples for scene in written)
    return replace(_outcome(stream, record), samples=samples, problem=_problem(failed) if failed else None)


def _outcome(stream: Path, record: dict[str, Any], *, already_there: bool = False) -> StreamOutcome:
    return StreamOutcome(
        stream=stream,
        scenes=len(record["scenes"]),
        inexact=sum(scene["quality"]["exact"] < 1 for scene in record["scenes"]),
        headless=len(record["strays"]),
        already_there=already_there,
    )


def _sizes(folder: Path) -> dict[str, int]:
    """Octets of the files of a folder, by name."""
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}


def _problem(failed: dict[int, str]) -> str:
    return "; ".join(f"scene {scene_id}: {problem}" for scene_id, problem in failed.items())


def _record(folder: Path) -> dict[str, Any] | None:
    """What an earlier run left in a folder; None where there is nothing of ours."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return None
    ours = isinstance(record, dict) and record.keys() >= _RECORDED and isinstance(record["files"], dict)
    return record if ours else None


@lru_cache(maxsize=1)
def _decoder(folder: Path, identity: bytes, engine: EngineKind | None, kernels: KernelKind | None) -> AnyDecoder:
    """Loaded once a process. It keeps one core busy: the scheduler gives the others their own tasks."""
    bundle = read_bundle(folder)
    if bundle.identity != identity:
        raise BundleError(f"{folder} is bundle {bundle.identity.hex()[:16]} on a worker and not on this machine")
    return decoder_of(bundle, engine, kernels=kernels, workers=1, cores=1)
