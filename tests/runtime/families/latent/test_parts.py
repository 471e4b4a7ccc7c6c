"""Latents coded part by part: their order in a stream, and what is left of a tile when late parts are not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coded_scenes import packets_of
from hyvic_runtime.codec.acquisition import Acquisition
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.scene_encoder import DEFAULT_QUALITY, SceneEncoder
from hyvic_runtime.downlink.rate_control import DownlinkBudget
from hyvic_runtime.engines.engine import Engine, OnnxRuntimeEngine
from hyvic_runtime.errors import BundleError, LostTilesError
from hyvic_runtime.families.latent.bundle import (
    DECODER,
    ENCODER,
    HYPERDECODER,
    LatentBundle,
    graph_names,
    slice_graph,
)
from hyvic_runtime.families.latent.conformance import check_encoder, check_entropy_path
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.latent.entropy_path import EntropyPath, WalkedLatent, load_entropy_path
from hyvic_runtime.families.latent.expected_outputs import check_expected_outputs, write_expected_outputs
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.flight.rate_search import RateSearch
from hyvic_runtime.packets.quality import quality_code
from hyvic_runtime.packets.reassembly import ReceivedUnits, UnitKey, receive
from hyvic_runtime.packets.space_packet import Packetiser, Segment, Unit, UnitKind, parse_stream
from hyvic_runtime.packets.tile_prefix import without_latent
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.scene.tile_grid import Tile, coded_shape
from numpy.typing import NDArray
from scenes import BANDS, smooth_cube

TILE, PARTS = 32, 3
SHAPE = (45, 70, BANDS)
"""Two rows of three tiles, the last of each cut."""
HEADER, HYPERLATENT = UnitKind.SCENE_HEADER, UnitKind.TILE_BASE
LATENTS = (UnitKind.TILE_REFINEMENT, 16, 17)
"""Unit kinds of the parts, on the wire."""


@pytest.fixture(scope="module")
def bundle(tiny_joint_bundle: Path) -> LatentBundle:
    return read_bundle(tiny_joint_bundle)


@pytest.fixture(scope="module")
def encoder(bundle: LatentBundle) -> LatentRowEncoder:
    return LatentRowEncoder(bundle)


@pytest.fixture(scope="module")
def decoder(bundle: LatentBundle) -> LatentDecoder:
    return LatentDecoder(bundle)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(cube=smooth_cube(*SHAPE))


def _kinds(packets: list[bytes]) -> list[int]:
    return [packet[14] for packet in packets]


@pytest.fixture(scope="module")
def received(encoder: LatentRowEncoder, scene: Scene) -> ReceivedUnits:
    return receive(b"".join(packets_of(encoder, scene))).scene()


def test_a_rows_hyperlatents_come_first_and_its_latents_part_by_part(encoder: LatentRowEncoder, scene: Scene) -> None:
    packets = packets_of(encoder, scene)
    row = [HYPERLATENT] * 3 + [kind for kind in LATENTS for _ in range(3)]
    assert _kinds(packets) == [HEADER, *row, *row]
    segments = [item for item in parse_stream(b"".join(packets)) if isinstance(item, Segment)]
    places = [(row, column) for row in range(2) for _ in range(1 + PARTS) for column in range(3)]
    assert [(s.row, s.column) for s in segments[1:]] == places
    assert [s.part for s in segments[1:13]] == [0] * 6 + [1] * 3 + [2] * 3


def test_a_progressive_streams_parts_are_the_whole_scenes(encoder: LatentRowEncoder, scene: Scene) -> None:
    packets = packets_of(encoder, scene, progressive=True)
    assert _kinds(packets) == [HEADER, *[HYPERLATENT] * 6, *(k for kind in LATENTS for k in (HEADER, *[kind] * 6))]
    counts = [int.from_bytes(packet[2:4], "big") & 0x3FFF for packet in packets]
    assert counts == list(range(len(packets)))
    ordinary = packets_of(encoder, scene)
    assert {packet[14:-2] for packet in packets} == {packet[14:-2] for packet in ordinary}


def _cut(units: Mapping[UnitKey, bytes], keep: Callable[[UnitKey], bool]) -> dict[UnitKey, bytes]:
    return {key: octets for key, octets in units.items() if keep(key)}


def _coded(encoder: LatentRowEncoder, scene: Scene, tile: Tile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ẑ and symbols of a whole tile, zero where they are not coded, and the latter as they are coded."""
    grid, geometry = encoder.grid(scene), encoder.bundle.manifest.geometry
    coded = encoder.symbols(scene, grid, tile, encoder.mean_spectrum(scene), quality_code(DEFAULT_QUALITY))
    whole = []
    for array, size in ((coded.hyperlatent, geometry.hyperlatents), (coded.symbols, geometry.latents)):
        padded = np.zeros((len(array), size, size), np.int32)
        padded[:, : array.shape[1], : array.shape[2]] = array
        whole.append(padded)
    return whole[0], whole[1], coded.symbols


@pytest.mark.parametrize("arrived", range(PARTS + 1))
def test_latents_are_the_walk_with_zeros_for_what_did_not_arrive(
    encoder: LatentRowEncoder, decoder: LatentDecoder, scene: Scene, received: ReceivedUnits, arrived: int
) -> None:
    """All parts give what the encoder meant; fewer give what is predicted without them."""
    manifest = encoder.bundle.manifest
    path = load_entropy_path(encoder.bundle)
    units = _cut(received.units, lambda key: key.kind != UnitKind.TILE_REFINEMENT or key.part < arrived)
    _, inverse_gain = encoder.bundle.gains.at(quality_code(DEFAULT_QUALITY))
    for tile in encoder.grid(scene):
        hyperlatent, symbols, chosen = _coded(encoder, scene, tile)
        known = arrived * manifest.latent_channels // PARTS
        symbols[known:] = 0
        lines, samples = coded_shape(tile, manifest.geometry.latent_stride)
        steps = path.walk_coded(hyperlatent, symbols).latent_steps[:, :lines, :samples]
        expected = steps.astype(np.float32) * np.float32(2.0**-manifest.mean_step_bits) * inverse_gain

        decoded = decoder.tile_latents(units, tile)
        assert decoded.parts == arrived
        assert np.array_equal(decoded.symbols[:known], chosen[:known])
        assert not decoded.symbols[known:].any()
        assert np.array_equal(decoded.latent, expected)
        assert decoded.quality == (Quality.EXACT if arrived == PARTS else Quality.MEANS)
        assert (decoded.problem is None) == (arrived == PARTS)


def test_parts_behind_a_missing_one_are_not_read(
    decoder: LatentDecoder, encoder: LatentRowEncoder, scene: Scene, received: ReceivedUnits
) -> None:
    tile = encoder.grid(scene).tile(0, 1)
    gap = decoder.tile_latents(_cut(received.units, lambda key: key.part != 1), tile)
    tail = decoder.tile_latents(_cut(received.units, lambda key: key.part < 1), tile)
    assert gap.parts == tail.parts == 1
    assert np.array_equal(gap.latent, tail.latent)
    assert gap.problem == "tile 0, 1: part 1 of the latent did not arrive whole"


def test_a_part_that_is_damaged_ends_its_tile(
    decoder: LatentDecoder, encoder: LatentRowEncoder, scene: Scene, received: ReceivedUnits
) -> None:
    tile = encoder.grid(scene).tile(0, 0)
    units = received.units | {UnitKey.of(UnitKind.TILE_REFINEMENT, tile, 1): bytes(8)}
    damaged = decoder.tile_latents(units, tile)
    assert (damaged.parts, damaged.quality) == (1, Quality.MEANS)
    assert damaged.problem is not None
    assert "tile 0, 0: a coded unit" in damaged.problem


def test_a_lost_late_part_is_a_loss_unless_it_may_be_concealed(
    encoder: LatentRowEncoder, decoder: LatentDecoder, scene: Scene
) -> None:
    packets = packets_of(encoder, scene)
    lost = [packet for packet in packets if (packet[14], packet[22]) != (17, 2)]  # of the column of cut tiles
    assert len(packets) == len(lost) + 2
    with pytest.raises(LostTilesError, match=r"2 of 6 tiles .*22 of 24 units arrived whole"):
        decoder.decode(b"".join(lost))
    decoded = decoder.decode(b"".join(lost), conceal=True)
    assert (decoded.quality[:, 2 * TILE :] == Quality.MEANS).all()
    assert (decoded.quality[:, : 2 * TILE] >= Quality.AFFECTED).all()


def test_what_its_sender_left_out_is_named_as_such(
    encoder: LatentRowEncoder, decoder: LatentDecoder, scene: Scene, received: ReceivedUnits
) -> None:
    units = [
        Unit(kind=key.kind, scene=1, row=key.row, column=key.column, octets=octets, part=key.part)
        for key, octets in received.units.items()
        if key.part < 2
    ]
    packetiser = Packetiser()
    thinned = [
        packets_of(encoder, scene, scene_id=1)[0],
        *(p for unit in units for p in packetiser.packets(without_latent(unit))),
    ]
    with pytest.raises(LostTilesError, match="tile 0, 0: its sender left out part 2 of the latent to keep its budget"):
        decoder.decode(b"".join(thinned))
    assert (decoder.decode(b"".join(thinned), conceal=True).quality == Quality.MEANS).all()
    # A part that was sent, since one behind it arrived, and lost on the way.
    lost = [packet for packet in thinned if (packet[14], packet[20], packet[22]) != (UnitKind.TILE_REFINEMENT, 0, 0)]
    with pytest.raises(LostTilesError, match="17 of 18 units arrived whole"):
        decoder.decode(b"".join(lost))


def test_a_starving_downlink_loses_the_last_parts_first(
    encoder: LatentRowEncoder, decoder: LatentDecoder, tmp_path: Path
) -> None:
    cube = smooth_cube(4 * TILE, 2 * TILE, BANDS, seed=4)
    octets = RateSearch(encoder=encoder, scene=Scene(cube=cube), folder=tmp_path).at_quality(0).octets
    budget = DownlinkBudget(octets_per_line=0.8 * octets / len(cube), window_lines=TILE)
    push_broom = SceneEncoder(
        encoder, Acquisition(samples=cube.shape[1], dtype=cube.dtype, lines=len(cube)), Packetiser(), downlink=budget
    )
    packets = [*push_broom.push(cube), *push_broom.flush()]
    received = receive(b"".join(packets)).scene()
    grid = encoder.grid(Scene(cube=cube))
    parts = np.array([decoder.tile_latents(received.units, tile).parts for tile in grid]).reshape(4, 2)
    assert 0 < parts.min() < PARTS
    assert (np.ptp(parts, axis=1) <= 1).all()
    assert sum(key.kind == UnitKind.TILE_REFINEMENT for key in received.units) == parts.sum()
    with pytest.raises(LostTilesError, match="its sender left out part"):
        decoder.decode(b"".join(packets))


class _Broken:
    """An engine that is off by one in one place of one output."""

    def __init__(self, engine: Engine, output: str) -> None:
        self._engine, self._output = engine, output

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = self._engine.run(inputs)
        moved = outputs[self._output].copy()
        moved.flat[7] += 1
        return outputs | {self._output: moved}

    def describe(self) -> str:
        return "broken engine"


@pytest.mark.parametrize(
    ("part", "output"), [(0, "latent_steps"), (0, "scale_index"), (1, "mean_steps"), (2, "latent_steps")]
)
def test_a_slice_that_is_wrong_in_one_element_is_refused(bundle: LatentBundle, part: int, output: str) -> None:
    hyperdecoder, *slices = (OnnxRuntimeEngine(bundle.folder / graph) for graph in graph_names(PARTS)[1:-1])
    check_entropy_path(bundle, EntropyPath(bundle, hyperdecoder, slices))
    broken: list[Engine] = list(slices)
    broken[part] = _Broken(slices[part], output)
    with pytest.raises(BundleError, match="fails conformance vector 0 of"):
        check_entropy_path(bundle, EntropyPath(bundle, hyperdecoder, broken))


def test_an_encoder_whose_slices_disagree_is_refused(bundle: LatentBundle) -> None:
    path, encoder = load_entropy_path(bundle), OnnxRuntimeEngine(bundle.folder / ENCODER)
    check_encoder(bundle, encoder, path)
    with pytest.raises(BundleError, match="disagree in 1 of"):
        check_encoder(bundle, _Broken(encoder, "scale_index"), path)


def test_a_path_wants_an_engine_for_every_slice(bundle: LatentBundle) -> None:
    with pytest.raises(ValueError, match="0 engines for 3 slices"):
        EntropyPath(bundle, OnnxRuntimeEngine(bundle.folder / HYPERDECODER))


def test_expected_outputs_hold_the_latents_of_slices(bundle: LatentBundle, tmp_path: Path) -> None:
    encoder, decoder = (OnnxRuntimeEngine(bundle.folder / graph) for graph in (ENCODER, DECODER))
    path = load_entropy_path(bundle)
    here = replace(bundle, folder=tmp_path)
    write_expected_outputs(tmp_path / "expected-outputs.npz", here, encoder, path, decoder)
    agreement = check_expected_outputs(here, encoder, path, decoder)
    assert (agreement.symbols_equal, agreement.latent_difference, agreement.pixel_difference) == (1, 0, 0)


class _MovedPath(EntropyPath):
    """A walk whose latents lie beside the exporter's."""

    def __init__(self, bundle: LatentBundle, steps: float) -> None:
        engines = [OnnxRuntimeEngine(bundle.folder / slice_graph(part)) for part in range(bundle.manifest.slices)]
        super().__init__(bundle, OnnxRuntimeEngine(bundle.folder / HYPERDECODER), engines)
        self._moves = iter((0, round(steps * 2**bundle.manifest.mean_step_bits)))

    def walk_coded(self, hyperlatent: NDArray[np.integer[Any]], symbols: NDArray[np.integer[Any]]) -> WalkedLatent:
        walked = super().walk_coded(hyperlatent, symbols)
        return replace(walked, latent_steps=walked.latent_steps + next(self._moves))


def test_two_engines_latents_may_differ_by_a_step_and_by_the_rest_that_goes_with_it(
    bundle: LatentBundle, tmp_path: Path
) -> None:
    """A latent beside a half is another symbol to another engine, and its predicted rest, ±½ step, another one too."""
    encoder, decoder = (OnnxRuntimeEngine(bundle.folder / graph) for graph in (ENCODER, DECODER))
    here = replace(bundle, folder=tmp_path)
    write_expected_outputs(tmp_path / "expected-outputs.npz", here, encoder, load_entropy_path(bundle), decoder)
    check_expected_outputs(here, encoder, _MovedPath(bundle, 2.0), decoder)
    with pytest.raises(BundleError, match="steps from the exporter's"):
        check_expected_outputs(here, encoder, _MovedPath(bundle, 20.0), decoder)
