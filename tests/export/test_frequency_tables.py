from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hyvic_export.families.latent.distributions import factorised_prior, gaussians
from hyvic_export.families.latent.integer_network import scale_table
from hyvic_export.frequency_tables import Distribution, frequency_tables
from hyvic_runtime.entropy.frequency_table import TOTAL
from hyvic_train.families.latent.hyvic import HyVIC
from hyvic_train.families.latent.model_config import HyVICConfig


def test_scales_span_the_range_evenly_in_the_logarithm() -> None:
    table = scale_table()
    assert table[0] == pytest.approx(0.11)
    assert table[-1] == pytest.approx(256)
    assert np.diff(np.log(table)) == pytest.approx(math.log(256 / 0.11) / 63)


@pytest.mark.parametrize("row", [0, 13, 30, 45, 63])
def test_gaussian_rows_are_equation_1(row: int) -> None:
    scale = float(scale_table()[row])
    tables = frequency_tables(gaussians(scale_table()))
    frequencies = tables.row(row)
    for position in range(0, int(tables.length[row]), max(1, int(tables.length[row]) // 50)):
        value = abs(int(tables.first[row]) + position)
        # An independent computation, from upper tails: Φc(a) = erfc(a / √2) / 2.
        mass = 0.5 * (math.erfc((value - 0.5) / scale / math.sqrt(2)) - math.erfc((value + 0.5) / scale / math.sqrt(2)))
        if value:  # the centre takes the rounding's remainder, at most one count an entry
            assert abs(int(frequencies[position]) - mass * TOTAL) <= 1
    centre = -int(tables.first[row])
    assert abs(int(frequencies[centre]) - TOTAL * math.erf(0.5 / scale / math.sqrt(2))) <= len(frequencies)


def test_tables_cost_what_the_entropy_costs() -> None:
    scales = scale_table()
    tables = frequency_tables(gaussians(scales))
    for row in range(len(scales)):
        probability = tables.row(row)[:-1] / TOTAL
        values = int(tables.first[row]) + np.arange(len(probability))
        exact = np.array(
            [
                0.5 * (math.erf((v + 0.5) / scales[row] / 2**0.5) - math.erf((v - 0.5) / scales[row] / 2**0.5))
                for v in values
            ]
        )
        divergence = float((exact * np.log2(np.maximum(exact, 1e-300) / probability)).sum())
        assert abs(divergence) < 2e-3  # bits a symbol


def test_the_excess_is_what_long_use_of_a_table_costs() -> None:
    # Two symbols and a rest of 2^-10, worked by hand: frequencies are exact, so only escaped values cost more.
    exact = Distribution(first=3, mass=np.array([0.5, 0.5 - 2.0**-10]))
    assert exact.frequencies().tolist() == [TOTAL // 2, TOTAL // 2 - TOTAL // 1024, TOTAL // 1024]
    assert exact.excess_bits() == pytest.approx(16 * 2.0**-10, rel=1e-6)
    # A symbol rarer than one count still has one: it costs 24 bits instead of 30, and the largest gives up two counts.
    rare = Distribution(first=0, mass=np.array([1 - 2.0**-30, 2.0**-30]))
    assert rare.frequencies().tolist() == [TOTAL - 2, 1, 1]
    assert rare.excess_bits() == pytest.approx((2 - 2**-6) / TOTAL / math.log(2) - 6 * 2.0**-30, rel=1e-3)


def test_no_row_of_the_scales_costs_more_than_a_ten_thousandth_of_a_bit() -> None:
    assert max(row.excess_bits() for row in gaussians(scale_table())) < 1e-4


def test_factorised_rows_are_the_prior() -> None:
    torch.manual_seed(3)
    model = HyVIC(HyVICConfig(bands=3, latent_channels=5, hyperlatent_channels=4)).eval()
    tables = frequency_tables(factorised_prior(model))
    for channel in range(4):
        first, length = int(tables.first[channel]), int(tables.length[channel])
        z = torch.zeros(1, 4, 1, length)
        z[0, channel, 0] = torch.arange(first, first + length)
        with torch.no_grad():
            _, likelihood = model.code_hyperlatent(z)
        # float32 sigmoids: 1e-7 in absolute terms; the largest entry takes the rounding's remainder.
        difference = np.abs(tables.row(channel)[:-1] / TOTAL - likelihood[0, channel, 0].numpy())
        assert np.sort(difference)[:-1].max() < 3e-7
        assert difference.max() < 1e-4
    assert next(model.entropy_bottleneck.parameters()).dtype == torch.float32


@pytest.mark.parametrize("shift", [7.4, -300.25])
def test_a_sharp_prior_far_from_zero_is_tabled_whole(shift: float) -> None:
    torch.manual_seed(3)
    model = HyVIC(HyVICConfig(bands=3, latent_channels=5, hyperlatent_channels=4)).eval()
    with torch.no_grad():
        # Logits 40 times steeper: nearly all mass within one integer. The first bias moves the whole prior.
        first = model.entropy_bottleneck.matrices[0]
        first.copy_(torch.log(torch.expm1(40 * torch.nn.functional.softplus(first))))
        model.entropy_bottleneck.biases[0].copy_(-shift * torch.nn.functional.softplus(first))
    tables = frequency_tables(factorised_prior(model))
    for channel in range(4):
        assert int(tables.first[channel]) <= min(math.floor(shift), -1)
        assert int(tables.row(channel)[-1]) <= 2  # of 2**24: what the escape is left with


def test_a_prior_beyond_the_range_is_refused() -> None:
    model = HyVIC(HyVICConfig(bands=3, latent_channels=5, hyperlatent_channels=4)).eval()
    with torch.no_grad():
        first = model.entropy_bottleneck.matrices[0]
        model.entropy_bottleneck.biases[0].copy_(-1e5 * torch.nn.functional.softplus(first))
    with pytest.raises(ValueError, match="beyond ±1023"):
        factorised_prior(model)
