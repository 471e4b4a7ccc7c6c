"""Budgets are kept and used, for stored scenes and while lines arrive."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hyvic_runtime.codec.acquisition import Acquisition
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.scene_encoder import SceneEncoder, scene_packets, scene_stream
from hyvic_runtime.downlink.rate_control import DownlinkBudget, Trial, highest_within
from hyvic_runtime.errors import DecodeError, LostTilesError, RateError
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.latent.rate_gains import RateGains
from hyvic_runtime.flight.rate_search import RateSearch
from hyvic_runtime.packets.quality import (
    CODES_PER_OCTAVE,
    HIGHEST_CODE,
    HIGHEST_QUALITY,
    LOWEST_CODE,
    LOWEST_QUALITY,
    MAX_QUALITY_CODE,
    code_of_position,
    log_rate_position,
    quality_code,
)
from hyvic_runtime.packets.reassembly import UnitKey, receive
from hyvic_runtime.packets.space_packet import Packetiser, UnitKind
from hyvic_runtime.packets.tile_prefix import TilePrefix, unpack_tile_prefix
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.metrics import psnr
from scenes import BANDS, smooth_cube

TILE = 32


@given(
    steps=st.lists(st.tuples(st.integers(LOWEST_CODE, HIGHEST_CODE), st.floats(0, 3)), max_size=8),
    limit=st.floats(-1, 12),
    start=st.integers(LOWEST_CODE, HIGHEST_CODE),
)
def test_the_search_ends_at_the_limit_or_where_the_next_quality_passes_it(
    steps: list[tuple[int, float]], limit: float, start: int
) -> None:
    """A measure that rises by leaps and stands still between them is the worst there is."""
    attempts = 0

    def measure(code: int) -> float:
        return sum(rise for at, rise in steps if code >= at)

    def attempt(code: int) -> Trial[None]:
        nonlocal attempts
        attempts += 1
        return Trial(code, measure(code), None)

    best = highest_within(attempt, limit=limit, slack=0.025, start=start, slope=2e-4)
    assert attempts < 40
    if best is None:
        assert measure(LOWEST_CODE) > limit
        return
    assert best.measure == measure(best.code) <= limit
    assert best.measure >= limit - 0.025 or best.code == HIGHEST_CODE or measure(best.code + 1) > limit


def test_the_search_looks_behind_a_leap() -> None:
    """Of a scene-adaptive stream whose components are one more at 5001 and none too many for finer steps at 5005."""
    tried: list[int] = []

    def attempt(code: int) -> Trial[None]:
        tried.append(code)
        return Trial(code, code / 10_000 + (0.06 if 5001 <= code < 5005 else 0), None)

    def found(retry_offsets: tuple[int, ...]) -> Trial[None]:
        tried.clear()
        best = highest_within(attempt, limit=0.507, slack=0.0068, start=5002, slope=1e-4, retry_offsets=retry_offsets)
        assert best is not None
        return best

    assert found(()).code == 5000
    assert found((1, 2, 4)).code == 5005
    assert tried[0] == 5002
    assert tried[-2:] == [5003, 5005]
    assert len(set(tried)) == len(tried)
    assert found((1, 2)).code == 5000


def test_the_search_goes_on_from_a_fidelity_without_bound() -> None:
    """Of a picture that comes back exactly."""

    def attempt(code: int) -> Trial[None]:
        return Trial(code, -math.inf if code < 5000 else 0.0 if code < 9000 else 1.0, None)

    best = highest_within(attempt, limit=0.5, slack=0.0, start=5000, slope=1e-3)
    assert best is not None
    assert best.code == 8999


@pytest.mark.parametrize("code", [LOWEST_CODE, -3, 0, 1, 5000, MAX_QUALITY_CODE, MAX_QUALITY_CODE + 3, HIGHEST_CODE])
def test_every_quality_has_a_place_and_a_spelling_on_the_wire(code: int) -> None:
    assert code_of_position(log_rate_position(code)) == code
    assert code_of_position(log_rate_position(code) + 0.4) == code
    for flags in ({}, {"latent_left_out": True}, {"marked": True}):
        lead = TilePrefix(code=code, **flags)
        assert unpack_tile_prefix(lead.pack()) == lead
    # Of the trained range the spelling is that of streams from before there was more.
    assert TilePrefix(code=code).pack() == (code if code >= 0 else 2**14 + code).to_bytes(2, "big")


def test_codes_between_the_highest_and_the_lowest_are_refused() -> None:
    for code in (HIGHEST_CODE + 1, 2**14 + LOWEST_CODE - 1):
        with pytest.raises(DecodeError, match=f"quality code {code} is invalid; the highest is {HIGHEST_CODE}"):
            unpack_tile_prefix(code.to_bytes(2, "big"))
    for quality in (LOWEST_QUALITY - 0.01, HIGHEST_QUALITY + 0.01, float("nan")):
        with pytest.raises(ValueError, match=r"is outside -25.6..130.72"):
            quality_code(quality)


def test_gains_beyond_the_levels_keep_their_ratios_and_their_product(encoder: LatentRowEncoder) -> None:
    gains = encoder.bundle.gains
    for code, level, octaves in ((LOWEST_CODE, 0, -5), (HIGHEST_CODE, -1, 6)):
        gain, inverse = gains.at(code)
        assert np.array_equal(gain[:, 0, 0], gains.values[0, level] * 2.0**octaves)
        assert np.array_equal(inverse[:, 0, 0], gains.values[1, level] / 2.0**octaves)
    single = RateGains(gains.values[:, :1])
    assert np.array_equal(single.at(LOWEST_CODE), single.at(HIGHEST_CODE))


def test_steps_too_fine_for_16_bits_are_made_coarser_for_that_tile_alone(
    encoder: LatentRowEncoder, decoder: LatentDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The strongest latents would be cut, and more octets give a worse picture."""
    cube = smooth_cube(TILE, 3 * TILE, BANDS)
    cube[TILE // 2, 3 * TILE // 2] = 60_000
    scene = Scene(cube=cube)
    asked = MAX_QUALITY_CODE + 3 * CODES_PER_OCTAVE
    stream = scene_stream(encoder, scene, quality=asked / 100)
    units = receive(stream).scene().units
    codes = [unpack_tile_prefix(units[UnitKey(UnitKind.TILE_BASE, 0, column)]).code for column in range(3)]
    assert codes[0] == codes[2] == asked
    assert MAX_QUALITY_CODE <= codes[1] < asked

    def fidelity(quality: float) -> float:
        return psnr(scene.cube, decoder.decode(scene_stream(encoder, scene, quality=quality)).scene.cube, 10_000)

    trained, fine = fidelity(100), fidelity(asked / 100)
    monkeypatch.setattr("hyvic_runtime.families.latent.encoder.MAX_QUALITY_CODE", asked)
    cut = fidelity(asked / 100)
    assert cut < trained
    assert fine > trained - 0.1 * (trained - cut)


@pytest.mark.parametrize("shape", [(40, 70), (20, 20)])
def test_a_stored_scenes_budget_is_kept_and_used(
    encoder: LatentRowEncoder, tmp_path: Path, shape: tuple[int, int]
) -> None:
    scene = Scene(cube=smooth_cube(*shape, BANDS))
    writer = RateSearch(encoder=encoder, scene=scene, folder=tmp_path)
    least, most = writer.at_quality(LOWEST_QUALITY).octets, writer.at_quality(HIGHEST_QUALITY).octets
    trained = writer.at_quality(0).octets, writer.at_quality(100).octets
    assert least < trained[0] < trained[1] / 1.2 < most / 1.44
    for budget in np.geomspace(least, most, 10).astype(int).tolist():
        stream = writer.within(budget)
        assert 0.97 * budget <= stream.octets <= budget
        assert stream.path.stat().st_size == stream.octets
    assert writer.within(10 * most).quality == HIGHEST_QUALITY
    with pytest.raises(
        RateError, match=rf"the budget is {least - 1:,} octets and the bundle's lowest rate takes {least:,}"
    ):
        writer.within(least - 1)


def test_a_fidelity_that_no_rate_gives_is_refused(
    encoder: LatentRowEncoder, decoder: LatentDecoder, tmp_path: Path
) -> None:
    writer = RateSearch(encoder=encoder, scene=Scene(cube=smooth_cube(TILE, TILE, BANDS)), folder=tmp_path)
    with pytest.raises(RateError, match=r"the least PSNR is 99 dB and the bundle's highest rate gives \d+\.\d\d"):
        writer.of_fidelity(99, decoder)


def test_a_bundle_of_one_rate_cannot_obey(encoder: LatentRowEncoder, decoder: LatentDecoder, tmp_path: Path) -> None:
    bundle = encoder.bundle
    single = LatentRowEncoder(replace(bundle, manifest=replace(bundle.manifest, rates=1)))
    writer = RateSearch(encoder=single, scene=Scene(cube=smooth_cube(8, 8, BANDS)), folder=tmp_path)
    for refused in (lambda: writer.within(1000), lambda: writer.of_fidelity(30, decoder)):
        with pytest.raises(ValueError, match="this bundle has a single rate"):
            refused()
    budget = DownlinkBudget(octets_per_line=1e6, window_lines=1)
    with pytest.raises(ValueError, match="this bundle has a single rate"):
        SceneEncoder(single, Acquisition(samples=8, dtype=np.dtype(np.uint16)), Packetiser(), downlink=budget)


def _scene_of_two_terrains() -> np.ndarray:
    """Easy and difficult rows of tiles in turn."""
    cube = smooth_cube(12 * TILE, 2 * TILE, BANDS, seed=4)
    noise = np.random.default_rng(1).normal(0, 300, cube.shape)
    noise[(np.arange(len(cube)) // (2 * TILE)) % 2 == 0] = 0
    return (cube + noise).clip(0, 65535).astype(np.uint16)


def _live(encoder: LatentRowEncoder, cube: np.ndarray, budget: DownlinkBudget, lines: int | None) -> list[bytes]:
    """Packets of a scene pushed 7 lines at a time, no more of them at any line than the budget allows."""
    acquisition = Acquisition(samples=cube.shape[1], dtype=cube.dtype, lines=lines)
    push_broom = SceneEncoder(encoder, acquisition, Packetiser(), downlink=budget)
    packets: list[bytes] = []
    for first in range(0, len(cube), 7):
        packets += push_broom.push(cube[first : first + 7])
        assert sum(map(len, packets)) <= budget.octets_per_line * min(first + 7, len(cube))
    packets += push_broom.flush()
    assert sum(map(len, packets)) <= budget.octets_per_line * len(cube)
    return packets


@pytest.mark.parametrize("known", [True, False])
def test_a_downlinks_budget_is_kept_at_every_line_and_used(
    encoder: LatentRowEncoder, decoder: LatentDecoder, tmp_path: Path, known: bool
) -> None:
    cube = _scene_of_two_terrains()[: 12 * TILE - 11]
    writer = RateSearch(encoder=encoder, scene=Scene(cube=cube), folder=tmp_path)
    octets = writer.at_quality(80).octets
    budget = DownlinkBudget(octets_per_line=octets / len(cube), window_lines=4 * TILE)
    packets = _live(encoder, cube, budget, len(cube) if known else None)
    assert sum(map(len, packets)) >= 0.97 * octets
    assert decoder.decode(b"".join(packets), conceal=True).scene.cube.shape == cube.shape
    assert packets == _live(encoder, cube, budget, len(cube) if known else None)


def test_a_starving_downlink_gets_the_means_and_is_told_so(
    encoder: LatentRowEncoder, decoder: LatentDecoder, tmp_path: Path
) -> None:
    cube = _scene_of_two_terrains()
    writer = RateSearch(encoder=encoder, scene=Scene(cube=cube), folder=tmp_path)
    octets = writer.at_quality(0).octets
    budget = DownlinkBudget(octets_per_line=0.7 * octets / len(cube), window_lines=TILE)
    stream = b"".join(_live(encoder, cube, budget, len(cube)))
    decoded = decoder.decode(stream, conceal=True)
    shares = {quality: np.mean(decoded.quality == quality) for quality in Quality}
    assert shares[Quality.MEANS] > 0.1
    assert shares[Quality.LOST] == 0
    assert shares[Quality.EXACT] > 0.1
    with pytest.raises(LostTilesError, match="its sender left out the latent to keep its budget"):
        decoder.decode(stream)


def test_one_left_out_latent_is_named_as_such(encoder: LatentRowEncoder, decoder: LatentDecoder) -> None:
    from hyvic_runtime.packets.space_packet import Unit, UnitKind
    from hyvic_runtime.packets.tile_prefix import without_latent

    cube = smooth_cube(TILE, TILE, BANDS)
    header, hyper, _ = (p for ps in scene_packets(encoder, Scene(cube=cube), Packetiser(), scene_id=3) for p in ps)
    unit = Unit(kind=UnitKind.TILE_BASE, scene=3, row=0, column=0, octets=hyper[27:-2])
    stream = b"".join([header, *Packetiser().packets(without_latent(unit))])
    assert (decoder.decode(stream, conceal=True).quality == Quality.MEANS).all()


def test_a_downlink_that_cannot_carry_the_header_is_refused(encoder: LatentRowEncoder) -> None:
    acquisition = Acquisition(samples=40, dtype=np.dtype(np.uint16))
    with pytest.raises(
        RateError, match=r"the downlink carries 64 octets in 32 lines, and what frames the scene takes 1"
    ):
        SceneEncoder(encoder, acquisition, Packetiser(), downlink=DownlinkBudget(octets_per_line=2, window_lines=99))
    for octets, lines in ((0.0, 1), (float("nan"), 1), (1.0, 0)):
        with pytest.raises(ValueError, match=r"a positive number is needed|must be at least 1"):
            DownlinkBudget(octets_per_line=octets, window_lines=lines)


def test_a_scene_that_ends_before_the_downlink_carried_its_header_is_refused(encoder: LatentRowEncoder) -> None:
    cube = smooth_cube(1, 40, BANDS)
    acquisition = Acquisition(samples=40, dtype=cube.dtype)
    push_broom = SceneEncoder(
        encoder, acquisition, Packetiser(), downlink=DownlinkBudget(octets_per_line=60, window_lines=256)
    )
    push_broom.push(cube)
    with pytest.raises(
        RateError, match=r"ends after 1 lines, when the downlink has 0 octets for its header, which takes \d+; let more"
    ):
        push_broom.flush()
