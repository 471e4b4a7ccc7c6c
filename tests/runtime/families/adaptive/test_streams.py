"""Scene to packets and back with one adaptive bundle, whatever the sensor."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coded_scenes import interleaved, packets_of, segment_of
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.scene_encoder import SceneEncoder, scene_stream
from hyvic_runtime.entropy.unit_coder import BlockReader, BlockWriter
from hyvic_runtime.errors import DecodeError, SceneError
from hyvic_runtime.families.adaptive.bundle import AdaptiveBundle
from hyvic_runtime.families.adaptive.decoder import AdaptiveDecoder
from hyvic_runtime.families.adaptive.encoder import AdaptiveRowEncoder
from hyvic_runtime.packets.quality import HIGHEST_QUALITY, LOWEST_QUALITY
from hyvic_runtime.packets.reassembly import receive
from hyvic_runtime.packets.space_packet import Packetiser, UnitKind
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.metrics import mean_squared_error, psnr
from scenes import TILE, smooth_cube

PEAK = 10_000


def _step(quality: float) -> float:
    return float(2 ** (10 - quality / 10))


@pytest.mark.parametrize(
    ("shape", "bands", "dtype", "tile"),
    [
        ((1, 1), 1, np.uint16, TILE),
        ((1, 300), 3, np.int16, TILE),
        ((257, 5), 2, np.uint8, TILE),
        ((300, 300), 3, np.uint16, 128),
        ((40, 33), 224, np.int16, TILE),
        ((33, 32), 202, np.uint16, TILE),
        ((20, 40), 162, np.uint16, TILE),
        ((64, 31), 102, np.uint8, TILE),
    ],
)
def test_one_bundle_codes_scenes_of_any_size_type_and_number_of_bands(
    bundle: AdaptiveBundle, shape: tuple[int, int], bands: int, dtype: Any, tile: int
) -> None:
    bundle = replace(bundle, manifest=replace(bundle.manifest, tile=tile))
    cube = smooth_cube(*shape, bands, seed=11)
    cube = (cube // 24 if dtype == np.uint8 else cube - 2000 * (dtype == np.int16)).astype(dtype)
    stream = scene_stream(AdaptiveRowEncoder(bundle), Scene(cube=cube), quality=60)
    decoded = AdaptiveDecoder(bundle).decode(stream)
    assert (decoded.scene.cube.shape, decoded.scene.cube.dtype) == (cube.shape, cube.dtype)
    assert (decoded.quality == Quality.EXACT).all()
    # A coefficient is off by a step at the most, but those of components that do not pay: for less than their octets.
    assert mean_squared_error(cube, decoded.scene.cube) < _step(60) ** 2 / 4 + 1
    assert receive(stream).scene().header.mean_spectrum is None


@pytest.mark.parametrize("value", [0, 7, 65535])
@pytest.mark.parametrize("shape", [(1, 1, 1), (40, 35, 1), (33, 40, 20)])
def test_a_constant_scene_comes_back_within_a_step_in_few_octets(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder, value: int, shape: tuple[int, int, int]
) -> None:
    cube = np.full(shape, value, np.uint16)
    packets = packets_of(encoder, cube)
    decoded = decoder.decode(b"".join(packets)).scene.cube
    assert np.abs(cube.astype(int) - decoded).max() <= _step(50)
    assert max(len(packet) for packet in packets) < 80


def test_pixels_that_are_all_equal_come_back_within_a_step(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder
) -> None:
    cube = np.broadcast_to(smooth_cube(1, 1, 50, seed=3), (40, 40, 50)).copy()
    decoded = decoder.decode(scene_stream(encoder, Scene(cube=cube))).scene.cube
    assert np.abs(cube.astype(int) - decoded).max() <= 2  # a mean of so many pixels has finer steps
    finest = decoder.decode(scene_stream(encoder, Scene(cube=cube), quality=HIGHEST_QUALITY)).scene.cube
    assert np.array_equal(finest, cube)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_noise_over_the_whole_range_is_coded_to_the_step(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder, dtype: Any
) -> None:
    limits = np.iinfo(dtype)
    cube = np.random.default_rng(0).integers(limits.min, limits.max, (20, 33, 5), dtype, endpoint=True)
    quality = HIGHEST_QUALITY if dtype == np.uint8 else 90
    decoded = decoder.decode(scene_stream(encoder, Scene(cube=cube), quality=quality))
    assert (decoded.quality == Quality.EXACT).all()
    assert np.abs(cube.astype(int) - decoded.scene.cube).max() <= 8 * max(_step(quality), 0.5)


def test_edges_over_the_whole_range_are_coded_to_the_step(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder
) -> None:
    """Their coefficients are beyond what float32 holds exactly."""
    cube = np.full((TILE, 3 * TILE, 202), 100, np.uint16)
    cube[:, TILE + 5 : 2 * TILE] = 65_000
    decoded = decoder.decode(scene_stream(encoder, Scene(cube=cube), quality=HIGHEST_QUALITY)).scene.cube
    assert np.abs(cube.astype(int) - decoded).max() <= 1


@pytest.mark.parametrize("progressive", [False, True])
def test_the_decoder_reads_the_encoders_symbols(
    bundle: AdaptiveBundle, monkeypatch: pytest.MonkeyPatch, progressive: bool
) -> None:
    written: dict[int, list[np.ndarray]] = defaultdict(list)
    read: dict[int, list[np.ndarray]] = defaultdict(list)
    kept: list[object] = []  # so that no identity comes twice
    put, take = BlockWriter.write, BlockReader.read

    def write_block(self: BlockWriter, symbols: np.ndarray, rows: np.ndarray) -> None:
        kept.append(self)
        written[id(self)].append(symbols.astype(np.int32))
        put(self, symbols, rows)

    def read_block(self: BlockReader, rows: np.ndarray) -> np.ndarray:
        kept.append(self)
        symbols = take(self, rows)
        read[id(self)].append(symbols)
        return symbols

    def units(blocks: dict[int, list[np.ndarray]]) -> list[bytes]:
        return sorted(np.concatenate(of_unit).tobytes() for of_unit in blocks.values())

    packets = packets_of(AdaptiveRowEncoder(bundle, workers=1), smooth_cube(36, 40, 7), progressive=progressive)
    decoder = AdaptiveDecoder(bundle, workers=1)  # whose checks read and write as well
    monkeypatch.setattr(BlockWriter, "write", write_block)
    encoder = AdaptiveRowEncoder(bundle, workers=1)
    written.clear()
    assert packets_of(encoder, smooth_cube(36, 40, 7), progressive=progressive) == packets
    monkeypatch.setattr(BlockReader, "read", read_block)
    decoder.decode(b"".join(packets))
    assert units(written) == units(read)
    assert len(written) >= 2 * (1 + 2 * 2)  # a basis a row, and two units a tile


def test_scenes_of_several_sensors_share_a_stream(encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder) -> None:
    cubes = [smooth_cube(40, 40, bands, seed=bands) for bands in (3, 20)]
    packets = [packets_of(encoder, cube, scene_id=number) for number, cube in enumerate(cubes)]
    mixed = interleaved(packets)
    with pytest.raises(DecodeError, match="the stream holds 2 scenes"):
        decoder.decode(mixed)
    for number, own in enumerate(packets):
        alone = decoder.decode(b"".join(own)).scene.cube
        assert np.array_equal(decoder.decode(mixed, scene_id=number).scene.cube, alone)


def test_what_such_a_bundle_needs_to_know_is_asked_for(encoder: AdaptiveRowEncoder) -> None:
    from hyvic_runtime.codec.acquisition import Acquisition

    with pytest.raises(SceneError, match="codes any number of bands, so the acquisition has to name its own"):
        SceneEncoder(encoder, Acquisition(samples=4, dtype=np.dtype(np.uint16)), Packetiser())


def test_every_row_brings_its_basis_and_every_fourth_the_header(encoder: AdaptiveRowEncoder) -> None:
    segments = [segment_of(packet) for packet in packets_of(encoder, smooth_cube(9 * TILE, 40, 3))]
    assert [s.row for s in segments if s.kind == UnitKind.STRIP_BASIS] == list(range(9))
    assert sum(s.kind == UnitKind.SCENE_HEADER for s in segments) == 3


def test_wavelengths_go_with_the_scene(encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder, tmp_path: Path) -> None:
    wavelengths = np.linspace(400, 900, 6)
    scene = Scene(cube=smooth_cube(9, 9, 6), wavelengths=wavelengths)
    decoded = decoder.decode(scene_stream(encoder, scene)).scene
    assert decoded.wavelengths is not None
    assert np.array_equal(decoded.wavelengths.astype("f4"), wavelengths.astype("f4"))
    assert decoder.decode(scene_stream(encoder, Scene(cube=scene.cube))).scene.wavelengths is None


def test_fidelity_rises_with_the_quality_and_the_ratio_falls(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder
) -> None:
    cube = smooth_cube(40, 32, 12, seed=3)
    figures = []
    for quality in (LOWEST_QUALITY, 0, 30, 60, 90, HIGHEST_QUALITY):
        stream = scene_stream(encoder, Scene(cube=cube), quality=quality)
        figures.append((len(stream), psnr(cube, decoder.decode(stream).scene.cube, PEAK)))
    octets, fidelities = zip(*figures, strict=True)
    assert all(np.diff(octets) > 0)
    assert all(np.diff(fidelities) > 1)  # of ten units of quality and more
    assert figures[-1][1] > 70
    assert scene_stream(encoder, Scene(cube=cube)) == scene_stream(encoder, Scene(cube=cube), quality=50)
