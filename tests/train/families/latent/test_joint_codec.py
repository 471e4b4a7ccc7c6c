from __future__ import annotations

import numpy as np
import pytest
import torch
from hyvic_train.checkpoint import weights
from hyvic_train.config_file import read_sweep
from hyvic_train.entropy_path_layer import Arithmetic
from hyvic_train.families.latent.joint_codec import JointCodec, symbols_of
from hyvic_train.families.latent.klt import initialise
from hyvic_train.families.latent.model_config import JointConfig
from hyvic_train.integer_path import SCALE_BOUND
from scenes import ROOT, smooth_cube

CONFIGS = ROOT / "train" / "configs"
SMALL = {
    "bands": 10,
    "latent_channels": 24,
    "feature_channels": 20,
    "hyperlatent_channels": 8,
    "slices": 4,
    "slice_channels": 12,
    "spatial_stages": 2,
    "attention_block": 4,
}


def _parameters(model: JointCodec) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _model(**fields: object) -> JointCodec:
    torch.manual_seed(0)
    return JointCodec(JointConfig(**{**SMALL, **fields}))  # type: ignore[arg-type]


def _tiles(count: int) -> torch.Tensor:
    cubes = [smooth_cube(32, 32, 10, seed) for seed in range(count)]
    return torch.from_numpy(np.stack([np.moveaxis(c, -1, 0) for c in cubes]).astype(np.float32))


def test_the_default_of_202_bands_has_37_million_parameters() -> None:
    assert _parameters(JointCodec(JointConfig(bands=202))) == 36_851_528
    assert read_sweep(CONFIGS / "joint-hyspecnet11k.yaml")[""].model == JointConfig(bands=202)


def test_the_small_models_weights_fit_a_repository() -> None:
    model = JointCodec(read_sweep(CONFIGS / "joint-s-202.yaml")[""].model)  # type: ignore[arg-type]
    assert sum(4 * tensor.numel() for tensor in weights(model).values()) < 8_000_000


def test_the_ablation_switches_attention_and_the_spectral_branch() -> None:
    models = [JointCodec(run.model) for run in read_sweep(CONFIGS / "joint-ablation-s.yaml").values()]  # type: ignore[arg-type]
    assert [(m.config.attention, m.config.spectral_branch) for m in models] == [
        (True, True),
        (True, False),
        (False, True),
        (False, False),
    ]
    counts = [_parameters(model) for model in models]
    assert sorted(counts, reverse=True) == counts
    assert len(set(counts)) == 4


@pytest.mark.parametrize("stages", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("switches", [{}, {"attention": False}, {"spectral_branch": False}])
@torch.no_grad()
def test_every_architecture_codes_and_restores_the_shape(stages: int, switches: dict[str, bool]) -> None:
    model = _model(spatial_stages=stages, **switches).eval()
    lines, samples = 2 * model.config.cell, model.config.cell
    x = torch.rand(1, 10, lines, samples) * 1000
    output = model(x)
    assert output.reconstruction.shape == x.shape
    assert output.latent_likelihoods.shape == (1, 24, lines >> stages, samples >> stages)
    stride = 4 << stages
    assert output.hyperlatent_likelihoods.shape == (1, 8, lines // stride, samples // stride)


def test_a_cell_holds_whole_hyper_latents_and_whole_blocks_of_attention() -> None:
    for stages, block, cell in ((4, 8, 128), (2, 8, 32), (2, 2, 16), (0, 8, 8)):
        assert JointConfig(bands=3, spatial_stages=stages, attention_block=block).cell == cell
    assert JointConfig(bands=3, spatial_stages=4, attention=False).cell == 64


@torch.no_grad()
def test_the_rate_is_the_sum_of_the_slices_and_the_hyper_latent() -> None:
    model = _model(rates=2).eval()
    model.log2_gain.data += torch.tensor([3.0, 5.0])[:, None]
    x, level = _tiles(2), torch.tensor([0.0, 1.0])
    output = model(x, level)
    gain, inverse_gain = model.gains(level)
    y = model.analyse(x) * gain
    z_hat, z_likelihoods = model.code_hyperlatent(model.h_a(y))
    coded = model.code_latent(z_hat, symbols_of(y))
    bits = -z_likelihoods.double().log2().sum(dim=(1, 2, 3))
    for of in model.slices.channels:
        gaussian = torch.distributions.Normal(0.0, coded.scales[:, of].double().clamp_min(SCALE_BOUND))
        symbols = coded.symbols[:, of].double()
        share = (gaussian.cdf(symbols + 0.5) - gaussian.cdf(symbols - 0.5)).clamp_min(1e-9)
        bits -= share.log2().sum(dim=(1, 2, 3))
    # float32 likelihoods against double ones.
    assert output.bits().tolist() == pytest.approx(bits.tolist(), rel=1e-4)

    received = model.code_latent(z_hat, lambda channels, means: coded.symbols[:, channels])
    assert torch.equal(model.synthesise(received.y_hat * inverse_gain), output.reconstruction)


@pytest.mark.parametrize("switches", [{}, {"attention": False}, {"spectral_branch": False}])
def test_the_gradient_reaches_every_parameter(switches: dict[str, bool]) -> None:
    model = _model(rates=2, **switches).train()
    output = model(_tiles(2), torch.tensor([0.0, 1.0]))
    (output.bits().sum() + 1e-3 * output.reconstruction.square().sum() + model.aux_loss()).backward()
    untouched = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert untouched == []


def test_transforms_and_entropy_model_are_trained_apart_and_nothing_is_left_out() -> None:
    model = _model()
    transforms = {id(p) for p in model.transform_parameters()}
    names = {name.partition(".")[0] for name, p in model.named_parameters() if id(p) in transforms}
    assert names == {"g_a", "g_s"}
    others = {name.partition(".")[0] for name, p in model.named_parameters() if id(p) not in transforms}
    assert others == {"h_a", "h_s", "slices", "entropy_bottleneck"}


@pytest.mark.parametrize("switches", [{}, {"attention": False}, {"spectral_branch": False}, {"spatial_stages": 1}])
@torch.no_grad()
def test_training_starts_from_a_working_codec(switches: dict[str, object]) -> None:
    tiles = _tiles(4)
    model = _model(**switches).eval()
    random = (model(tiles).reconstruction - tiles).square().mean().item()
    initialise(model, lambda: [tiles], step=4.0, lmbdas=[1e-2])
    error = (model(tiles).reconstruction - tiles).square().mean().item()
    # Noise of standard deviation 8 is what the 20 components cannot all carry; the signal itself has power 4e6.
    assert error < 100
    assert random > 1000 * error


@torch.no_grad()
def test_calibration_raises_every_peak_and_changes_nothing_else() -> None:
    tiles = _tiles(2)
    model = _model(rates=2).eval()
    initialise(model, lambda: [tiles], step=4.0, lmbdas=[1e-3, 1e-2])
    before = {name: tensor.clone() for name, tensor in weights(model).items()}
    assert not any(peak.any() for peak in model.peaks.values())
    model.calibrate(tiles)
    assert all(peak.any() for peak in model.peaks.values())
    for name, tensor in weights(model).items():
        assert name in model.peaks or torch.equal(tensor, before[name])


@torch.no_grad()
def test_the_integer_entropy_path_costs_little() -> None:
    tiles = _tiles(2)
    model = _model(rates=2).eval()
    initialise(model, lambda: [tiles], step=100.0, lmbdas=[1e-3, 1e-2])
    model.calibrate(tiles)
    level = torch.tensor([0.0, 1.0])
    exact = model(tiles, level)
    model.arithmetic = Arithmetic.ROUNDED
    rounded = model(tiles, level)
    # Of untrained networks, with steps so coarse that no σ leaves the scale table.
    assert rounded.bits().sum().item() == pytest.approx(exact.bits().sum().item(), rel=0.02)
    errors = [(o.reconstruction - tiles).square().mean().item() for o in (exact, rounded)]
    assert errors[1] == pytest.approx(errors[0], rel=0.02)
