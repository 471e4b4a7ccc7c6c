from __future__ import annotations

import pytest
import torch
from hyvic_train.config import HyVICConfig
from hyvic_train.hyvic import HyVIC
from hyvic_train.training import rate_distortion_loss


@pytest.mark.parametrize(("latent", "hyperlatent", "millions"), [(1280, 768, 74.6), (768, 460, 26.9), (384, 230, 6.8)])
def test_parameter_counts_are_the_papers(latent: int, hyperlatent: int, millions: float) -> None:
    model = HyVIC(HyVICConfig(bands=202, latent_channels=latent, hyperlatent_channels=hyperlatent))
    assert round(model.parameter_count() / 1e6, 1) == pytest.approx(millions)


@pytest.mark.parametrize("stages", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("kernel_size", [3, 5, 7])
def test_every_architecture_of_table_1_codes_and_restores_the_shape(stages: int, kernel_size: int) -> None:
    torch.manual_seed(0)
    config = HyVICConfig(
        bands=7, latent_channels=10, hyperlatent_channels=6, kernel_size=kernel_size, spatial_stages=stages
    )
    model = HyVIC(config).eval()
    side = 2 * config.hyper_stride
    x = torch.rand(1, 7, side, side) * 1000
    output = model(x)
    assert output.reconstruction.shape == x.shape
    assert output.latent_likelihoods.shape == (1, 10, side >> stages, side >> stages)
    assert output.hyperlatent_likelihoods.shape == (1, 6, 2, 2)


def test_loss_is_equation_2() -> None:
    torch.manual_seed(0)
    model = HyVIC(HyVICConfig(bands=3, latent_channels=5, hyperlatent_channels=4)).eval()
    x = torch.rand(2, 3, 16, 16) * 5000
    output = model(x)
    loss, measured = rate_distortion_loss(output, x, 1e-3)
    bits = -sum(
        torch.log2(p).double().sum().item() for p in (output.latent_likelihoods, output.hyperlatent_likelihoods)
    )
    mse = ((x - output.reconstruction).double() ** 2).mean().item()
    assert measured.rate_bpppb == pytest.approx(bits / (2 * 3 * 16 * 16), rel=1e-5)
    assert measured.mse == pytest.approx(mse, rel=1e-5)
    assert loss.item() == pytest.approx(measured.rate_bpppb + 1e-3 * measured.mse, rel=1e-5)


def test_quantised_values_are_integers_and_noise_is_within_half_a_step() -> None:
    torch.manual_seed(0)
    model = HyVIC(HyVICConfig(bands=3, latent_channels=5, hyperlatent_channels=4))
    z = torch.randn(1, 4, 3, 3) * 5
    rounded, _ = model.eval().code_hyperlatent(z)
    noisy, _ = model.train().code_hyperlatent(z)
    assert torch.equal(rounded, rounded.round())
    assert 0 < (noisy - z).abs().max() <= 0.5


def test_the_factorised_prior_adds_up_to_one() -> None:
    torch.manual_seed(0)
    model = HyVIC(HyVICConfig(bands=3, latent_channels=5, hyperlatent_channels=4)).eval()
    integers = torch.arange(-300, 301).float().reshape(1, 1, 1, -1).expand(1, 4, 1, -1)
    _, likelihoods = model.code_hyperlatent(integers)
    # 601 terms, each bounded below by 1e-9.
    assert likelihoods.sum(dim=3).detach() == pytest.approx(1.0, abs=1e-4)
