"""Contract of stored scenes and of their packets: any order, losses, damage, several scenes in a stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from codec_under_test import (
    ANY_HEALTH,
    FRAMING,
    OTHER_BUNDLE,
    PEAK,
    CodecUnderTest,
)
from coded_scenes import interleaved, packets_of, repacked, segment_of, stream_of, without
from damaged_streams import check_marks_of_damage
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.codec.bundle import Bundle
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_decoder import AnyDecoder
from hyvic_runtime.errors import DecodeError, LostTilesError
from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
from hyvic_runtime.packets.protection import PacketProtector
from hyvic_runtime.packets.space_packet import UnitKind
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.simulation.channel import Channel
from hyvic_runtime.simulation.downlink import DownlinkSimulator, Settings
from hyvic_runtime.support.metrics import psnr
from scenes import TILE, smooth_cube


class StreamContract(CodecUnderTest):
    """Tests of streams."""

    # ---------------------------------------------------------------------------------------------------- round trip

    @pytest.mark.parametrize(
        ("shape", "dtype"),
        [((1, 1), np.uint16), ((TILE, TILE), np.uint16), ((45, 71), np.int16), ((3, 64), np.uint8), ((33, 5), "u2")],
    )
    def test_a_scene_of_any_size_and_type_comes_back(
        self, encoder: AnyEncoder, decoder: AnyDecoder, shape: tuple[int, int], dtype: Any
    ) -> None:
        cube = self.cube(*shape, seed=11)
        cube = (cube // 24 if dtype == np.uint8 else cube).astype(dtype)
        decoded = decoder.decode(stream_of(encoder, cube))
        assert (decoded.scene.cube.shape, decoded.scene.cube.dtype) == (cube.shape, cube.dtype)
        assert (decoded.quality == Quality.EXACT).all()
        assert np.abs(cube.astype(int) - decoded.scene.cube).mean() < self.ERROR

    def test_octets_and_fidelity_rise_with_the_quality(self, encoder: AnyEncoder, decoder: AnyDecoder) -> None:
        cube = self.cube(2 * TILE, TILE, seed=3)
        figures = []
        for quality in (0, 25, 50, 75, 100):
            stream = stream_of(encoder, cube, quality=quality)
            figures.append((len(stream), psnr(cube, decoder.decode(stream).scene.cube, PEAK)))
        assert figures == sorted(figures)
        assert figures[-1][1] - figures[0][1] > self.FIDELITY_RISE
        assert stream_of(encoder, cube) == stream_of(encoder, cube, quality=50)

    def test_octets_do_not_depend_on_the_number_of_workers(self, bundle: Bundle) -> None:
        cube = self.cube(40, 100)
        streams = {stream_of(encoder_of(bundle, workers=workers), cube) for workers in (1, 3)}
        (stream,) = streams
        pictures = [decoder_of(bundle, workers=workers).decode(stream).scene.cube for workers in (1, 3)]
        assert np.array_equal(*pictures)

    def test_a_bundle_of_another_stream_is_refused_in_one_line(
        self, encoder: AnyEncoder, decoder: AnyDecoder, bundle: Bundle
    ) -> None:
        other = read_bundle(OTHER_BUNDLE)
        theirs = stream_of(encoder_of(other), smooth_cube(9, 9, 6))
        ours = stream_of(encoder, self.cube(9, 9))
        message = "the stream was coded with bundle {}, this is bundle {}; decode it with the bundle that encoded it"
        for stream, reader, names in (
            (theirs, decoder, (other, bundle)),
            (ours, decoder_of(other), (bundle, other)),
        ):
            with pytest.raises(DecodeError) as raised:
                reader.decode(stream, conceal=True)
            assert str(raised.value) == message.format(*(name.stream_id.hex() for name in names))

    def test_a_protected_scene_opens_with_its_key_alone(self, encoder: AnyEncoder, decoder: AnyDecoder) -> None:
        key = bytes(range(32))
        cube = self.cube(20, 40)
        stream = b"".join(packets_of(encoder, cube, protector=PacketProtector(key)))
        plain = decoder.decode(stream_of(encoder, cube)).scene.cube
        assert np.array_equal(decoder.decode(stream, key=key).scene.cube, plain)
        for wrong in (bytes(32), None):
            with pytest.raises(DecodeError, match="refused"):
                decoder.decode(stream, key=wrong)

    # ---------------------------------------------------------------------------------- packets: order, loss, damage

    def test_the_order_of_packets_does_not_matter_nor_do_duplicates(
        self, encoder: AnyEncoder, decoder: AnyDecoder
    ) -> None:
        packets = packets_of(encoder, self.cube(70, 40), packet_octets=200)
        straight = decoder.decode(b"".join(packets)).scene.cube
        shuffled = packets + packets[::3]
        np.random.default_rng(0).shuffle(shuffled)
        assert np.array_equal(decoder.decode(b"".join(shuffled)).scene.cube, straight)

    def test_idle_packets_are_passed_over(self, decoder: AnyDecoder, row: list[bytes]) -> None:
        idle = bytes.fromhex("07ff c000 0009") + bytes(10)
        filled = decoder.decode(idle + idle.join(row) + idle)
        assert filled.damage == ()
        assert np.array_equal(filled.scene.cube, decoder.decode(b"".join(row)).scene.cube)

    @pytest.mark.parametrize(
        ("kind", "quality"), [(UnitKind.TILE_BASE, Quality.LOST), (UnitKind.TILE_REFINEMENT, Quality.MEANS)]
    )
    def test_a_lost_unit_is_an_error_unless_it_may_be_concealed(
        self, encoder: AnyEncoder, decoder: AnyDecoder, kind: UnitKind, quality: Quality
    ) -> None:
        packets = packets_of(encoder, self.cube(TILE + 9, 11 * TILE - 5), packet_octets=65000)
        whole = decoder.decode(b"".join(packets)).scene.cube
        stream = without(packets, lambda s: (s.kind, s.row, s.column) == (kind, 0, 5))
        with pytest.raises(LostTilesError, match="1 of 22 tiles cannot be decoded"):
            decoder.decode(stream)
        decoded = decoder.decode(stream, conceal=True)
        lost = (slice(0, TILE), slice(5 * TILE, 6 * TILE))
        assert (decoded.quality[lost] == quality).all()
        assert not decoded.scene.cube[lost].any() or quality == Quality.MEANS
        exact = decoded.quality == Quality.EXACT
        assert np.array_equal(decoded.scene.cube[exact], whole[exact])
        reach = self.reach(encoder)
        assert exact[:, : 5 * TILE - reach].all()
        assert exact[:, 6 * TILE + reach :].all()

    def test_a_damaged_unit_in_a_sound_packet_costs_its_tile(self, decoder: AnyDecoder, row: list[bytes]) -> None:
        def damaged(packet: bytes) -> bytes:
            segment = segment_of(packet)
            hit = (segment.kind, segment.column) == (UnitKind.TILE_REFINEMENT, 0)
            return repacked(packet, bytes(8)) if hit else packet

        stream = b"".join(map(damaged, row))
        with pytest.raises(LostTilesError, match="tile 0, 0: "):
            decoder.decode(stream)
        quality = decoder.decode(stream, conceal=True).quality
        assert (quality[:, :TILE] == Quality.MEANS).all()
        assert (quality[:, TILE:] >= Quality.AFFECTED).all()

    @given(data=st.data())
    @settings(max_examples=60, **ANY_HEALTH)
    def test_no_single_flipped_bit_passes_unnoticed(
        self, decoder: AnyDecoder, small_stream: bytes, data: st.DataObject
    ) -> None:
        bit = data.draw(st.integers(0, 8 * len(small_stream) - 1))
        damaged = bytearray(small_stream)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            decoder.decode(bytes(damaged))

    @given(data=st.data())
    @settings(max_examples=50, **ANY_HEALTH)
    def test_no_truncation_passes_unnoticed(
        self, decoder: AnyDecoder, small_stream: bytes, data: st.DataObject
    ) -> None:
        size = data.draw(st.integers(0, len(small_stream) - 1))
        with pytest.raises(DecodeError):
            decoder.decode(small_stream[:size])

    @given(data=st.data())
    @settings(max_examples=50, **ANY_HEALTH)
    def test_concealment_of_any_damage_marks_what_is_not_exact(
        self, encoder: AnyEncoder, decoder: AnyDecoder, data: st.DataObject
    ) -> None:
        packets = packets_of(encoder, self.cube(20, 40), progressive=data.draw(st.booleans()), packet_octets=120)
        check_marks_of_damage(decoder, b"".join(packets), data, longest=200)

    def test_losses_on_a_channel_leave_every_tile_that_was_not_hit_exact(
        self, encoder: AnyEncoder, decoder: AnyDecoder
    ) -> None:
        simulator = DownlinkSimulator(Scene(cube=self.cube(2 * TILE + 3, TILE + 3)), encoder, decoder)
        perfect = simulator.simulate(Settings(channel=Channel(), packet_octets=200))
        assert perfect.fates["arrived"] == perfect.packets
        assert (perfect.hit_tiles, perfect.unhit_exact, perfect.problem) == ([], True, None)
        assert perfect.received.shares["exact"] == 1
        assert perfect.latency.tiles == perfect.tiles == 6
        lossy = simulator.simulate(Settings(channel=Channel(packet_loss=0.1), seed=3, packet_octets=100))
        assert lossy.fates["lost"] > 0
        assert lossy.hit_tiles
        assert lossy.unhit_exact

    # -------------------------------------------------------------------------------------------- scenes in a stream

    def test_interleaved_scenes_come_back_each(self, encoder: AnyEncoder, decoder: AnyDecoder) -> None:
        packets = [
            packets_of(encoder, self.cube(40, 40, seed=number), scene_id=number, progressive=number == 1)
            for number in (0, 1)
        ]
        mixed = interleaved(packets)
        with pytest.raises(DecodeError, match="the stream holds 2 scenes"):
            decoder.decode(mixed)
        for number, own in enumerate(packets):
            alone = decoder.decode(b"".join(own)).scene.cube
            assert np.array_equal(decoder.decode(mixed, scene_id=number).scene.cube, alone)

    def test_scenes_under_one_identifier_are_not_mixed(self, encoder: AnyEncoder, decoder: AnyDecoder) -> None:
        first, second = (packets_of(encoder, self.cube(40, 40, seed), scene_id=5) for seed in (1, 2))
        tile = [p for p in second if (s := segment_of(p)).kind not in FRAMING and (s.row, s.column) == (0, 0)]
        with pytest.raises(LostTilesError, match="claims the same place"):
            decoder.decode(b"".join(first + tile))
        decoded = decoder.decode(b"".join(first + tile), conceal=True)
        assert (decoded.quality[:TILE, :TILE] <= Quality.MEANS).all()

    def test_scenes_get_identifiers_of_their_own(self, encoder: AnyEncoder) -> None:
        streams = [packets_of(encoder, self.cube(TILE, TILE, seed)) for seed in (1, 2, 1)]
        identifiers = [segment_of(stream[0]).scene for stream in streams]
        assert identifiers[0] == identifiers[2] != identifiers[1]

    def test_a_scene_without_its_header_says_so(self, decoder: AnyDecoder, row: list[bytes]) -> None:
        with pytest.raises(DecodeError, match="scene header"):
            decoder.decode(without(row, lambda s: s.kind == UnitKind.SCENE_HEADER), conceal=True)

    def test_a_late_receiver_finds_a_scene_header(self, encoder: AnyEncoder) -> None:
        segments = [segment_of(packet) for packet in packets_of(encoder, self.cube(9 * TILE, TILE))]
        headers = [n for n, segment in enumerate(segments) if segment.kind == UnitKind.SCENE_HEADER]
        before = [{s.row for s in segments[:place] if s.kind not in FRAMING} for place in headers]
        assert before == [set(), set(range(4)), set(range(8))]

    @given(data=st.data())
    @settings(max_examples=8, **ANY_HEALTH)
    def test_a_progressive_stream_cut_anywhere_lacks_late_parts_alone(
        self, encoder: AnyEncoder, decoder: AnyDecoder, data: st.DataObject
    ) -> None:
        packets = packets_of(encoder, self.cube(TILE + 2, 34), quality=75, progressive=True, packet_octets=300)
        stream = b"".join(packets)
        ends = np.cumsum([len(packet) for packet in packets])
        firsts = (UnitKind.TILE_BASE, *self.STRIP_UNITS)
        first_units = int(ends[max(n for n, p in enumerate(packets) if segment_of(p).kind in firsts)])
        cut = stream[: data.draw(st.integers(first_units, len(stream) - 1))]
        with pytest.raises(DecodeError):
            decoder.decode(cut)
        decoded = decoder.decode(cut, conceal=True)
        assert (decoded.quality != Quality.LOST).all()
        exact = decoded.quality == Quality.EXACT
        assert np.array_equal(decoded.scene.cube[exact], decoder.decode(stream).scene.cube[exact])

    def test_a_progressive_streams_units_are_the_ordinary_ones(self, encoder: AnyEncoder) -> None:
        cube = self.cube(TILE + 2, 34)
        ordinary, progressive = (packets_of(encoder, cube, progressive=p) for p in (False, True))
        counts = [int.from_bytes(packet[2:4], "big") & 0x3FFF for packet in progressive]
        assert counts == list(range(len(progressive)))
        assert {packet[14:-2] for packet in progressive} == {packet[14:-2] for packet in ordinary}
