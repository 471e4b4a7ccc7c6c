"""A stored scene to a stream of packets, at a quality, within a budget or at a fidelity.

A stored scene can be coded more than once. So a budget is kept by the octets of packets that were made, not by an
estimate: the stream that is kept is one that was written.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from hyvic_runtime.codec.rate_control import Trial, highest_within
from hyvic_runtime.codec.row_budget import BUDGET_SLACK, LOG_OCTETS_PER_CODE
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_decoder import AnyDecoder
from hyvic_runtime.codec.scene_encoder import DEFAULT_QUALITY, scene_packets
from hyvic_runtime.errors import RateError
from hyvic_runtime.packets.quality import (
    HIGHEST_CODE,
    LOWEST_CODE,
    MAX_QUALITY_CODE,
    QUALITY_STEPS,
    quality_code,
)
from hyvic_runtime.packets.space_packet import Packetiser
from hyvic_runtime.scene.scene import Cube, Scene
from hyvic_runtime.support.metrics import compression_ratio, psnr

PSNR_SLACK_DB = 0.05
"""Distance above the PSNR asked for that ends a search; a smaller one costs more attempts."""
PSNR_PER_CODE = 1e-3
"""Typical gain in dB from one step of the quality code."""
RATE_JUMP_RETRIES = (1, 2, 4, 8, 16)
"""Steps of the quality code. One component more makes a small scene's stream leap by some percent, and finer steps of
the same components may take less again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenStream:
    """A stream that was written.

    Attributes:
        path: file that holds it; None where it is held in memory.
        held: its octets where it is held in memory, else empty.
        quality: quality that it was coded at, LOWEST_QUALITY … HIGHEST_QUALITY.
        octets: number of octets.
        packets: number of packets.
        psnr_db: PSNR of the decoded scene, where that was asked for.
        attempts: number of streams that were written to find it.
    """

    path: Path | None
    held: bytes = field(repr=False)
    quality: float
    octets: int
    packets: int
    psnr_db: float | None = None
    attempts: int = 1

    def read(self) -> bytes:
        """Return its octets."""
        return self.held if self.path is None else self.path.read_bytes()


@dataclass(frozen=True, kw_only=True)
class RateSearch:
    """Writes streams of one scene, and keeps the one that fits.

    Attributes:
        encoder: row encoder of a bundle.
        scene: scene to encode.
        folder: folder that holds attempts until the best is known; None: memory does.
        saturated: value of samples that had too much light; they are restored exactly.
        scene_id: identifier in every packet; None: a checksum.
        packetiser: makes a new packetiser for every stream.
        key: key that the packets are protected with.
        progressive: True to send refinements after all else, part by part.
        progress: called after every tile.
    """

    encoder: AnyEncoder
    scene: Scene
    folder: Path | None = None
    saturated: int | None = None
    scene_id: int | None = None
    packetiser: Callable[[], Packetiser] = Packetiser
    key: bytes | None = None
    progressive: bool = False
    progress: Callable[[], object] = lambda: None

    def at_quality(self, quality: float | None) -> WrittenStream:
        """Write one stream; None: DEFAULT_QUALITY."""
        path = None if self.folder is None else self.folder / f"quality-{quality}.packets"
        file: BinaryIO = io.BytesIO() if path is None else path.open("wb")
        octets = packets = 0
        with file:
            for tile in scene_packets(
                self.encoder,
                self.scene,
                self.packetiser(),
                scene_id=self.scene_id,
                quality=quality,
                saturated=self.saturated,
                progressive=self.progressive,
            ):
                file.writelines(tile)
                octets += sum(map(len, tile))
                packets += len(tile)
                self.progress()
            held = file.getvalue() if isinstance(file, io.BytesIO) else b""
        quality = DEFAULT_QUALITY if quality is None else quality
        return WrittenStream(path=path, held=held, quality=quality, octets=octets, packets=packets)

    def within(self, budget: int) -> WrittenStream:
        """Write the best stream of at most so many octets.

        It takes all of them but the share BUDGET_SLACK, or it is the bundle's highest rate.

        Raises:
            RateError: the lowest rate takes more.
            ValueError: the bundle has a single rate.
        """
        self.encoder.check_has_rates()
        written: list[WrittenStream] = []

        def attempt(code: int) -> Trial[WrittenStream]:
            stream = self._next(written, code)
            return Trial(code, math.log(stream.octets), stream)

        best = highest_within(
            attempt,
            limit=math.log(max(budget, 1)),
            slack=BUDGET_SLACK,
            start=quality_code(DEFAULT_QUALITY),
            slope=LOG_OCTETS_PER_CODE,
            retry_offsets=RATE_JUMP_RETRIES,
        )
        if best is None:
            least = written[-1].octets
            ratio = compression_ratio(self.scene.cube.size, self.scene.bit_depth, least)
            raise RateError(
                f"{budget:,} octets are asked for and the bundle's lowest rate takes {least:,} (CR {ratio:.1f}); allow "
                "those, cut the scene, or use a bundle of a lower rate"
            )
        return self._kept(best.result, written)

    def of_fidelity(self, least_db: float, decoder: AnyDecoder) -> WrittenStream:
        """Write the smallest stream found that decodes to at least that PSNR over the bundle's range.

        Raises:
            RateError: the highest rate does not reach it.
            ValueError: the bundle has a single rate.
        """
        self.encoder.check_has_rates()
        written: list[WrittenStream] = []
        fidelities: dict[int, float] = {}

        def attempt(downwards: int) -> Trial[WrittenStream]:
            stream = self._next(written, MAX_QUALITY_CODE - downwards)
            decoded = decoder.decode(stream.read(), key=self.key).scene
            fidelities[downwards] = self._fidelity(decoded.cube)
            return Trial(downwards, -fidelities[downwards], stream)

        # The error must not pass a limit; it rises as the quality falls.
        best = highest_within(
            attempt,
            limit=-least_db,
            slack=PSNR_SLACK_DB,
            start=MAX_QUALITY_CODE - quality_code(DEFAULT_QUALITY),
            slope=PSNR_PER_CODE,
            codes=range(MAX_QUALITY_CODE - HIGHEST_CODE, MAX_QUALITY_CODE - LOWEST_CODE + 1),
        )
        if best is None:
            highest = fidelities[MAX_QUALITY_CODE - HIGHEST_CODE]
            raise RateError(
                f"{least_db:g} dB are asked for and the bundle's highest rate gives {highest:.2f}; "
                "ask for less, or use a bundle of a higher rate"
            )
        return replace(self._kept(best.result, written), psnr_db=fidelities[best.code])

    def _fidelity(self, decoded: Cube) -> float:
        """Return the PSNR over the samples that have data, in dB."""
        cube, peak = self.scene.cube, self.encoder.bundle.manifest.peak
        if self.scene.no_data is None:
            return psnr(cube, decoded, peak)
        valid = cube != self.scene.no_data
        if not valid.any():
            return math.inf
        return psnr(cube[valid][None], decoded[valid][None], peak)

    def _next(self, written: list[WrittenStream], code: int) -> WrittenStream:
        stream = self.at_quality(code / QUALITY_STEPS)
        written.append(stream)
        return stream

    def _kept(self, best: WrittenStream, written: list[WrittenStream]) -> WrittenStream:
        for stream in written:
            if stream.path is not None and stream.path != best.path:
                stream.path.unlink()
        return replace(best, attempts=len(written))
