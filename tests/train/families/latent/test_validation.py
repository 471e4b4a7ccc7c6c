"""What a validation shows of few scenes and of many."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hyspecnet_folder import patch_entry
from hyvic_train.data.measured import SINGLE_SCENES
from hyvic_train.families.latent.figures import rate_distortion_figure, reconstruction_figures
from hyvic_train.families.latent.hyvic import HyVIC
from hyvic_train.families.latent.model_config import HyVICConfig
from hyvic_train.families.latent.objective import RateDistortion
from hyvic_train.families.latent.validation import OperatingPoint, curves_of_points, summary_of_points
from scenes import smooth_cube
from training_cubes import cube_in_memory

PEAK = 10_000


def _points(scenes: int, worst_mse: float = 100.0) -> list[OperatingPoint]:
    """Two λ; rates 1, 2, … bit at the first and twice as much at the second; one PSNR but for the last scene's."""
    return [
        OperatingPoint(
            lmbda=lmbda,
            quality=quality,
            scenes={
                f"s{k}": RateDistortion(rate_bpppb=factor * (k + 1), mse=worst_mse if k == scenes - 1 else 100.0)
                for k in range(scenes)
            },
        )
        for lmbda, quality, factor in ((1e-4, 0, 1), (1e-2, 100, 2))
    ]


def test_many_scenes_are_told_by_mean_and_deviation() -> None:
    points = _points(15)
    assert curves_of_points(points, PEAK) == {
        "validation, mean/rate, λ 0.0001": 8,
        "validation, mean/PSNR, λ 0.0001": 60,
        "validation, mean/loss, λ 0.0001": pytest.approx(8.01),
        "validation, mean/rate, λ 0.01": 16,
        "validation, mean/PSNR, λ 0.01": 60,
        "validation, mean/loss, λ 0.01": 17,
    }
    deviation = math.sqrt((15**2 - 1) / 12)  # of 1 … 15
    assert summary_of_points(points, PEAK) == [
        f"mean of 15 scenes, λ 0.0001: 8.0000 ± {deviation:.4f} bit, CR 2, 60.00 ± 0.00 dB",
        f"mean of 15 scenes, λ 0.01: 16.0000 ± {2 * deviation:.4f} bit, CR 1, 60.00 ± 0.00 dB",
    ]
    (axes,) = rate_distortion_figure(points, PEAK).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["mean ± deviation of 15 scenes"]


def test_few_scenes_are_named() -> None:
    points = _points(SINGLE_SCENES)
    assert len(curves_of_points(points, PEAK)) == 2 * (3 + 2 * SINGLE_SCENES)
    assert curves_of_points(points, PEAK)["s1/rate, λ 0.01"] == 4
    lines = summary_of_points(points, PEAK)
    assert [line.partition(",")[0] for line in lines[:3]] == [f"mean of {SINGLE_SCENES} scenes"] * 2 + ["s0"]
    assert len(lines) == 2 + 2 * SINGLE_SCENES
    (axes,) = rate_distortion_figure(points, PEAK).axes
    assert len(axes.get_legend().get_texts()) == SINGLE_SCENES
    # The mean of one scene would be said twice.
    assert [line.partition(",")[0] for line in summary_of_points(_points(1), PEAK)] == ["s0", "s0"]


def test_no_scene_and_an_exact_scene_are_no_error() -> None:
    assert curves_of_points(_points(0), PEAK) == {}
    assert summary_of_points(_points(0), PEAK) == []
    exact = _points(15, worst_mse=0.0)
    assert "inf ± nan dB" in summary_of_points(exact, PEAK)[0]
    rate_distortion_figure(exact, PEAK).draw_without_rendering()


@pytest.mark.filterwarnings("error")
def test_the_long_names_of_published_patches_leave_room_for_pictures() -> None:
    model = HyVIC(HyVICConfig(bands=8, latent_channels=10, hyperlatent_channels=6, spatial_stages=1)).eval()
    cube = np.moveaxis(smooth_cube(32, 32, 8), -1, 0).astype(np.float32)
    scene = cube_in_memory(Path(patch_entry(1)).stem, cube)
    for figure in reconstruction_figures(model, scene, 0, None):
        figure.draw_without_rendering()  # matplotlib warns if nothing is left of an axis
