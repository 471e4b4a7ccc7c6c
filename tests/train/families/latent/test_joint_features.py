from __future__ import annotations

import pytest
import torch
from hyvic_train.families.latent.joint_features import FeatureExtraction, ImageReconstruction, SpectralConvolution
from hyvic_train.families.latent.model_config import JointConfig
from rounding import FLOAT64, gamma

BANDS = 9


def _config(**fields: object) -> JointConfig:
    return JointConfig(bands=BANDS, extraction_blocks=2, spatial_features=2, **fields)  # type: ignore[arg-type]


@pytest.fixture
def branches() -> tuple[torch.nn.Module, torch.nn.Module]:
    torch.manual_seed(0)
    spatial, spectral = FeatureExtraction(_config()).chains
    return spatial, spectral


@torch.no_grad()
def test_a_band_leaves_the_spatial_features_of_other_bands_alone(
    branches: tuple[torch.nn.Module, torch.nn.Module],
) -> None:
    x = torch.randn(2, BANDS, 12, 12)
    other = x.clone()
    other[:, 4] += torch.randn(2, 12, 12)
    before, after = branches[0](x), branches[0](other)
    assert torch.equal(before[:, :4], after[:, :4])
    assert torch.equal(before[:, 5:], after[:, 5:])
    assert not torch.equal(before[:, 4], after[:, 4])


@torch.no_grad()
def test_a_pixel_leaves_the_spectral_features_of_other_pixels_alone(
    branches: tuple[torch.nn.Module, torch.nn.Module],
) -> None:
    x = torch.randn(2, BANDS, 12, 12)
    other = x.clone()
    other[:, 4, 5, 7] += 1
    changed = branches[1](x) != branches[1](other)
    elsewhere = torch.ones(12, 12, dtype=torch.bool)
    elsewhere[5, 7] = False
    assert not changed[:, :, elsewhere].any()
    # Two blocks of two convolutions reach four bands either way.
    assert changed[:, :, 5, 7].all()


@torch.no_grad()
def test_a_spatial_block_sees_neighbouring_pixels(branches: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    x = torch.randn(1, BANDS, 12, 12)
    other = x.clone()
    other[:, :, 6, 6] += 1
    changed = (branches[0](x) != branches[0](other)).any(dim=1)[0]
    # Two blocks of two 3×3 convolutions reach four pixels.
    assert changed[2:11, 2:11].all()
    assert changed.sum() == 81


@pytest.mark.parametrize("spectral_branch", [True, False])
@torch.no_grad()
def test_extraction_and_reconstruction_mirror_each_other_and_start_as_the_identity(spectral_branch: bool) -> None:
    torch.manual_seed(0)
    config = _config(spectral_branch=spectral_branch)
    extraction, reconstruction = FeatureExtraction(config), ImageReconstruction(config)
    shapes = [[p.shape for p in module.parameters()] for module in (extraction, reconstruction)]
    assert shapes[0] == shapes[1]
    x = torch.randn(2, BANDS, 8, 8)
    assert extraction(x).shape == (2, BANDS * (1 + spectral_branch), 8, 8)
    assert not torch.equal(reconstruction(extraction(x)), x)
    extraction.make_linear()
    reconstruction.make_linear()
    assert torch.equal(reconstruction(extraction(x)), x)


@pytest.mark.parametrize(("bands", "inputs", "outputs"), [(9, 1, 3), (9, 3, 1), (2, 2, 2), (1, 1, 2)])
@torch.no_grad()
def test_the_spectral_convolution_is_torchs(bands: int, inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    layer = SpectralConvolution(bands, inputs, outputs).double()
    x = torch.randn(2, inputs, bands, 6, 5).double()
    expected = torch.nn.functional.conv3d(x, layer.weight, layer.bias, padding=(1, 0, 0))
    # The same products, three of each input and a bias, summed in another order.
    magnitude = torch.nn.functional.conv3d(x.abs(), layer.weight.abs(), layer.bias.abs(), padding=(1, 0, 0))
    bound = 2 * gamma(3 * inputs + 1, FLOAT64) * magnitude
    assert ((layer(x.flatten(1, 2)) - expected.flatten(1, 2)).abs() <= bound.flatten(1, 2)).all()
