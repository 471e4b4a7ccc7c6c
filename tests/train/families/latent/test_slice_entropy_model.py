from __future__ import annotations

import pytest
import torch
from hyvic_train.entropy_path_layer import Arithmetic
from hyvic_train.families.latent.codec_model import CodedLatent
from hyvic_train.families.latent.joint_codec import symbols_of
from hyvic_train.families.latent.model_config import JointConfig
from hyvic_train.families.latent.slice_entropy_model import SliceEntropyModel
from hyvic_train.integer_path import LOG2_MIN_SCALE, LOG2_SCALE_STEP

M, SLICES, DEPTH = 12, 4, 3


@pytest.fixture
def model() -> SliceEntropyModel:
    torch.manual_seed(0)
    config = JointConfig(bands=3, latent_channels=M, slices=SLICES, slice_channels=8)
    return SliceEntropyModel(5, config).eval()


@pytest.fixture
def hyperprior() -> torch.Tensor:
    return torch.randn(2, 5, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def y() -> torch.Tensor:
    return 20 * torch.randn(2, M, 6, 6, generator=torch.Generator().manual_seed(2))


def _decoded(model: SliceEntropyModel, hyperprior: torch.Tensor, symbols: torch.Tensor) -> CodedLatent:
    coded: CodedLatent = model(hyperprior, lambda channels, means: symbols[:, channels])
    return coded


@torch.no_grad()
def test_the_decoder_finds_the_encoders_latent_from_its_symbols(
    model: SliceEntropyModel, hyperprior: torch.Tensor, y: torch.Tensor
) -> None:
    sent = model(hyperprior, symbols_of(y))
    received = _decoded(model, hyperprior, sent.symbols)
    for name in ("y_hat", "symbols", "scales", "means"):
        assert torch.equal(getattr(received, name), getattr(sent, name))
    assert torch.equal(sent.symbols, (y - sent.means).round())
    # The predicted rest of the rounding is ½ tanh.
    assert 1e-2 < (sent.y_hat - sent.symbols - sent.means).abs().max() <= 0.5 + 1e-5


@pytest.mark.parametrize("index", range(SLICES))
@torch.no_grad()
def test_what_is_known_of_a_slice_depends_on_the_slices_before_it_alone(
    model: SliceEntropyModel, hyperprior: torch.Tensor, y: torch.Tensor, index: int
) -> None:
    symbols = model(hyperprior, symbols_of(y)).symbols
    other = symbols.clone()
    other[:, DEPTH * index : DEPTH * (index + 1)] += 3
    before, after = _decoded(model, hyperprior, symbols), _decoded(model, hyperprior, other)
    known = DEPTH * (index + 1)
    for name in ("scales", "means"):
        a, b = getattr(before, name), getattr(after, name)
        assert torch.equal(a[:, :known], b[:, :known])
        for later in range(index + 1, SLICES):
            of = slice(DEPTH * later, DEPTH * (later + 1))
            assert not torch.equal(a[:, of], b[:, of])
    assert torch.equal(before.y_hat[:, : DEPTH * index], after.y_hat[:, : DEPTH * index])


@torch.no_grad()
def test_every_slice_depends_on_the_hyperprior(
    model: SliceEntropyModel, hyperprior: torch.Tensor, y: torch.Tensor
) -> None:
    symbols = model(hyperprior, symbols_of(y)).symbols
    before, after = _decoded(model, hyperprior, symbols), _decoded(model, hyperprior + 1, symbols)
    for of in model.channels:
        assert not torch.equal(before.scales[:, of], after.scales[:, of])
        assert not torch.equal(before.means[:, of], after.means[:, of])


def test_training_decodes_integers_and_lets_the_gradient_through(
    model: SliceEntropyModel, hyperprior: torch.Tensor, y: torch.Tensor
) -> None:
    y.requires_grad_()
    coded = model.train()(hyperprior, symbols_of(y))
    assert torch.equal(coded.symbols, coded.symbols.round())
    coded.y_hat.sum().backward()
    assert y.grad is not None
    assert (y.grad != 0).all()


def test_rounding_in_the_loop_gives_what_the_integer_path_can_hold(
    model: SliceEntropyModel, hyperprior: torch.Tensor, y: torch.Tensor
) -> None:
    coded = model.train()(hyperprior, symbols_of(y), Arithmetic.ROUNDED)
    for latent in (coded.means, coded.y_hat):
        assert torch.equal(latent * 16, (latent * 16).round())
    rows = (coded.scales.log2() - LOG2_MIN_SCALE) / LOG2_SCALE_STEP
    assert (rows - rows.round()).abs().max() < 1e-4
    peaks = [buffer for name, buffer in model.named_buffers() if "_peak" in name]
    assert len(peaks) == 4 * SLICES + 1
    assert all(peak.any() for peak in peaks)
    assert (model.latent_peak >= coded.y_hat.detach().abs().amax(dim=(0, 2, 3))).all()
    # What is decoded is y, whatever the prediction: that is felt in the rate alone.
    (coded.scales.sum() + coded.means.sum()).backward()
    gradient = model.get_parameter("prediction.0.first.convolution.weight").grad
    assert gradient is not None
    assert gradient.abs().max() > 0
