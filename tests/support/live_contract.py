"""Contract of marked samples, of scenes that come line by line, and of budgets."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from codec_under_test import (
    ANY_HEALTH,
    AXES,
    NO_DATA,
    PEAK,
    SATURATED,
    CodecUnderTest,
)
from coded_scenes import acquisition_of, live_scene, packets_of, pushed, segment_of, stream_of, without
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.codec.acquisition import Acquisition, Interleave
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_decoder import AnyDecoder
from hyvic_runtime.downlink.rate_control import DownlinkBudget
from hyvic_runtime.errors import DecodeError, LostTilesError, RateError
from hyvic_runtime.flight.rate_search import RateSearch, WrittenStream
from hyvic_runtime.packets.quality import HIGHEST_QUALITY, LOWEST_QUALITY
from hyvic_runtime.packets.space_packet import UnitKind
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.metrics import psnr
from scenes import TILE, smooth_cube


class LiveContract(CodecUnderTest):
    """Tests of marks, live scenes and budgets."""

    # ------------------------------------------------------------------------------------------------ marked samples

    def test_no_data_comes_back_exactly_and_nothing_else_does(self, encoder: AnyEncoder, decoder: AnyDecoder) -> None:
        scene, valid = self.rotated()
        decoded = decoder.decode(stream_of(encoder, scene))
        assert (decoded.quality == Quality.EXACT).all()
        assert np.array_equal(decoded.scene.cube == NO_DATA, scene.cube == NO_DATA)
        assert decoded.scene.no_data == NO_DATA
        assert np.abs(scene.cube[valid].astype(int) - decoded.scene.cube[valid]).mean() < self.ERROR

    def test_saturated_samples_and_single_bands_come_back_exactly(
        self, encoder: AnyEncoder, decoder: AnyDecoder
    ) -> None:
        scene, _ = self.rotated()
        cube = scene.cube.copy()
        cube[33, 30:44, 2:5] = NO_DATA
        cube[10:20, 30:40, 3:] = SATURATED
        cube[..., self.BANDS - 1] = NO_DATA  # a dead band
        scene = Scene(cube=cube, no_data=NO_DATA)
        decoded = decoder.decode(b"".join(packets_of(encoder, scene, saturated=SATURATED)))
        for value in (NO_DATA, SATURATED):
            assert np.array_equal(decoded.scene.cube == value, cube == value)
        assert (decoded.quality == Quality.EXACT).all()

    @pytest.mark.parametrize("value", [-1, -32768, 0])
    def test_a_scene_of_nothing_but_no_data_passes(self, encoder: AnyEncoder, decoder: AnyDecoder, value: int) -> None:
        scene = Scene(cube=np.full((40, 40, self.BANDS), value, np.int16), no_data=value)
        decoded = decoder.decode(stream_of(encoder, scene))
        assert np.array_equal(decoded.scene.cube, scene.cube)
        assert (decoded.quality == Quality.EXACT).all()

    def test_tiles_without_marks_carry_none(self, encoder: AnyEncoder) -> None:
        cube = self.cube(TILE, 2 * TILE)
        cube[:, TILE + 8 :] = NO_DATA
        segments = [segment_of(packet) for packet in packets_of(encoder, Scene(cube=cube, no_data=NO_DATA))]
        assert [s.column for s in segments if s.kind == UnitKind.TILE_MASKS] == [1]

    def test_lost_marks_are_noticed(self, encoder: AnyEncoder, decoder: AnyDecoder) -> None:
        scene, _ = self.rotated(TILE)
        stream = without(packets_of(encoder, scene), lambda s: (s.kind, s.column) == (UnitKind.TILE_MASKS, 0))
        with pytest.raises(LostTilesError, match=r"tile 0, 0: its marks did not arrive whole"):
            decoder.decode(stream)
        decoded = decoder.decode(stream, conceal=True)
        assert (decoded.quality[:, :TILE] == Quality.AFFECTED).all()
        assert (decoded.scene.cube[:, :TILE] != NO_DATA).all()
        assert np.array_equal(decoded.scene.cube[:, TILE:] == NO_DATA, scene.cube[:, TILE:] == NO_DATA)

    def test_a_lost_tile_becomes_no_data(self, encoder: AnyEncoder, decoder: AnyDecoder) -> None:
        scene, _ = self.rotated(TILE)
        tiles = (UnitKind.TILE_BASE, UnitKind.TILE_REFINEMENT, UnitKind.TILE_MASKS)
        stream = without(packets_of(encoder, scene), lambda s: s.kind in tiles and s.column == 0)
        assert (decoder.decode(stream, conceal=True).scene.cube[:, :TILE] == NO_DATA).all()

    def test_adjacent_marked_values_are_only_where_they_are_marked(
        self, encoder: AnyEncoder, decoder: AnyDecoder
    ) -> None:
        no_data, saturated = 1, 0
        cube = np.random.default_rng(0).integers(0, 4, (TILE, TILE, self.BANDS), np.uint8)
        packets = packets_of(encoder, Scene(cube=cube, no_data=no_data), saturated=saturated)
        decoded = decoder.decode(b"".join(packets)).scene.cube
        for value in (no_data, saturated):
            assert np.array_equal(decoded == value, cube == value)

    # --------------------------------------------------------------------------------------------------- live scenes

    @given(
        lines=st.integers(1, 70),
        samples=st.sampled_from([1, 31, 40]),
        steps=st.lists(st.integers(0, 70), min_size=1, max_size=5),
        interleave=st.sampled_from(Interleave),
        dtype=st.sampled_from(["<u2", ">u2", "<u4", ">i8"]),
    )
    @settings(max_examples=30, **ANY_HEALTH)
    def test_lines_pushed_in_any_portions_and_order_of_axes_give_the_octets_of_the_scene_at_once(
        self, encoder: AnyEncoder, lines: int, samples: int, steps: list[int], interleave: Interleave, dtype: str
    ) -> None:
        cube = self.cube(lines, samples, seed=lines)
        cube[lines // 2, samples // 2 :, 1] = SATURATED
        scene = Scene(cube=cube, no_data=int(cube[0, 0, 0]))
        acquisition = Acquisition(
            samples=samples,
            bands=self.BANDS,
            dtype=cube.dtype,
            lines=lines,
            mean_spectrum=encoder.mean_spectrum(scene),
            no_data=scene.no_data,
            saturated=SATURATED,
            scene_id=1,
        )
        live = live_scene(encoder, acquisition)
        packets: list[bytes] = []
        position = turn = 0
        while position < lines:
            portion = cube[position : position + steps[turn % len(steps)] + (turn > 10)].astype(dtype)
            position, turn = position + len(portion), turn + 1
            packets += live.push(np.ascontiguousarray(portion.transpose(AXES[interleave])), interleave)
        assert packets + live.flush() == packets_of(encoder, scene, saturated=SATURATED, scene_id=1)

    @pytest.mark.parametrize("lines", [1, TILE, TILE + 9, 3 * TILE - 1])
    def test_a_scene_of_open_length_comes_back_whole(
        self, encoder: AnyEncoder, decoder: AnyDecoder, lines: int
    ) -> None:
        cube = self.cube(lines, 40)
        packets = pushed(encoder, cube)
        decoded = decoder.decode(b"".join(packets))
        assert decoded.scene.cube.shape == cube.shape
        assert (decoded.quality == Quality.EXACT).all()
        assert np.abs(cube.astype(int) - decoded.scene.cube).mean() < self.ERROR
        ends = [n for n, packet in enumerate(packets) if segment_of(packet).kind == UnitKind.SCENE_END]
        assert len(ends) == 2
        # A call may return other packets where more lines come at a time; their order stays.
        assert packets == pushed(encoder, cube, step=lines)
        for lost in ends:
            assert len(decoder.decode(b"".join(packets[:lost] + packets[lost + 1 :])).scene.cube) == lines

    @pytest.mark.parametrize("lines", [1, TILE - 1, TILE + 9])
    def test_without_its_end_a_scene_is_refused_or_as_high_as_it_was_coded(
        self, encoder: AnyEncoder, decoder: AnyDecoder, lines: int
    ) -> None:
        packets = pushed(encoder, self.cube(lines, 40))
        whole = decoder.decode(b"".join(packets)).scene.cube
        stream = without(packets, lambda s: s.kind == UnitKind.SCENE_END)
        with pytest.raises(DecodeError, match="the scene's end did not arrive, so its number of lines is not known"):
            decoder.decode(stream)
        decoded = decoder.decode(stream, conceal=True)
        assert len(decoded.quality) in (lines, self.lines_without_end(encoder, lines))
        exact = decoded.quality == Quality.EXACT
        assert not exact[lines:].any()
        assert exact.any() or lines < TILE
        assert np.array_equal(decoded.scene.cube[:lines][exact[:lines]], whole[exact[:lines]])

    def test_scenes_in_progress_do_not_disturb_each_other(self, encoder: AnyEncoder) -> None:
        cubes = [self.cube(TILE + 8, 40, seed) for seed in (1, 2)]
        both = [live_scene(encoder, acquisition_of(cube)) for cube in cubes]
        packets: list[list[bytes]] = [[], []]
        for first in range(0, TILE + 8, 8):
            for scene, cube, own in zip(both, cubes, packets, strict=True):
                own.extend(scene.push(cube[first : first + 8]))
        for scene, cube, own in zip(both, cubes, packets, strict=True):
            assert own + scene.flush() == pushed(encoder, cube)

    def test_memory_does_not_grow_with_the_scene(self, encoder: AnyEncoder) -> None:
        """NumPy reports what it takes; what an engine takes is one tile's.

        Threads decide how far tiles and the next strip overlap, so the peak shows within some strips.
        """
        samples, bands = self.MEMORY_SCENE
        strip = smooth_cube(TILE, samples, bands)
        peaks = []
        for strips in (6, 6, 40):  # the first warms up
            scene = live_scene(encoder, acquisition_of(strip), quality=LOWEST_QUALITY)
            tracemalloc.start()
            for _ in range(strips):
                scene.push(strip)
            scene.flush()
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[2] - peaks[1] < self.MEMORY_STRIPS * strip.nbytes

    # ------------------------------------------------------------------------------------------------------- budgets

    def test_a_stored_scenes_budget_is_kept_and_used(self, encoder: AnyEncoder, tmp_path: Path) -> None:
        scene = Scene(cube=self.cube(40, 70))
        writer = RateSearch(encoder=encoder, scene=scene, folder=tmp_path)
        least, most = writer.at_quality(LOWEST_QUALITY).octets, writer.at_quality(HIGHEST_QUALITY).octets
        for budget in [len(stream_of(encoder, scene, quality=quality)) for quality in (0, 30, 70, 100)]:
            stream = writer.within(budget)
            assert 0.97 * budget <= stream.octets <= budget
            assert len(stream.read()) == stream.octets
        assert writer.within(10 * most).quality == HIGHEST_QUALITY
        with pytest.raises(
            RateError, match=rf"the budget is {least - 1:,} octets and the bundle's lowest rate takes {least:,}"
        ):
            writer.within(least - 1)

    def test_the_fidelity_asked_for_is_reached_and_hardly_passed(
        self, encoder: AnyEncoder, decoder: AnyDecoder, tmp_path: Path
    ) -> None:
        cube = self.cube(TILE + 4, TILE)
        writer = RateSearch(encoder=encoder, scene=Scene(cube=cube), folder=tmp_path)

        def fidelity(stream: WrittenStream) -> float:
            return psnr(cube, decoder.decode(stream.read()).scene.cube, PEAK)

        asked = (fidelity(writer.at_quality(0)) + fidelity(writer.at_quality(100))) / 2
        stream = writer.of_fidelity(asked, decoder)
        assert stream.psnr_db == pytest.approx(fidelity(stream))
        assert asked <= stream.psnr_db < asked + self.FIDELITY_SLACK

    @pytest.mark.parametrize(("window", "announced"), [(TILE, True), (3 * TILE, False)])
    def test_a_downlinks_budget_is_kept_at_every_line_and_used(
        self, encoder: AnyEncoder, decoder: AnyDecoder, window: int, announced: bool
    ) -> None:
        cube = self.cube(4 * TILE - 11, TILE)
        octets_per_line = len(stream_of(encoder, cube, quality=75)) / len(cube)
        budget = DownlinkBudget(octets_per_line=octets_per_line, window_lines=window)

        def coded() -> list[bytes]:
            live = live_scene(encoder, acquisition_of(cube, len(cube) if announced else None), downlink=budget)
            packets: list[bytes] = []
            for number, line in enumerate(cube, start=1):
                packets += live.push(line)
                assert sum(map(len, packets)) <= octets_per_line * number
            return packets + live.flush()

        packets = coded()
        assert self.DOWNLINK_USE * octets_per_line * len(cube) <= sum(map(len, packets))
        assert sum(map(len, packets)) <= octets_per_line * len(cube)
        assert decoder.decode(b"".join(packets), conceal=True).scene.cube.shape == cube.shape
        assert packets == coded()

    def test_a_starving_downlink_keeps_its_budget_and_says_what_it_left_out(
        self, encoder: AnyEncoder, decoder: AnyDecoder
    ) -> None:
        # Noise that even the coarsest step does not swallow, so that there are refinements to leave out.
        cube = np.random.default_rng(0).integers(0, 65535, (2 * TILE, 2 * TILE, self.BANDS), np.uint16)
        least = len(stream_of(encoder, cube, quality=LOWEST_QUALITY))
        budget = DownlinkBudget(octets_per_line=0.7 * least / len(cube), window_lines=TILE)
        packets = pushed(encoder, cube, lines=len(cube), downlink=budget)
        assert sum(map(len, packets)) <= 0.7 * least
        with pytest.raises(LostTilesError, match=r"its sender left out .* to keep its budget"):
            decoder.decode(b"".join(packets))
        quality = decoder.decode(b"".join(packets), conceal=True).quality
        assert (quality == Quality.MEANS).any()
        assert (quality != Quality.LOST).all()

    def test_a_downlink_that_cannot_carry_the_header_is_refused(self, encoder: AnyEncoder) -> None:
        with pytest.raises(RateError, match=r"the downlink carries 64 octets in 32 lines, and what frames the scene"):
            live_scene(
                encoder,
                acquisition_of(self.cube(1, 40)),
                downlink=DownlinkBudget(octets_per_line=2, window_lines=99),
            )
