from __future__ import annotations

import numpy as np
import pytest
import torch
from hyvic_train.entropy_path_layer import Arithmetic
from hyvic_train.families.latent.hyvic import HyVIC
from hyvic_train.families.latent.model_config import HyVICConfig
from hyvic_train.families.latent.objective import Objective
from hyvic_train.integer_path import LOG2_MIN_SCALE, LOG2_SCALE_STEP
from rounding import FLOAT32, gamma

SUMS = 2 * gamma(2 * 3 * 16 * 16 + 2 * 5 * 64 + 100, FLOAT32)
"""Relative difference of two float32 sums of positive terms: pixels or latents of two items, and what is computed of
the sums."""


@pytest.mark.parametrize(("latent", "hyperlatent", "millions"), [(1280, 768, 74.6), (768, 460, 26.9), (384, 230, 6.8)])
def test_parameter_counts_of_table_1_are_what_the_text_of_section_3_gives(
    latent: int, hyperlatent: int, millions: float
) -> None:
    model = HyVIC(HyVICConfig(bands=202, latent_channels=latent, hyperlatent_channels=hyperlatent))
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == pytest.approx(millions)


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
    loss, rate, mse = Objective(model, [1e-3])(x, torch.zeros(2, dtype=torch.int64))
    bits = -sum(
        torch.log2(p).double().sum().item() for p in (output.latent_likelihoods, output.hyperlatent_likelihoods)
    )
    assert rate.mean().item() == pytest.approx(bits / (2 * 3 * 16 * 16), rel=SUMS)
    assert mse.mean().item() == pytest.approx(((x - output.reconstruction).double() ** 2).mean().item(), rel=SUMS)
    expected = rate.mean() + 1e-3 * mse.mean() + model.aux_loss()
    assert loss.item() == pytest.approx(expected.item(), rel=SUMS)


def test_every_item_is_weighed_by_the_lambda_of_its_own_level() -> None:
    torch.manual_seed(0)
    config = HyVICConfig(bands=3, latent_channels=5, hyperlatent_channels=4, rates=3)
    model = HyVIC(config).eval()
    model.log2_gain.data += torch.tensor([-2.0, 0.0, 2.0])[:, None]
    x = torch.rand(1, 3, 16, 16) * 5000
    lmbdas = (1e-5, 1e-4, 1e-3)
    objective = Objective(model, lmbdas)
    alone = []
    for level, (lmbda, weight) in enumerate(zip(lmbdas, (10**0.5, 1, 10**-0.5), strict=True)):
        loss, rate, mse = objective(x, torch.tensor([level]))
        assert (loss - model.aux_loss()).item() == pytest.approx(weight * (rate + lmbda * mse).item(), rel=SUMS)
        alone.append((loss - model.aux_loss()).item())
    together, _, _ = objective(x.expand(3, -1, -1, -1), torch.arange(3))
    assert (together - model.aux_loss()).item() == pytest.approx(sum(alone) / 3, rel=SUMS)


def test_the_auxiliary_loss_and_equation_2_share_no_gradient() -> None:
    torch.manual_seed(0)
    model = HyVIC(HyVICConfig(bands=3, latent_channels=5, hyperlatent_channels=4))
    model.aux_loss().backward()
    assert [n for n, p in model.named_parameters() if p.grad is not None] == ["entropy_bottleneck.quantiles"]
    model.zero_grad()
    output = model(torch.rand(1, 3, 16, 16) * 5000)
    (output.bits().sum() + output.reconstruction.square().mean()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == ["entropy_bottleneck.quantiles"]


@pytest.mark.parametrize("level", [0.0, 0.25, 1.0, 1.5, 2.0])
def test_gains_between_two_levels_are_their_geometric_interpolation(level: float) -> None:
    model = HyVIC(HyVICConfig(bands=3, latent_channels=5, hyperlatent_channels=4, rates=3))
    model.log2_gain.data = torch.tensor([-3.0, 1.0, 2.0])[:, None].repeat(1, 5)
    gain, inverse = model.gains(torch.tensor([level]))
    expected = 2.0 ** np.interp(level, [0, 1, 2], [-3, 1, 2])
    assert gain.flatten().tolist() == pytest.approx([expected] * 5, rel=1e-6)
    assert inverse.flatten().tolist() == [1.0] * 5


def test_rounding_in_the_loop_gives_what_the_integer_path_gives_and_lets_the_gradient_through() -> None:
    torch.manual_seed(0)
    model = HyVIC(HyVICConfig(bands=3, latent_channels=5, hyperlatent_channels=4))
    z_hat = torch.randint(-9, 10, (1, 4, 3, 3)).float()
    scales, means = model.scales_and_means(z_hat, Arithmetic.ROUNDED)
    assert torch.equal(means * 16, (means * 16).round())
    rows = (scales.log2() - LOG2_MIN_SCALE) / LOG2_SCALE_STEP
    assert (rows - rows.round()).abs().max() < 1e-4
    (scales.sum() + means.sum()).backward()
    gradient = model.h_s[0].weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


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
