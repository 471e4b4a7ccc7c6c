from __future__ import annotations

import copy
import math

import pytest
import torch
from hyvic_train.families.latent.local_attention import BlockAttention, LocalAttention
from rounding import FLOAT64, gamma

ROUNDED = gamma(10_000, FLOAT64)
"""What float64 may round of numbers of order one, by more operations than an output is made of."""


@pytest.fixture
def attention() -> BlockAttention:
    torch.manual_seed(0)
    return BlockAttention(6, 4)


@torch.no_grad()
def test_a_block_does_not_look_at_another(attention: BlockAttention) -> None:
    x = torch.randn(2, 6, 12, 8)
    other = x.clone()
    other[:, :, 5, 6] += 1  # in the block of lines 4..7 and samples 4..7
    changed = attention(x) != attention(other)
    inside = torch.zeros(12, 8, dtype=torch.bool)
    inside[4:8, 4:8] = True
    assert not changed[:, :, ~inside].any()
    # It reaches every place of its own.
    assert changed[:, :, inside].any(dim=1).all()


@torch.no_grad()
def test_attention_is_equations_5_and_6(attention: BlockAttention) -> None:
    x = torch.randn(1, 6, 8, 8).double()
    attention = copy.deepcopy(attention).double()
    z = attention(x)
    weights = {name: getattr(attention, name).weight[:, :, 0, 0] for name in ("theta", "phi", "g", "w")}
    biases = {name: getattr(attention, name).bias for name in weights}
    places = [(line, sample) for line in range(4) for sample in range(4)]
    for top in (0, 4):
        for left in (0, 4):
            block = [x[0, :, top + line, left + sample] for line, sample in places]
            embedded = [v + attention.position[:, *place] for v, place in zip(block, places, strict=True)]
            theta, phi = ([weights[n] @ v + biases[n] for v in embedded] for n in ("theta", "phi"))
            g = [weights["g"] @ v + biases["g"] for v in block]
            for i, (line, sample) in enumerate(places):
                f = [math.exp(float(theta[i] @ phi[j]) / math.sqrt(6)) for j in range(16)]
                y = sum(f[j] * g[j] for j in range(16)) / sum(f)
                expected = weights["w"] @ y + biases["w"] + block[i]
                assert torch.allclose(z[0, :, top + line, left + sample], expected, rtol=0, atol=ROUNDED)


@torch.no_grad()
def test_a_place_in_a_block_makes_a_difference(attention: BlockAttention) -> None:
    attention, x = copy.deepcopy(attention).double(), torch.randn(1, 6, 4, 4).double()
    turned = attention(x.flip(2)).flip(2)
    assert not torch.allclose(turned, attention(x), atol=1e-4)
    attention.position.zero_()
    assert torch.allclose(attention(x.flip(2)).flip(2), attention(x), rtol=0, atol=ROUNDED)


@torch.no_grad()
def test_a_tile_on_the_grid_of_blocks_sees_the_scenes_blocks(attention: BlockAttention) -> None:
    attention, x = copy.deepcopy(attention).double(), torch.randn(1, 6, 16, 16).double()
    # Products of another shape may be summed in another order.
    assert torch.allclose(attention(x)[:, :, 8:, 4:12], attention(x[:, :, 8:, 4:12]), rtol=0, atol=ROUNDED)


@torch.no_grad()
def test_the_module_starts_as_the_identity() -> None:
    torch.manual_seed(0)
    module, x = LocalAttention(6, 4), torch.randn(2, 6, 8, 8)
    assert not torch.equal(module(x), x)
    module.make_linear()
    assert torch.equal(module(x), x)
