from __future__ import annotations

import numpy as np
import pytest
import torch
from hyvic_runtime.families.adaptive.contexts import CONTEXT_MAX, CONTEXTS
from hyvic_runtime.families.adaptive.table_choice import (
    FRACTIONS,
    GAIN_STEP_BITS,
    MEAN_STEP_BITS,
    SCALES,
    tables_and_offsets,
)
from hyvic_train.entropy_path_layer import Arithmetic
from hyvic_train.families.adaptive.config import AdaptiveConfig
from hyvic_train.families.adaptive.context_model import ContextModel
from hyvic_train.families.adaptive.integer_rows import LOG2_MIN_SCALE, LOG2_SCALE_STEP

REACH = 1500


@pytest.fixture
def model() -> ContextModel:
    """Of outputs that vary: scales from clamp to clamp, means of some steps."""
    torch.manual_seed(3)
    model = ContextModel(AdaptiveConfig(width=8))
    with torch.no_grad():
        model.last.weight.mul_(torch.tensor([100.0, 30.0, 10.0])[:, None, None, None])
        model.curves.normal_()
    return model.eval()


def _contexts(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randint(-CONTEXT_MAX, CONTEXT_MAX + 1, (1, CONTEXTS, count, 1), generator=generator).float()


def _row_masses(model: ContextModel) -> np.ndarray:
    """(fraction, scale index, integer)."""
    return np.stack([model.row_masses(scale_index, REACH).numpy() for scale_index in range(SCALES)], axis=1)


def test_a_row_of_the_tables_says_what_the_rounded_model_says(model: ContextModel) -> None:
    contexts = _contexts(4000)
    prediction = torch.randint(-2000, 2001, (1, 4000, 1), generator=torch.Generator().manual_seed(5)).float()
    with torch.no_grad():
        model.arithmetic = Arithmetic.OBSERVED
        model(contexts, prediction)
        model.arithmetic = Arithmetic.ROUNDED
        log2_scale, mean, gain = model.outputs(contexts)
        distributions = model(contexts, prediction)
        values = torch.round(distributions.mean + torch.linspace(-4, 4, 4000)[None, :, None])
        bits = model.bits(values, distributions)
    masses = _row_masses(model)
    index = torch.round((log2_scale - LOG2_MIN_SCALE) / LOG2_SCALE_STEP)
    assert len(index.unique()) > 40
    assert len(torch.round(gain * 16).unique()) > 10
    rows, shifts = tables_and_offsets(
        index.numpy().astype(np.int32),
        torch.round(mean * 2**MEAN_STEP_BITS).numpy().astype(np.int32),
        torch.round(gain * 2**GAIN_STEP_BITS).numpy().astype(np.int32),
        prediction.numpy().astype(np.int32),
    )
    rest = values.numpy().astype(np.int32) - shifts
    of_rows = masses.reshape(FRACTIONS * SCALES, -1)[rows, rest + REACH]
    likely = of_rows > 1e-6  # below, float32 resolves little and the loss is level
    assert likely.mean() > 0.5
    np.testing.assert_allclose(2 ** -bits.numpy()[likely], of_rows[likely], rtol=1e-3)


def test_a_row_is_a_distribution_about_the_fraction_it_stands_for(model: ContextModel) -> None:
    masses = _row_masses(model)
    assert (masses >= 0).all()
    narrow = masses[:, :32]
    np.testing.assert_allclose(narrow.sum(axis=-1), 1, atol=1e-6)
    means = (narrow * np.arange(-REACH, REACH + 1)).sum(axis=-1)
    np.testing.assert_allclose(means[:, 31], np.arange(FRACTIONS) / FRACTIONS, atol=1e-2)


def test_rounding_lets_gradients_through(model: ContextModel) -> None:
    model.arithmetic = Arithmetic.ROUNDED
    model.train()
    values = torch.zeros(1, 500, 1)
    model.bits(values, model(_contexts(500), torch.ones(1, 500, 1))).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())
