from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hyvic_runtime import cli
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.packets.space_packet import Segment, parse_stream
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.simulation.channel import Channel, Contact
from hyvic_runtime.simulation.downlink import FIRST_LINE, DownlinkSimulator, Settings, Simulation
from scenes import BANDS, smooth_cube


@pytest.fixture(scope="module")
def simulator(tiny_bundle: Path) -> DownlinkSimulator:
    bundle = read_bundle(tiny_bundle)
    return DownlinkSimulator(Scene(cube=smooth_cube(160, 96, BANDS)), LatentRowEncoder(bundle), LatentDecoder(bundle))


@pytest.fixture(scope="module")
def whole(simulator: DownlinkSimulator) -> Simulation:
    return simulator.simulate(Settings(channel=Channel(), packet_octets=200))


def test_nothing_is_lost_on_a_perfect_channel(simulator: DownlinkSimulator, whole: Simulation) -> None:
    assert whole.fates["arrived"] == whole.packets
    assert (whole.hit_tiles, whole.unhit_exact, whole.problem) == ([], True, None)
    assert whole.received == whole.without_loss
    assert whole.received.shares["exact"] == 1
    assert whole.series.intact_octets[-1] == whole.series.made_octets[-1] == whole.octets


@pytest.mark.parametrize("seed", range(4))
def test_at_one_percent_loss_every_tile_that_was_not_hit_is_exact(
    simulator: DownlinkSimulator, whole: Simulation, seed: int
) -> None:
    simulation = simulator.simulate(Settings(channel=Channel(packet_loss=0.01), seed=seed, packet_octets=60))
    assert simulation.fates["lost"] > 0
    assert simulation.decoded is not None
    assert whole.decoded is not None
    assert simulation.unhit_exact
    # Not by the simulation's word alone: pixels of tiles that were not hit, beyond the reach of those that were.
    hit = set(simulation.hit_tiles)
    for row in range(5):
        for column in range(3):
            lines, samples = slice(32 * row, 32 * row + 32), slice(32 * column, 32 * column + 32)
            quality = simulation.decoded.quality[lines, samples]
            if (row, column) in hit:
                assert (quality <= Quality.MEANS).all()
                continue
            assert (quality >= Quality.AFFECTED).all()
            exact = quality == Quality.EXACT
            decoded, reference = (s.decoded.scene.cube[lines, samples][exact] for s in (simulation, whole) if s.decoded)
            assert np.array_equal(decoded, reference)
    received = simulation.received.psnr_db_by_quality
    assert received["exact"] is not None
    worse = [psnr for name in ("means", "lost") if (psnr := received[name]) is not None]
    assert worse
    assert max(worse) < received["exact"]


def test_fidelity_falls_with_loss(whole: Simulation) -> None:
    by_loss: dict[float, list[float]] = {}
    for point in whole.sweep:
        if point.fidelity.psnr_db is not None:
            by_loss.setdefault(point.packet_loss, []).append(point.fidelity.psnr_db)
    assert by_loss[0.0] == [whole.without_loss.psnr_db] * 3
    assert np.mean(by_loss[0.3]) < np.mean(by_loss[0.03]) < np.mean(by_loss[0.0])


def test_damaged_packets_are_found_out(simulator: DownlinkSimulator) -> None:
    channel = Channel(bit_error_rate=1e-4, reorder=4)
    simulation = simulator.simulate(Settings(channel=channel, seed=3, packet_octets=200))
    assert simulation.fates["damaged"] > 5
    assert simulation.unhit_exact


def test_latency_and_backlog_are_those_worked_out_by_hand(simulator: DownlinkSimulator, whole: Simulation) -> None:
    # A row of tiles needs its 32 lines and 3 of halo behind them, at 100 lines/s; the last one has no halo.
    settings = Settings(channel=Channel(), line_rate=100, packet_octets=200)
    simulation = simulator.simulate(settings)
    halo = LatentRowEncoder(read_bundle(simulator._encoder.bundle.folder)).bundle.manifest.geometry.halo_after
    assert simulation.tile_latency_s == pytest.approx([halo / 100] * 12 + [0.0] * 3)
    assert max(simulation.series.backlog_octets) == 0

    # An encoder of 32 · 32 · 20 / 0.1 s: the latents of a row's three tiles wait for the last of them.
    slow = simulator.simulate(replace(settings, encoder_msamples_per_s=32 * 32 * BANDS / 0.1 / 1e6))
    assert slow.tile_latency_s[:4] == pytest.approx([halo / 100 + wait for wait in (0.3, 0.3, 0.3, 0.3)])

    # Everything is made when the only contact begins, and sent at an even rate.
    contact = Contact(start_s=10, seconds=4, octets=2 * whole.octets)
    waiting = simulator.simulate(replace(settings, channel=Channel(contacts=(contact,))))
    assert max(waiting.series.backlog_octets) == whole.octets
    assert waiting.series.time_s[-1] == pytest.approx(12)
    assert waiting.series.backlog_octets[-1] == 0
    assert waiting.latency.largest_s == pytest.approx(12 - 1.28, abs=1)

    # Half the budget: the rest stays on board.
    short = replace(contact, octets=whole.octets // 2)
    stuck = simulator.simulate(replace(settings, channel=Channel(contacts=(short,))))
    assert stuck.fates["not sent"] > 0
    assert stuck.series.backlog_octets[-1] == whole.octets - stuck.series.sent_octets[-1] > 0.4 * whole.octets


def test_packets_carry_simulated_time(simulator: DownlinkSimulator) -> None:
    settings = Settings(channel=Channel(), line_rate=100)
    coded = list(simulator._coded(settings))
    segments = [list(parse_stream(b"".join(packets))) for _, packets in coded]
    times = [segment.time for found in segments for segment in found[:1] if isinstance(segment, Segment)]
    assert len(times) == 15
    for time, (tile, _) in zip(times, coded, strict=True):
        assert abs(time - FIRST_LINE - timedelta(seconds=tile.made_s)) <= timedelta(milliseconds=1)
    assert times == sorted(times)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="the line rate is 0"):
        Settings(channel=Channel(), line_rate=0)
    with pytest.raises(ValueError, match="encoder speed is inf"):
        Settings(channel=Channel(), encoder_msamples_per_s=float("inf"))
    with pytest.raises(ValueError, match="seed -1"):
        Settings(channel=Channel(), seed=-1)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    np.savez(tmp_path / "scene.npz", cube=smooth_cube(70, 64, BANDS))
    return tmp_path / "scene.npz"


def test_one_seed_gives_one_report(
    scene: Path, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def report(name: str, *options: str) -> bytes:
        words = [str(scene), "--bundle", str(tiny_bundle), "--report", str(tmp_path / name), "--packet-octets", "100"]
        channel = ["--packet-loss", "0.1", "--mean-burst", "2", "--bit-error-rate", "1e-5", "--reorder", "3"]
        windows = ["--contact", "0.1:1:9000", "--contact", "5:1:9000", "--outage", "0.2:0.05"]
        assert cli.simulate_downlink([*words, *channel, *windows, "--json", *options]) == 0
        return (tmp_path / name / "report.json").read_bytes()

    first = report("first", "--seed", "5")
    printed = json.loads(capsys.readouterr().out)
    assert first == report("second", "--seed", "5")
    assert first != report("third", "--seed", "6")
    assert {path.name for path in (tmp_path / "first").iterdir()} == {
        "report.json",
        "index.html",
        "pictures.png",
        "time.png",
        "loss.png",
    }
    document = json.loads(first)
    assert document["fates"] == printed["fates"]
    assert sum(document["fates"].values()) == document["packets"]
    assert min(document["fates"]["lost"], document["fates"]["in outage"]) > 0


def test_a_downlink_that_loses_all_is_reported(
    scene: Path, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report"
    words = [str(scene), "--bundle", str(tiny_bundle), "--report", str(out), "--packet-loss", "1"]
    assert cli.simulate_downlink(words) == 0
    assert "nothing was reconstructed: no scene header" in capsys.readouterr().out
    document = json.loads((out / "report.json").read_text())
    assert document["received"]["psnr_db"] is None
    assert "no scene header" in (out / "index.html").read_text()


@pytest.mark.parametrize(
    ("option", "status", "message"),
    [
        (["--packet-loss", "2"], 1, "packet loss 2 is outside 0..1"),
        (["--outage", "3"], 2, "'3' is not START:SECONDS"),
        (["--contact", "1:2"], 2, "'1:2' is not START:SECONDS:OCTETS"),
        (["--contact", "1:2:0"], 2, "the budget of a contact is 0 octets"),
    ],
)
def test_a_wrong_channel_is_one_line(
    scene: Path,
    tiny_bundle: Path,
    tmp_path: Path,
    option: list[str],
    status: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [str(scene), "--bundle", str(tiny_bundle), "--report", str(tmp_path / "r"), *option]
    with pytest.raises(SystemExit, match=f"^{status}$"):
        sys.exit(cli.simulate_downlink(words))
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "r").exists()


def test_without_matplotlib_the_extra_is_named_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.simulate_downlink(["none.npz", "--bundle", "none", "--report", str(tmp_path / "r")]) == 1
    assert "pip install 'hyvic-onboard[simulate]'" in capsys.readouterr().err
