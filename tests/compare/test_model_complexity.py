from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
from hyvic_compare.model_complexity import TILE, Architecture, architecture_from_config, complexity
from hyvic_train.families.latent.hyvic import HyVIC
from hyvic_train.families.latent.model_config import HyVICConfig
from torch.utils.flop_counter import FlopCounterMode


@pytest.mark.parametrize(("latent", "hyperlatent", "millions"), [(1280, 768, 74.6), (768, 460, 26.9), (384, 230, 6.8)])
def test_parameters_of_table_1_are_what_the_text_of_section_3_gives(
    latent: int, hyperlatent: int, millions: float
) -> None:
    model = Architecture(
        bands=202, latent_channels=latent, hyperlatent_channels=hyperlatent, kernel_size=3, spatial_stages=2
    )
    assert round(complexity(model).parameters / 1e6, 1) == millions


def test_savings_of_a_small_kernel_are_less_than_section_5_a1_states() -> None:
    # At S = 2, M = 768, N = 460 the paper states 67.96 and 84.91 % fewer parameters and 65.3 and 82.9 % fewer FLOPs
    # for k = 3 than for k = 5 and 7. The layers that it describes give the figures below. No network of 2-D k × k
    # convolutions can save more than 1 − 9/25 and 1 − 9/49, whatever its other layers.
    small, medium, large = (
        complexity(
            Architecture(bands=202, latent_channels=768, hyperlatent_channels=460, kernel_size=k, spatial_stages=2)
        )
        for k in (3, 5, 7)
    )
    fewer = [100 * (1 - small.parameters / other.parameters) for other in (medium, large)]
    assert fewer == pytest.approx([59.87, 78.86], abs=0.005)
    flops = [model.encoder_flops + model.decoder_flops for model in (small, medium, large)]
    assert [100 * (1 - flops[0] / other) for other in flops[1:]] == pytest.approx([51.3, 72.5], abs=0.05)
    # Without GDN, whose 1 × 1 products stand after every layer of analysis and, mirrored, of synthesis.
    normalisation = 2 * 2 * (TILE**2 + TILE**2 // 4 + TILE**2 // 16) * 460**2
    bare = [count - normalisation for count in flops]
    assert [100 * (1 - bare[0] / other) for other in bare[1:]] == pytest.approx([57.5, 77.2], abs=0.05)
    for found, bound, stated in zip(fewer, (100 * (1 - 9 / 25), 100 * (1 - 9 / 49)), (67.96, 84.91), strict=True):
        assert found < bound < stated


@pytest.mark.parametrize("stages", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_the_formulas_are_what_torch_counts(stages: int, kernel_size: int) -> None:
    config = HyVICConfig(
        bands=7, latent_channels=11, hyperlatent_channels=5, kernel_size=kernel_size, spatial_stages=stages
    )
    model = HyVIC(config).eval()
    architecture = architecture_from_config(asdict(config))
    assert architecture is not None
    figures = complexity(architecture)
    assert figures.parameters == sum(p.numel() for p in model.parameters())

    x = torch.rand(1, 7, TILE, TILE)
    with torch.no_grad():
        y = model.g_a(x)
        z = model.h_a(y)
        with FlopCounterMode(display=False) as encoder:
            model.h_a(model.g_a(x))
            model.h_s(z)
        with FlopCounterMode(display=False) as decoder:
            model.h_s(z)
            model.g_s(y)
    assert figures.encoder_flops == encoder.get_total_flops()
    assert figures.decoder_flops == decoder.get_total_flops()


def test_gains_are_counted_only_where_there_are_several_rates() -> None:
    sizes = {"bands": 7, "latent_channels": 11, "hyperlatent_channels": 5, "kernel_size": 3, "spatial_stages": 2}
    one, eight = (architecture_from_config({**sizes, "rates": rates}) for rates in (1, 8))
    assert one is not None
    assert eight is not None
    assert complexity(one) == complexity(Architecture(**sizes))
    assert complexity(eight).parameters - complexity(one).parameters == 2 * 8 * 11


@pytest.mark.parametrize("change", [{"attention_heads": 4}, {"bands": "202"}, {"kernel_size": True}])
def test_another_family_has_no_figures_rather_than_wrong_ones(change: dict[str, object]) -> None:
    sizes = {"bands": 7, "latent_channels": 11, "hyperlatent_channels": 5, "kernel_size": 3, "spatial_stages": 2}
    assert architecture_from_config({**sizes, **change}) is None
    assert architecture_from_config({"bands": 7}) is None
