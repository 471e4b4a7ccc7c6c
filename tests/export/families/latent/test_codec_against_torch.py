"""Scene to packets and back, against the model's own reconstruction of the whole scene in torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from coded_scenes import packets_of
from hyvic_export.families.latent.entropy_model import entropy_model
from hyvic_export.families.latent.reference_codec import reference_coding
from hyvic_export.families.registry import exportable
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.scene_encoder import DEFAULT_QUALITY
from hyvic_runtime.families.latent.bundle import LatentBundle
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.packets.quality import quality_code
from hyvic_runtime.packets.space_packet import OVERHEAD_OCTETS
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.metrics import psnr
from hyvic_train.families.latent.checkpoint import load_checkpoint
from scenes import BANDS, SHIPPED_CHECKPOINT, smooth_cube
from torch_codec import check_picture, check_tile, decoded_latents


@pytest.fixture(scope="module")
def bundle(exported_bundle: Path) -> LatentBundle:
    return read_bundle(exported_bundle)


@pytest.fixture(scope="module")
def encoder(bundle: LatentBundle) -> LatentRowEncoder:
    return LatentRowEncoder(bundle)


@pytest.fixture(scope="module")
def decoder(bundle: LatentBundle) -> LatentDecoder:
    return LatentDecoder(bundle)


def _check_against_torch(
    encoder: LatentRowEncoder, decoder: LatentDecoder, checkpoint: Path, cube: np.ndarray, quality: float
) -> None:
    """Compare every stage with torch, within what float32 may round on any processor (tests/support/rounding.py)."""
    model, scene = load_checkpoint(checkpoint).model, Scene(cube=cube)
    entropy = entropy_model(exportable(model))
    stream = b"".join(packets_of(encoder, cube, quality=quality))
    mean = encoder.mean_spectrum(scene)

    expected = reference_coding(exportable(model), entropy, cube, mean, encoder.bundle.manifest.geometry, quality)
    # What the encoder's graph chose is what the decoder reads, to the last symbol.
    grid = encoder.grid(scene)
    size = grid.geometry.latents
    symbols, _ = decoded_latents(decoder, stream)
    for tile in grid:
        chosen = encoder.symbols(scene, grid, tile, mean, quality_code(quality)).symbols
        line, sample = tile.row * size, tile.column * size
        area = symbols[:, line : line + chosen.shape[1], sample : sample + chosen.shape[2]]
        assert np.array_equal(area, chosen)
        near_a_half = check_tile(model, entropy, encoder, scene, tile, quality, expected.latent)
        assert near_a_half < 0.5  # or the comparison would say little

    decoded = decoder.decode(stream)
    assert (decoded.quality == Quality.EXACT).all()
    bound = check_picture(model, decoder, stream, mean)

    # Tiles are those of the whole scene: the picture is the reference's wherever all symbols are.
    if np.array_equal(symbols, expected.symbols):
        difference = np.abs(decoded.scene.cube - expected.reconstruction.clip(0, 65535))
        assert (difference <= 0.5 + bound).all()


@pytest.mark.parametrize(
    ("shape", "quality"), [((32, 32), 50), ((45, 71), 100), ((1, 1), 0), ((33, 5), 62.5), ((3, 64), 12.34)]
)
def test_the_decoder_gets_the_encoders_symbols_and_torchs_picture(
    encoder: LatentRowEncoder, decoder: LatentDecoder, tiny_checkpoint: Path, shape: tuple[int, int], quality: float
) -> None:
    _check_against_torch(encoder, decoder, tiny_checkpoint, smooth_cube(*shape, BANDS, seed=11), quality)


def test_tile_borders_do_not_show(
    encoder: LatentRowEncoder, decoder: LatentDecoder, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Pixels at the borders of small tiles come out as well as in a tile that has no border there."""
    from hyvic_export.exporter import bundle_from_checkpoint

    bundle_from_checkpoint(tiny_checkpoint, tmp_path / "one-tile", tile=128)
    one_tile = read_bundle(tmp_path / "one-tile")
    near = np.abs((np.arange(128) + 8) % 32 - 8) < 8
    border = near[:, None] | near[None, :]
    for seed in range(5, 9):
        cube = smooth_cube(128, 128, BANDS, seed)
        seamless = LatentDecoder(one_tile).decode(b"".join(packets_of(LatentRowEncoder(one_tile), cube))).scene.cube
        tiled = decoder.decode(b"".join(packets_of(encoder, cube))).scene.cube
        figures = [psnr(cube[border][None], decoded[border][None], 10_000) for decoded in (tiled, seamless)]
        assert abs(figures[0] - figures[1]) < 0.1


@pytest.mark.slow
def test_the_shipped_codec_on_a_real_scene(shipped_bundle: Path, indian_pines: np.ndarray) -> None:
    bundle, crop = read_bundle(shipped_bundle), indian_pines[:80, :80]
    encoder, decoder = LatentRowEncoder(bundle), LatentDecoder(bundle)
    _check_against_torch(encoder, decoder, SHIPPED_CHECKPOINT, crop, DEFAULT_QUALITY)

    # The stream's size against the float entropy model's estimate: tables, integer path and coder included. The scene's
    # header carries the mean spectrum, 16 bits a band.
    packets = packets_of(encoder, crop)
    model, mean = load_checkpoint(SHIPPED_CHECKPOINT).model, encoder.mean_spectrum(Scene(cube=crop))
    geometry = bundle.manifest.geometry
    expected = reference_coding(
        exportable(model), entropy_model(exportable(model)), crop, mean, geometry, DEFAULT_QUALITY
    )
    estimate = expected.estimated_bits / 8 + 2 * len(mean) + len(packets) * OVERHEAD_OCTETS
    assert abs(sum(map(len, packets)) - estimate) < 0.01 * estimate
