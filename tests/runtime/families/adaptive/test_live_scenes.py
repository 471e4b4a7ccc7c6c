"""Lines as a sensor delivers them, and budgets, with an adaptive bundle."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from coded_scenes import TILE, packets_of
from conftest import smooth_cube
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.codec.acquisition import Acquisition, Interleave
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.rate_control import DownlinkBudget
from hyvic_runtime.codec.scene_encoder import SceneEncoder, scene_stream
from hyvic_runtime.errors import DecodeError, LostTilesError, RateError
from hyvic_runtime.families.adaptive.decoder import AdaptiveDecoder
from hyvic_runtime.families.adaptive.encoder import AdaptiveRowEncoder
from hyvic_runtime.flight.rate_search import RateSearch
from hyvic_runtime.packets.quality import HIGHEST_QUALITY, LOWEST_QUALITY
from hyvic_runtime.packets.space_packet import Packetiser, UnitKind
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.metrics import psnr

BANDS = 5
AXES = {Interleave.BIP: (0, 1, 2), Interleave.BIL: (0, 2, 1), Interleave.BSQ: (2, 0, 1)}


def _acquisition(cube: np.ndarray, lines: int | None = None) -> Acquisition:
    return Acquisition(samples=cube.shape[1], bands=cube.shape[2], dtype=cube.dtype, lines=lines)


def _pushed(
    encoder: AdaptiveRowEncoder,
    cube: np.ndarray,
    *,
    lines: int | None = None,
    step: int = 7,
    downlink: DownlinkBudget | None = None,
) -> list[bytes]:
    push_broom = SceneEncoder(encoder, _acquisition(cube, lines), Packetiser(), downlink=downlink)
    packets = [p for first in range(0, len(cube), step) for p in push_broom.push(cube[first : first + step])]
    return packets + push_broom.flush()


@given(
    lines=st.integers(1, 70),
    samples=st.sampled_from([1, 31, 40]),
    steps=st.lists(st.integers(1, 70), min_size=1, max_size=4),
    interleave=st.sampled_from(Interleave),
    dtype=st.sampled_from(["<u2", ">u2", ">i8"]),
)
@settings(deadline=None, max_examples=8)
def test_lines_pushed_in_any_portions_and_order_of_axes_give_the_octets_of_the_scene_at_once(
    encoder: AdaptiveRowEncoder, lines: int, samples: int, steps: list[int], interleave: Interleave, dtype: str
) -> None:
    cube = smooth_cube(lines, samples, 3, seed=lines)
    push_broom = SceneEncoder(encoder, _acquisition(cube, lines), Packetiser())
    packets: list[bytes] = []
    position = turn = 0
    while position < lines:
        portion = cube[position : position + steps[turn % len(steps)]].astype(dtype)
        position, turn = position + len(portion), turn + 1
        packets += push_broom.push(np.ascontiguousarray(portion.transpose(AXES[interleave])), interleave)
    assert packets + push_broom.flush() == packets_of(encoder, cube)


@pytest.mark.parametrize("lines", [1, TILE, TILE + 9])
def test_a_scene_of_open_length_holds_the_tiles_of_the_announced_one(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder, lines: int
) -> None:
    cube = smooth_cube(lines, 40, BANDS)
    packets = _pushed(encoder, cube)
    decoded = decoder.decode(b"".join(packets))
    assert (decoded.quality == Quality.EXACT).all()
    assert np.array_equal(decoded.scene.cube, decoder.decode(scene_stream(encoder, Scene(cube=cube))).scene.cube)
    framing = (UnitKind.SCENE_HEADER, UnitKind.SCENE_END)
    tiles, announced = ([p[19:-2] for p in own if p[14] not in framing] for own in (packets, packets_of(encoder, cube)))
    assert tiles == announced
    assert [packet[14] for packet in packets].count(UnitKind.SCENE_END) == 2
    assert packets == _pushed(encoder, cube, step=lines)


@pytest.mark.parametrize("lines", [5, TILE + 9])
@pytest.mark.parametrize("lost_basis", [False, True])
def test_without_its_end_a_scene_is_as_high_as_its_last_basis_says(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder, lines: int, lost_basis: bool
) -> None:
    cube = smooth_cube(lines, 40, BANDS)
    packets = _pushed(encoder, cube)
    whole = decoder.decode(b"".join(packets)).scene.cube
    last = (lines - 1) // TILE

    def kept(packet: bytes) -> bool:
        basis = packet[14] == UnitKind.STRIP_BASIS and int.from_bytes(packet[19:21], "big") == last
        return packet[14] != UnitKind.SCENE_END and not (lost_basis and basis)

    stream = b"".join(filter(kept, packets))
    with pytest.raises(DecodeError, match="the scene's end did not arrive, so its number of lines is not known"):
        decoder.decode(stream)
    if lost_basis and last == 0:
        with pytest.raises(DecodeError, match="no basis or lossless tile of so many arrived whole"):
            decoder.decode(stream, conceal=True)
        return
    decoded = decoder.decode(stream, conceal=True)
    if not lost_basis:
        assert np.array_equal(decoded.scene.cube, whole)
        assert (decoded.quality == Quality.EXACT).all()
        return
    assert len(decoded.quality) == (last + 1) * TILE
    assert (decoded.quality[last * TILE :] == Quality.LOST).all()
    assert np.array_equal(decoded.scene.cube[: last * TILE], whole[: last * TILE])


def test_scenes_in_progress_do_not_disturb_each_other(encoder: AdaptiveRowEncoder) -> None:
    cubes = [smooth_cube(TILE + 8, 40, bands, seed=bands) for bands in (2, BANDS)]
    both = [SceneEncoder(encoder, _acquisition(cube), Packetiser()) for cube in cubes]
    packets: list[list[bytes]] = [[], []]
    for first in range(0, TILE + 8, 8):
        for scene, cube, own in zip(both, cubes, packets, strict=True):
            own.extend(scene.push(cube[first : first + 8]))
    for scene, cube, own in zip(both, cubes, packets, strict=True):
        assert own + scene.flush() == _pushed(encoder, cube)


def test_memory_does_not_grow_with_the_scene(encoder: AdaptiveRowEncoder) -> None:
    strip = smooth_cube(TILE, TILE, 200)
    peaks = []
    for strips in (3, 3, 27):  # the first warms up
        push_broom = SceneEncoder(encoder, _acquisition(strip), Packetiser(), quality=-20)
        tracemalloc.start()
        for _ in range(strips):
            push_broom.push(strip)
        push_broom.flush()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Of the 24 strips that it is longer by; how far tiles and the next strip overlap is chance.
    assert peaks[2] - peaks[1] < 4 * strip.nbytes


@pytest.mark.parametrize("quality", [30, 70])
def test_a_stored_scenes_budget_is_kept_and_used(encoder: AdaptiveRowEncoder, tmp_path: Path, quality: float) -> None:
    cube = smooth_cube(TILE + 4, TILE, 5)
    budget = len(scene_stream(encoder, Scene(cube=cube), quality=quality))
    writer = RateSearch(encoder=encoder, scene=Scene(cube=cube), folder=tmp_path)
    written = writer.within(budget)
    assert 0.97 * budget <= written.octets == written.path.stat().st_size <= budget
    assert writer.within(10**7).quality == HIGHEST_QUALITY
    with pytest.raises(RateError, match=r"the budget is 100 octets and the bundle's lowest rate takes \d"):
        writer.within(100)


def test_the_fidelity_asked_for_is_reached_and_hardly_passed(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder, tmp_path: Path
) -> None:
    cube = smooth_cube(TILE + 4, TILE, 5)
    writer = RateSearch(encoder=encoder, scene=Scene(cube=cube), folder=tmp_path)
    written = writer.of_fidelity(66, decoder)
    decoded = decoder.decode(written.path.read_bytes()).scene.cube
    assert written.psnr_db == pytest.approx(psnr(cube, decoded, 10_000))
    assert 66 <= psnr(cube, decoded, 10_000) < 67  # it leaps where a component no longer pays


@pytest.mark.parametrize(("window", "announced"), [(TILE, True), (3 * TILE, False)])
def test_a_downlinks_budget_is_kept_at_every_line_and_used(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder, window: int, announced: bool
) -> None:
    cube = smooth_cube(2 * TILE + 9, TILE, 3)
    octets_per_line = len(scene_stream(encoder, Scene(cube=cube), quality=75)) / len(cube)
    budget = DownlinkBudget(octets_per_line=octets_per_line, window_lines=window)
    push_broom = SceneEncoder(
        encoder, _acquisition(cube, len(cube) if announced else None), Packetiser(), downlink=budget
    )
    packets: list[bytes] = []
    sent = 0
    for number, line in enumerate(cube, start=1):
        packets += push_broom.push(line)
        sent = sum(map(len, packets))
        assert sent <= octets_per_line * number
    packets += push_broom.flush()
    assert 0.9 * octets_per_line * len(cube) <= sum(map(len, packets)) <= octets_per_line * len(cube)
    assert (decoder.decode(b"".join(packets)).quality == Quality.EXACT).all()


def test_a_starving_downlink_loses_details_first_and_says_so(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder
) -> None:
    # Noise that even the coarsest step does not swallow, so that there are details to leave out.
    cube = np.random.default_rng(0).integers(0, 65535, (2 * TILE, 2 * TILE, 3), np.uint16)
    least = len(scene_stream(encoder, Scene(cube=cube), quality=LOWEST_QUALITY))
    budget = DownlinkBudget(octets_per_line=0.7 * least / len(cube), window_lines=TILE)
    packets = _pushed(encoder, cube, lines=len(cube), downlink=budget)
    assert sum(map(len, packets)) <= 0.7 * least
    with pytest.raises(LostTilesError, match="its sender left out details to keep its budget"):
        decoder.decode(b"".join(packets))
    assert (decoder.decode(b"".join(packets), conceal=True).quality == Quality.MEANS).any()
    kinds = [packet[14] for packet in packets]
    assert (kinds.count(UnitKind.STRIP_BASIS), kinds.count(UnitKind.TILE_BASE)) == (2, 4)
