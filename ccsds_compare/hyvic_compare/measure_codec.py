"""Measurement of one codec on one scene."""

from __future__ import annotations

import platform
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from hyvic_runtime.errors import DecodeError, HyvicError
from hyvic_runtime.scene.scene import Cube, Scene
from hyvic_runtime.support.metrics import compression_ratio, rate_bpppb
from numpy.typing import NDArray

from hyvic_compare.codec_choice import AnyCodec
from hyvic_compare.codecs.codec import LoadedCodec, LosslessCodec, octet_budget
from hyvic_compare.metrics import distortion
from hyvic_compare.peak_memory import PeakMemory
from hyvic_compare.preview import preview_of
from hyvic_compare.results import Cost, Measurement, Preview
from hyvic_compare.scene_source import PreparedScene


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """Measurement with a preview for a report.

    Attributes:
        measurement: figures, or the reason why there are no figures.
        preview: preview of the decoded cube, or None if it was not asked for or there is no cube.
        lasting: whether the result would be the same again; a lack of memory is not lasting.
    """

    measurement: Measurement
    preview: Preview | None = None
    lasting: bool = True


def measure(
    prepared: PreparedScene,
    codec: AnyCodec,
    *,
    name: str,
    target_ratio: float | None,
    peak: float,
    pixels: NDArray[np.intp] | None,
) -> Measured:
    """Encode, decode and compare.

    Times and memory are counted for the whole process, in which nothing else may run.

    Args:
        prepared: scene to code.
        codec: codec to measure.
        name: name of the scene.
        target_ratio: ratio to ask for, or None for a lossless codec.
        peak: largest digital number, for PSNR.
        pixels: (pixel, 2) whose spectra the preview shows, or None for no preview.

    Returns:
        The measurement; a gap if the codec refuses, breaks its promises or needs too much memory.
    """
    scene = prepared.scene
    point = Measurement(scene=name, codec=codec.name, target_ratio=target_ratio)
    try:
        if not isinstance(codec, LoadedCodec):
            _warm_up(codec)  # type: ignore[arg-type]  # a protocol cannot promise a hash
        stream, decoded, cost = _coded(scene, codec, target_ratio)
    except HyvicError as error:
        return Measured(measurement=replace(point, gap=" ".join(str(error).split())))
    except MemoryError:
        return Measured(measurement=replace(point, gap=f"{codec.name} needs more memory than there is"), lasting=False)
    return Measured(
        measurement=replace(
            point,
            octets=len(stream),
            compression_ratio=compression_ratio(scene.cube.size, scene.bit_depth, len(stream)),
            rate_bpppc=rate_bpppb(scene.cube.size, len(stream)),
            fidelity=distortion(scene, decoded, peak),
            cost=cost,
        ),
        preview=None if pixels is None else preview_of(scene, decoded, pixels),
    )


def _coded(scene: Scene, codec: AnyCodec, target_ratio: float | None) -> tuple[bytes, Cube, Cost]:
    memory = PeakMemory()
    if isinstance(codec, LoadedCodec):
        codec.load()
    begun = time.process_time()
    stream = _encoded(scene, codec, target_ratio)
    encoded = time.process_time()
    decoded = codec.decode(stream)
    done = time.process_time()
    peak = memory.megabytes()
    if decoded.shape != scene.cube.shape or decoded.dtype != scene.cube.dtype:
        raise DecodeError(
            f"{codec.name} gave {decoded.shape} {decoded.dtype} for a scene of {scene.cube.shape} {scene.cube.dtype}"
        )
    if target_ratio is None and not np.array_equal(decoded, scene.cube):
        raise DecodeError(f"{codec.name} is called lossless and did not give the scene back")
    if target_ratio is not None and len(stream) > octet_budget(scene, target_ratio):
        raise DecodeError(
            f"{codec.name} took {len(stream):,} octets where CR {target_ratio:g} allows "
            f"{octet_budget(scene, target_ratio):,}"
        )
    return (
        stream,
        decoded,
        Cost(
            encode_s=encoded - begun,
            decode_s=done - encoded,
            peak_memory_mb=peak,
            processor=processor_name(),
        ),
    )


def _encoded(scene: Scene, codec: AnyCodec, target_ratio: float | None) -> bytes:
    if isinstance(codec, LosslessCodec):
        return codec.encode_losslessly(scene)
    if target_ratio is None:
        raise ValueError(f"{codec.name} needs a target ratio")
    return codec.encode(scene, target_ratio)


@cache
def _warm_up(codec: AnyCodec) -> None:
    """Import and compile once in each process, so that no measurement includes this."""
    cube = np.arange(16 * 16 * 8, dtype=np.int16).reshape(16, 16, 8)
    with suppress(HyvicError):
        codec.decode(_encoded(Scene(cube=cube), codec, None if isinstance(codec, LosslessCodec) else 1.0))


@cache
def processor_name() -> str:
    """Return the system's name for the processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
