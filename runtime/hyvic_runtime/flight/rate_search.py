"""Encodes a stored scene to a stream of packets, at a quality, within a budget, or with a least PSNR.

A stored scene can be coded several times. So the search measures the length of streams that it has written, and needs
no estimate.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_decoder import AnyDecoder
from hyvic_runtime.codec.scene_encoder import DEFAULT_QUALITY, scene_packets
from hyvic_runtime.downlink.rate_control import Trial, highest_within
from hyvic_runtime.downlink.row_budget import BUDGET_SLACK, LOG_OCTETS_PER_CODE
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
"""Largest allowed excess over the least PSNR; a smaller excess needs more attempts."""
PSNR_PER_CODE = 1e-3
"""Typical gain of PSNR per quality code, in dB."""
RATE_JUMP_RETRIES = (1, 2, 4, 8, 16)
"""Offsets of the quality code to try after a jump of the rate.

One more component makes the stream of a small scene longer by some percent at once. A slightly higher quality with the
same components can then take fewer octets again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenStream:
    """Stream that the search wrote.

    Attributes:
        path: path of the file; None if the stream is in memory.
        held: octets of the stream if it is in memory, else empty.
        quality: quality of the stream, LOWEST_QUALITY … HIGHEST_QUALITY.
        octets: length of the stream.
        packets: number of packets.
        psnr_db: PSNR of the decoded scene; None if no PSNR was asked for.
        attempts: number of streams that the search wrote.
    """

    path: Path | None
    held: bytes = field(repr=False)
    quality: float
    octets: int
    packets: int
    psnr_db: float | None = None
    attempts: int = 1

    def read(self) -> bytes:
        """Return the octets of the stream."""
        return self.held if self.path is None else self.path.read_bytes()


@dataclass(frozen=True, kw_only=True)
class RateSearch:
    """Writes streams of one scene, and keeps the best one.

    Attributes:
        encoder: row encoder of the bundle.
        scene: scene to encode.
        folder: folder for the attempts until the best one is known; None keeps them in memory.
        saturated: value of saturated samples, which are restored exactly.
        scene_id: identifier in every packet; None for a checksum of the scene.
        packetiser: function that makes a new packetiser for every stream.
        key: key that protects the packets; None for unprotected packets.
        progressive: send refinement units after all other units, part by part.
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
        """Write one stream; a quality of None is DEFAULT_QUALITY."""
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
        """Write the best stream of at most `budget` octets.

        The stream leaves at most the share BUDGET_SLACK of the budget unused, or has the highest rate of the bundle.

        Raises:
            RateError: the lowest rate of the bundle takes more octets.
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
                f"the budget is {budget:,} octets and the bundle's lowest rate takes {least:,} (CR {ratio:.1f}); "
                "allow more octets, cut the scene, or use a bundle of a lower rate"
            )
        return self._kept(best.result, written)

    def of_fidelity(self, least_db: float, decoder: AnyDecoder) -> WrittenStream:
        """Write the smallest stream found whose decoded scene has at least this PSNR over the peak of the bundle.

        Raises:
            RateError: the highest rate of the bundle does not reach this PSNR.
            ValueError: the bundle has a single rate.
        """
        self.encoder.check_has_rates()
        written: list[WrittenStream] = []
        fidelities: dict[int, float] = {}

        def attempt(inverted: int) -> Trial[WrittenStream]:
            stream = self._next(written, MAX_QUALITY_CODE - inverted)
            decoded = decoder.decode(stream.read(), key=self.key).scene
            fidelities[inverted] = self._fidelity(decoded.cube)
            return Trial(inverted, -fidelities[inverted], stream)

        # The search limits a quantity that rises with the code. So search over inverted codes, for the negative PSNR.
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
                f"the least PSNR is {least_db:g} dB and the bundle's highest rate gives {highest:.2f}; "
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
