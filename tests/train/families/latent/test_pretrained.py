"""A model that CompressAI made, through our model, bundle and packets."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from coded_scenes import packets_of
from hyvic_runtime.codec.scene_encoder import DEFAULT_QUALITY
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.packets.quality import quality_code
from hyvic_runtime.packets.space_packet import OVERHEAD_OCTETS
from hyvic_runtime.scene.scene import Scene
from hyvic_train.checkpoint import CheckpointError
from hyvic_train.cli import main
from hyvic_train.families.latent.checkpoint import load_checkpoint
from hyvic_train.families.latent.hyvic import HyVIC
from hyvic_train.families.latent.model_config import HyVICConfig
from hyvic_train.families.latent.pretrained import load_pretrained
from scenes import smooth_cube
from torch import nn
from torch_codec import decoded_latents

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from compressai.layers import GDN
    from compressai.models import MeanScaleHyperprior

C, M, N = 8, 12, 8
MODEL = {
    "bands": C,
    "latent_channels": M,
    "hyperlatent_channels": N,
    "spatial_stages": 1,
    "hyperprior": "compressai",
    "leaky_slope": 0.01,
}


def _compressai() -> MeanScaleHyperprior:
    """HyVIC's layers as a user of CompressAI would write them, with a hyperprior that fits its latents.

    Deviations of the channels lie between a fifth of a quantiser step, where most symbols are zero, and ten steps.
    """
    torch.manual_seed(0)
    codec = MeanScaleHyperprior(N, M)

    def down(i: int, o: int) -> nn.Conv2d:
        return nn.Conv2d(i, o, 3, stride=2, padding=1)

    def up(i: int, o: int) -> nn.ConvTranspose2d:
        return nn.ConvTranspose2d(i, o, 3, stride=2, padding=1, output_padding=1)

    codec.g_a = nn.Sequential(nn.Conv2d(C, N, 1), GDN(N), down(N, N), GDN(N), nn.Conv2d(N, M, 1))
    codec.g_s = nn.Sequential(
        nn.Conv2d(M, N, 1), GDN(N, inverse=True), up(N, N), GDN(N, inverse=True), nn.Conv2d(N, C, 1)
    )
    codec.h_a = nn.Sequential(nn.Conv2d(M, N, 1), nn.LeakyReLU(), down(N, N), nn.LeakyReLU(), down(N, N))
    fuse = nn.Conv2d(3 * M // 2, 2 * M, 1)
    codec.h_s = nn.Sequential(up(N, M), nn.LeakyReLU(), up(M, 3 * M // 2), nn.LeakyReLU(), fuse)
    codec.g_a[-1].weight.data *= torch.logspace(1, 3, M)[:, None, None, None]
    codec.g_s[-1].weight.data *= 1e-3
    codec.g_s[-1].bias.data += 0.2
    with torch.no_grad():
        latent = codec.g_a(torch.from_numpy(np.moveaxis(smooth_cube(64, 64, C), -1, 0).astype(np.float32))[None] / 1e4)
        spread = latent.std(dim=(0, 2, 3))
        fuse.weight.mul_(2 * torch.cat((spread, spread))[:, None, None, None])
        fuse.bias.copy_(torch.cat((spread, latent.mean(dim=(0, 2, 3)))))
    codec.entropy_bottleneck.quantiles.data[:, 0, 1] = torch.linspace(-0.9, 0.9, N)
    return codec.eval()


@pytest.fixture(scope="module")
def state_dict(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compressai") / "model.pth.tar"
    codec = _compressai()
    codec.update(force=True)
    torch.save({"state_dict": {f"module.{k}": v for k, v in codec.state_dict().items()}}, path)
    return path


@torch.no_grad()
def _entropy_coded(codec: MeanScaleHyperprior, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
    """CompressAI's ŷ and σ of a latent, and its estimate of all bits."""
    z_hat, z_likelihoods = codec.entropy_bottleneck(codec.h_a(y))
    scales, means = codec.h_s(z_hat).chunk(2, 1)
    y_hat, likelihoods = codec.gaussian_conditional(y, scales, means=means)
    return y_hat, scales, -(likelihoods.log2().sum() + z_likelihoods.log2().sum()).item()


@torch.no_grad()
def test_it_gives_compressais_reconstruction_and_bits(state_dict: Path) -> None:
    codec = _compressai()
    model = HyVIC(HyVICConfig(**MODEL)).eval()  # type: ignore[arg-type]
    load_pretrained(model, state_dict)
    x = torch.from_numpy(np.moveaxis(smooth_cube(64, 64, C), -1, 0).astype(np.float32))[None]
    theirs, ours = codec(x / 10_000), model(x)
    # The same layers in the same order; the tolerance is for a library that adds in an order of its own.
    torch.testing.assert_close(ours.reconstruction, theirs["x_hat"] * 10_000, rtol=1e-5, atol=0.1)
    likelihoods = theirs["likelihoods"]
    torch.testing.assert_close(ours.hyperlatent_likelihoods, likelihoods["z"], rtol=1e-5, atol=1e-7)
    # CompressAI rates ŷ − μ where ŷ is a rounded sum: |ŷ| < 2**7 is off by 2**-18 at most, and so is the difference.
    # Probabilities change by it times the steepest slope of a Gaussian's integral, 0.4 / σ, with σ bounded by 0.11.
    y_hat, _, _ = _entropy_coded(codec, codec.g_a(x / 10_000))
    assert y_hat.abs().max() < 2**7
    torch.testing.assert_close(ours.latent_likelihoods, likelihoods["y"], rtol=1e-5, atol=2**-17 * 0.4 / 0.11)
    # The slope is felt: under the power of two that is nearest, other likelihoods.
    nearest = HyVIC(HyVICConfig(**{**MODEL, "leaky_slope": 2**-7})).eval()  # type: ignore[arg-type]
    load_pretrained(nearest, state_dict)
    assert (nearest(x).latent_likelihoods - likelihoods["y"]).abs().max() > 0.01


def test_its_stream_is_within_half_a_percent_of_compressais_estimate(state_dict: Path, tmp_path: Path) -> None:
    from hyvic_export.cli import main as export_engine

    cube = smooth_cube(64, 64, C)
    np.savez(tmp_path / "scene.npz", cube=cube)
    config = {"model": MODEL, "optimisation": {"lmbda": 1e-4}, "data": {"crop": 32}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    arguments = ["--data", str(tmp_path / "scene.npz"), "--weights", str(state_dict), "--out", str(tmp_path / "out")]
    assert main([str(tmp_path / "config.yaml"), *arguments, "--set", "optimisation.steps=0"]) == 0
    arguments = ["--checkpoint", str(tmp_path / "out"), "--out", str(tmp_path / "bundle"), "--tile", "64"]
    assert export_engine(arguments) == 0

    encoder = LatentRowEncoder(read_bundle(tmp_path / "bundle"))
    decoder = LatentDecoder(encoder.bundle)
    packets = packets_of(encoder, cube)
    scene = Scene(cube=cube)
    grid = encoder.grid(scene)
    (tile,) = grid
    coded = encoder.symbols(scene, grid, tile, encoder.mean_spectrum(scene), quality_code(DEFAULT_QUALITY))
    symbols, _ = decoded_latents(decoder, b"".join(packets))
    assert np.array_equal(symbols, coded.symbols)
    assert len(np.unique(coded.scale_index)) > 20

    codec = _compressai()
    x = torch.from_numpy(np.moveaxis(cube, -1, 0).astype(np.float32))[None] / 10_000
    with torch.no_grad():
        # Mirrored beyond the scene, as the encoder does, in place of the zeros of torch's convolutions.
        y = codec.g_a(nn.functional.pad(x, [16] * 4, mode="reflect"))[:, :, 8:-8, 8:-8]
        y_hat, _, estimate = _entropy_coded(codec, y)
        padded = nn.functional.pad(y_hat, [4] * 4, mode="replicate")
        reconstruction = codec.g_s(padded)[0, :, 8:-8, 8:-8] * 10_000
    coded_bits = 8 * sum(len(packet) - OVERHEAD_OCTETS for packet in packets[1:])
    assert coded_bits == pytest.approx(estimate, rel=0.005)
    # An untrained synthesis leaves the range of uint16, where the decoder clips.
    decoded = decoder.decode(b"".join(packets))
    expected = np.moveaxis(reconstruction.numpy(), 0, -1).clip(0, 65535)
    assert np.median(np.abs(decoded.scene.cube - expected)) < 0.01 * np.median(expected) + 0.5


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"not a checkpoint", "holds no tensors that can be read safely"),
        ({"state_dict": {"g_a.0.weight": torch.zeros(3)}}, "lacks"),
        ({"epoch": 3}, "is not a state_dict"),
        ([torch.zeros(3)], "is not a state_dict"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: object, match: str) -> None:
    path = tmp_path / "model.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=match):
        load_pretrained(HyVIC(HyVICConfig(**MODEL)), path)  # type: ignore[arg-type]


def test_a_pickle_that_would_run_code_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "run",)  # type: ignore[return-value]

    torch.save({"state_dict": Trap()}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match="read safely"):
        load_pretrained(HyVIC(HyVICConfig(**MODEL)), tmp_path / "model.pth")  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_starts_a_model_of_other_rates(tiny_checkpoint: Path) -> None:
    expected = load_checkpoint(tiny_checkpoint).model
    for rates in (1, 2, 3):
        model = HyVIC(replace(expected.config, rates=rates))
        load_pretrained(model, tiny_checkpoint)
        assert torch.equal(model.g_a[0].weight, expected.g_a[0].weight)
        if rates > 1:
            assert torch.equal(model.log2_gain, expected.log2_gain) == (rates == 3)


def test_weights_that_would_mean_something_else_are_refused(tiny_checkpoint: Path, state_dict: Path) -> None:
    config = load_checkpoint(tiny_checkpoint).config.model
    with pytest.raises(CheckpointError, match=r"another model\.peak, model\.hyperprior"):
        load_pretrained(HyVIC(replace(config, hyperprior="compressai", peak=4095)), tiny_checkpoint)
    with pytest.raises(CheckpointError, match=r"set model\.hyperprior=compressai"):
        load_pretrained(HyVIC(HyVICConfig(**{**MODEL, "hyperprior": "log2"})), state_dict)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"LeakyReLU's slope; set model\.leaky_slope"):
        load_pretrained(HyVIC(HyVICConfig(**{**MODEL, "leaky_slope": None})), state_dict)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"another model\.leaky_slope"):
        load_pretrained(HyVIC(replace(config, leaky_slope=0.01)), tiny_checkpoint)


@pytest.mark.parametrize(
    ("slopes", "match"),
    [
        ({"leaky_slope": 0.7}, r"leaky_slope is 0\.7; it must lie in 0\.0009765625\.\.0\.5"),
        ({"leaky_slope": 0.01, "leaky_slope_bits": 5}, r"leaky_slope is 0\.01 and leaky_slope_bits 5; name one"),
    ],
)
def test_a_slope_that_cannot_be_is_refused(slopes: dict[str, float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        HyVICConfig(**{**MODEL, **slopes})  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_file_is_one_error(state_dict: Path, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    octets = bytearray(state_dict.read_bytes())
    for position in rng.integers(len(octets), size=30):
        octets[position] ^= 1 << rng.integers(8)
    (tmp_path / "model.pth").write_bytes(octets)
    with contextlib.suppress(CheckpointError):  # a flipped weight is a weight
        load_pretrained(HyVIC(HyVICConfig(**MODEL)), tmp_path / "model.pth")  # type: ignore[arg-type]
