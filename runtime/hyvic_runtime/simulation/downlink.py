"""Simulates a downlink: sensor at its line rate ─▶ encoder ─▶ channel ─▶ decoder, in simulated time.

No time is measured, so one seed gives one result. The rules of the simulated time are:

- The encoder can code a row of tiles when its lines and the lines of the halo after it are there.
- The encoder codes one tile at a time, at the given speed.
- Refinement units wait for the last tile of their row, and packets wait for a contact.
- The mean spectrum in the scene header is known from the start.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_decoder import AnyDecoder, DecodedScene
from hyvic_runtime.codec.scene_encoder import scene_packets
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.packets.space_packet import DEFAULT_PACKET_OCTETS, Packetiser, Segment, UnitKind, parse_stream
from hyvic_runtime.scene.scene import Cube, Scene
from hyvic_runtime.scene.tile_grid import TileGrid
from hyvic_runtime.simulation.channel import Channel, Fate, Passage, passage
from hyvic_runtime.support.metrics import compression_ratio, psnr, spectral_angle

ENMAP_LINE_RATE = 230.0
"""Lines per second; with 1,000 samples and 224 bands this is 51.5 MSamples/s."""
FIRST_LINE = datetime(2000, 1, 1, 12, tzinfo=UTC)
"""Time in the time codes of packets at which the simulated time starts."""
TIME_SERIES_POINTS = 200
SWEEP_LOSSES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
SWEEP_DRAWS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a simulation.

    Attributes:
        channel: properties of the downlink.
        seed: seed of all random numbers.
        line_rate: lines per second of the sensor.
        encoder_msamples_per_s: speed of the encoder in 10⁶ samples per second; None if coding takes no time.
        quality: quality of the encoder; None for the default of the encoder.
        packet_octets: largest length of a packet.
    """

    channel: Channel
    seed: int = 0
    line_rate: float = ENMAP_LINE_RATE
    encoder_msamples_per_s: float | None = None
    quality: float | None = None
    packet_octets: int = DEFAULT_PACKET_OCTETS

    def __post_init__(self) -> None:
        for name, value in (("line rate", self.line_rate), ("encoder speed", self.encoder_msamples_per_s)):
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"the {name} is {value:g}; a positive number is needed")
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} is negative")


class TileTimes(NamedTuple):
    """Times on board at which the sensor took the last line of a tile, and at which the tile was coded."""

    acquired_s: float
    made_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Fidelity of a reconstruction to the scene.

    Attributes:
        psnr_db: PSNR over the peak of the bundle; None for no reconstruction, or for an exact one.
        spectral_angle_deg: mean spectral angle over all pixels; None for no reconstruction.
        shares: share of pixels of each `Quality`, by name.
        psnr_db_by_quality: PSNR of the pixels of each `Quality`, by name; None without such pixels or without error.
    """

    psnr_db: float | None
    spectral_angle_deg: float | None
    shares: dict[str, float]
    psnr_db_by_quality: dict[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossPoint:
    """One draw of the sweep over packet loss, without the other effects of the channel.

    Attributes:
        packet_loss: probability of a loss.
        lost: number of packets lost in this draw.
        fidelity: fidelity of the reconstruction.
    """

    packet_loss: float
    lost: int
    fidelity: Fidelity


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSeries:
    """Octets over time, at TIME_SERIES_POINTS times from the start of the first line to the end of the last packet.

    Attributes:
        time_s: times.
        made_octets: total length of the packets made until each time.
        sent_octets: total length of the packets sent until each time.
        intact_octets: total length of the packets sent until each time that arrived without damage.
        backlog_octets: total length of the packets made and not yet sent.
    """

    time_s: list[float]
    made_octets: list[int]
    sent_octets: list[int]
    intact_octets: list[int]
    backlog_octets: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds from the last line of a tile to the end of its last packet.

    Attributes:
        tiles: number of tiles that arrived whole; other tiles have no latency.
        median_s: median latency; None if no tile arrived whole.
        largest_s: largest latency; None if no tile arrived whole.
    """

    tiles: int
    median_s: float | None
    largest_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """Results of a simulation.

    Attributes:
        shape: shape of the scene.
        packets: number of packets made.
        octets: total length of the packets made.
        ratio: compression ratio of all packets made.
        fates: number of packets of each `Fate`, by name.
        hit_tiles: (row, column) of each tile that misses a packet.
        tiles: number of tiles of the scene.
        unhit_exact: True if all pixels marked exact equal the reconstruction without loss, and no pixel of a tile that
            misses no packet is worse than `Quality.AFFECTED`; None without a reconstruction.
        received: fidelity of the reconstruction from the packets that arrived.
        without_loss: fidelity of the reconstruction from all packets.
        problem: reason for which nothing was reconstructed, or None.
        latency: summary of the latencies.
        series: octets over time.
        tile_latency_s: latency of each tile, in order; None for a tile that did not arrive whole.
        sweep: fidelity against packet loss.
        decoded: reconstruction from the packets that arrived, or None.
    """

    shape: tuple[int, ...]
    packets: int
    octets: int
    ratio: float
    fates: dict[str, int]
    hit_tiles: list[tuple[int, int]]
    tiles: int
    unhit_exact: bool | None
    received: Fidelity
    without_loss: Fidelity
    problem: str | None
    latency: Latency
    series: TimeSeries
    tile_latency_s: list[float | None]
    sweep: list[LossPoint]
    decoded: DecodedScene | None


class DownlinkSimulator:
    """Simulates downlinks of one scene."""

    def __init__(self, scene: Scene, encoder: AnyEncoder, decoder: AnyDecoder) -> None:
        """Prepare the simulation of one scene.

        Raises:
            SceneError: the scene does not fit the bundle.
        """
        self._scene, self._encoder, self._decoder = scene, encoder, decoder
        self._grid = encoder.grid(scene)

    @property
    def steps(self) -> int:
        """Number of calls of `progress` by `simulate`."""
        return self._grid.rows * self._grid.columns + 2 + len(SWEEP_LOSSES) * SWEEP_DRAWS

    def simulate(self, settings: Settings, progress: Callable[[], object] = lambda: None) -> Simulation:
        """Send the scene down once, and then several times for every loss of the sweep.

        Args:
            settings: settings of the simulation.
            progress: called after every tile and every reconstruction.

        Raises:
            ValueError: the settings do not fit the bundle, or do not fit each other.
        """
        coded = []
        for tile in self._coded(settings):
            coded.append(tile)
            progress()
        packets = [packet for _, made in coded for packet in made]
        made_s = np.repeat([times.made_s for times, _ in coded], [len(made) for _, made in coded])
        passed = passage(packets, made_s, settings.channel, settings.seed)

        reference = self._decoder.decode(b"".join(packets), conceal=True)
        progress()
        decoded, problem = self._received(b"".join(passed.packets))
        progress()

        intact = np.array([fate is Fate.ARRIVED for fate in passed.fates])
        needed_by = [_tiles_that_need(packet, self._grid.columns) for packet in packets]
        missed = {position for at, whole in zip(needed_by, intact, strict=True) if not whole for position in at}
        hit = np.array([(tile.row, tile.column) in missed for tile in self._grid])
        last = {position: number for number, at in enumerate(needed_by) for position in at}
        latencies = [
            None if is_hit else float(passed.sent_s[last[tile.row, tile.column]] - times.acquired_s)
            for tile, (times, _), is_hit in zip(self._grid, coded, hit, strict=True)
        ]
        whole = [latency for latency in latencies if latency is not None]
        median_s = float(np.median(whole)) if whole else None
        sizes = np.array([len(packet) for packet in packets])
        return Simulation(
            shape=self._scene.cube.shape,
            packets=len(packets),
            octets=int(sizes.sum()),
            ratio=compression_ratio(self._scene.cube.size, self._scene.bit_depth, int(sizes.sum())),
            fates={fate.value: passed.fates.count(fate) for fate in Fate},
            hit_tiles=[(tile.row, tile.column) for tile, is_hit in zip(self._grid, hit, strict=True) if is_hit],
            tiles=len(coded),
            unhit_exact=None if decoded is None else _unhit_exact(self._grid, hit, decoded, reference.scene.cube),
            received=self._fidelity(decoded),
            without_loss=self._fidelity(reference),
            problem=problem,
            latency=Latency(tiles=len(whole), median_s=median_s, largest_s=max(whole, default=None)),
            series=_time_series(made_s, passed, sizes, intact),
            tile_latency_s=latencies,
            sweep=list(self._sweep(packets, settings, progress)),
            decoded=decoded,
        )

    def _coded(self, settings: Settings) -> Iterator[tuple[TileTimes, list[bytes]]]:
        """Yield the times of every tile and the packets that are made with it, with time codes in simulated time.

        The last tile of a row adds the refinement units of the row.
        """
        times = list(_coding_times(self._grid, self._scene.cube.shape[2], settings))
        coded = 0
        packetiser = Packetiser(
            packet_octets=settings.packet_octets, clock=lambda: FIRST_LINE + timedelta(seconds=times[coded].made_s)
        )
        for packets in scene_packets(self._encoder, self._scene, packetiser, quality=settings.quality):
            coded += 1
            yield times[coded - 1], packets

    def _received(self, stream: bytes) -> tuple[DecodedScene | None, str | None]:
        try:
            return self._decoder.decode(stream, conceal=True), None
        except DecodeError as error:
            return None, str(error)

    def _sweep(
        self, packets: Sequence[bytes], settings: Settings, progress: Callable[[], object]
    ) -> Iterator[LossPoint]:
        made_s = np.zeros(len(packets))
        for loss in SWEEP_LOSSES:
            for draw in range(SWEEP_DRAWS):
                channel = Channel(packet_loss=loss)
                if settings.channel.mean_burst is not None:
                    channel = replace(channel, mean_burst=settings.channel.mean_burst)
                # Every loss uses the same draws: a larger independent loss then includes the packets of a smaller one.
                passed = passage(packets, made_s, channel, settings.seed + 1 + draw)
                decoded, _ = self._received(b"".join(passed.packets))
                lost = passed.fates.count(Fate.LOST)
                yield LossPoint(packet_loss=loss, lost=lost, fidelity=self._fidelity(decoded))
                progress()

    def _fidelity(self, decoded: DecodedScene | None) -> Fidelity:
        if decoded is None:
            nothing = {quality.name.lower(): 0.0 for quality in Quality} | {Quality.LOST.name.lower(): 1.0}
            return Fidelity(
                psnr_db=None, spectral_angle_deg=None, shares=nothing, psnr_db_by_quality=dict.fromkeys(nothing)
            )
        original, cube = self._scene.cube, decoded.scene.cube
        masks = {quality.name.lower(): decoded.quality == quality for quality in Quality}
        return Fidelity(
            psnr_db=self._psnr_db(original, cube),
            spectral_angle_deg=spectral_angle(original, cube),
            shares={name: float(mask.mean()) for name, mask in masks.items()},
            psnr_db_by_quality={
                name: self._psnr_db(original[mask][None], cube[mask][None]) if mask.any() else None
                for name, mask in masks.items()
            },
        )

    def _psnr_db(self, original: Cube, reconstruction: Cube) -> float | None:
        decibels = psnr(original, reconstruction, self._encoder.bundle.manifest.peak)
        return None if math.isinf(decibels) else decibels


def _tiles_that_need(packet: bytes, columns: int) -> list[tuple[int, int]]:
    """Return (row, column) of each tile that needs the packet; empty for a scene header or scene end."""
    (segment,) = parse_stream(packet)
    assert isinstance(segment, Segment)
    if segment.kind in (UnitKind.SCENE_HEADER, UnitKind.SCENE_END):
        return []
    if segment.kind is UnitKind.STRIP_BASIS:
        return [(segment.row, column) for column in range(columns)]
    return [(segment.row, segment.column)]


def _coding_times(grid: TileGrid, bands: int, settings: Settings) -> Iterator[TileTimes]:
    free_s = 0.0
    for tile in grid:
        end = tile.row * grid.geometry.tile + tile.lines
        needed = min(grid.lines, end + grid.geometry.halo_after)
        coding_s = 0.0
        if settings.encoder_msamples_per_s is not None:
            coding_s = tile.lines * tile.samples * bands / (1e6 * settings.encoder_msamples_per_s)
        free_s = max(free_s, needed / settings.line_rate) + coding_s
        yield TileTimes(acquired_s=end / settings.line_rate, made_s=free_s)


def _unhit_exact(grid: TileGrid, hit: NDArray[np.bool_], decoded: DecodedScene, whole: Cube) -> bool:
    exact = decoded.quality == Quality.EXACT
    if not np.array_equal(decoded.scene.cube[exact], whole[exact]):
        return False
    size = grid.geometry.tile
    pixels = hit.reshape(grid.rows, grid.columns).repeat(size, axis=0).repeat(size, axis=1)
    return bool((decoded.quality[~pixels[: grid.lines, : grid.samples]] >= Quality.AFFECTED).all())


def _time_series(
    made_s: NDArray[np.float64], passed: Passage, sizes: NDArray[np.int64], intact: NDArray[np.bool_]
) -> TimeSeries:
    was_sent = ~np.isnan(passed.sent_s)
    end_s = max(float(made_s[-1]), float(passed.sent_s[was_sent].max(initial=0)))
    times = np.linspace(0, end_s, TIME_SERIES_POINTS)

    def until(event_s: NDArray[np.float64], octets: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(octets)])[np.searchsorted(event_s, times, side="right")]

    made = until(made_s, sizes)
    sent = until(passed.sent_s[was_sent], sizes[was_sent])
    arrived = until(passed.sent_s[intact], sizes[intact])
    return TimeSeries(
        time_s=times.tolist(),
        made_octets=made.tolist(),
        sent_octets=sent.tolist(),
        intact_octets=arrived.tolist(),
        backlog_octets=(made - sent).tolist(),
    )
