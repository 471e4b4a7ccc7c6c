from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hyvic_train.checkpoint import CheckpointError
from hyvic_train.cli import main
from hyvic_train.config import json_from_config
from hyvic_train.config_file import read_sweep
from hyvic_train.data.data_set import read_split
from hyvic_train.families.adaptive.checkpoint import load_context_model
from hyvic_train.families.adaptive.coefficients import Details, details, project, rounded, spectral_basis
from hyvic_train.families.adaptive.config import AdaptiveTrainingConfig
from hyvic_train.families.adaptive.samples import Samples
from hyvic_train.families.adaptive.validation import ROUNDING, STEPS, detail_bits
from hyvic_train.families.latent.checkpoint import load_checkpoint
from hyvic_train.families.registry import run_config_from_json
from scenes import smooth_cube

SHIPPED_CONFIG = Path(__file__).parents[4] / "train" / "configs" / "adaptive.yaml"
CONFIG: dict[str, Any] = {
    "model": {"family": "adaptive", "width": 12},
    "optimisation": {"steps": 8, "encoder_steps": 3, "integer_path_steps": 2, "checkpoint_every": 4, "state_every": 3},
    "samples": {"rows": 3000, "components": 8, "smallest_step": 4, "largest_step": 60},
    "data": {"crop": 16, "validation": ["v*"]},
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """How libraries share a sum among threads may depend on what else the machine does, and with it the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "scenes").mkdir()
    # Of any bands and sizes.
    for name, bands, lines in (("a", 8, 40), ("b", 11, 24), ("v", 6, 31)):
        np.savez(tmp_path / "scenes" / f"{name}.npz", cube=smooth_cube(lines, 28, bands, ord(name)))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def _arguments(workspace: Path, out: str, *extra: str) -> list[str]:
    config, scenes = str(workspace / "config.yaml"), str(workspace / "scenes")
    return [config, "--data", scenes, "--out", str(workspace / out), "--json", *extra]


def _train(workspace: Path, out: str, *extra: str) -> int:
    return main(_arguments(workspace, out, *extra))


def _log(workspace: Path, out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (workspace / out / "log.jsonl").read_text().splitlines()]


@dataclass(frozen=True)
class LeftOut:
    """The scene that is only measured, and how many samples it has."""

    tile: Details
    samples: int


def _left_out(workspace: Path) -> LeftOut:
    cube = np.moveaxis(np.load(workspace / "scenes" / "v.npz")["cube"], -1, 0).astype(np.float32)
    basis = spectral_basis(cube, 8)
    tile = rounded(details(project(basis, cube), basis, STEPS[0]), ROUNDING)
    return LeftOut(tile=tile, samples=cube.size)


def test_a_resumed_run_repeats_an_uninterrupted_one(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _train(workspace, "whole") == 0
    result = json.loads(capsys.readouterr().out)
    assert [point["quantiser_step"] for point in result["validation"]] == list(STEPS)
    assert [list(point["scenes"]) for point in result["validation"]] == [["v"]] * len(STEPS)
    whole = (workspace / "whole" / "model.safetensors").read_bytes()

    # Ctrl-C within step 7: the step is finished, then a state is written.
    script = (
        "import os, signal, sys; from hyvic_train.cli import main\n"
        "from hyvic_train.families.adaptive.samples import Samples\n"
        "original = Samples.of_step\n"
        "def of_step(self, step, bits=None):\n"
        "    if step == 6: os.kill(os.getpid(), signal.SIGINT)\n"
        "    return original(self, step, bits)\n"
        "Samples.of_step = of_step\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    stopped = subprocess.run(
        [sys.executable, "-c", script, *_arguments(workspace, "half")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert stopped.returncode == 130
    assert "--resume" in stopped.stderr
    assert _log(workspace, "half")[-1]["step"] == 7
    assert _train(workspace, "half", "--resume") == 0
    assert _log(workspace, "half") == _log(workspace, "whole")
    assert (workspace / "half" / "model.safetensors").read_bytes() == whole
    assert _train(workspace, "other", "--set", "optimisation.seed=1") == 0
    assert (workspace / "other" / "model.safetensors").read_bytes() != whole


def test_a_checkpoint_is_calibrated_and_says_what_it_is(workspace: Path, tiny_checkpoint: Path) -> None:
    assert _train(workspace, "out") == 0
    loaded = load_context_model(workspace / "out")
    assert loaded.config == run_config_from_json(CONFIG)
    assert all(peak.any() for peak in loaded.model.peaks.values())
    assert load_context_model(workspace / "out" / "best").config == loaded.config
    document = json.loads((workspace / "out" / "rd.json").read_text())
    assert document["step"] == 8
    left_out = _left_out(workspace)
    told = document["points"][0]["scenes"]["v"]["detail_bits_per_sample"]
    assert told == pytest.approx(detail_bits(loaded.model, left_out.tile) / left_out.samples, rel=1e-6)
    with pytest.raises(CheckpointError, match="a model of family adaptive; hyvic or joint is needed"):
        load_checkpoint(workspace / "out")
    with pytest.raises(CheckpointError, match="a model of family hyvic; adaptive is needed"):
        load_context_model(tiny_checkpoint)


def test_a_short_training_beats_the_best_laplace_of_every_level_and_component(workspace: Path) -> None:
    longer = {"steps": 150, "integer_path_steps": 30, "checkpoint_every": 150}
    assert _train(workspace, "out", *(f"--set=optimisation.{key}={value}" for key, value in longer.items())) == 0
    tile = _left_out(workspace).tile
    fixed = sum(_best_laplace_bits(plane) for level in tile.levels for plane in level)
    assert detail_bits(load_context_model(workspace / "out").model, tile) < fixed


def _best_laplace_bits(values: np.ndarray) -> float:
    """Of the two-sided geometric distribution that suits them best, and nothing for naming it."""
    magnitude = np.abs(values).mean()
    if magnitude == 0:
        return 0.0
    ratio = (np.sqrt(1 + magnitude**2) - 1) / magnitude
    return float(-(np.log2((1 - ratio) / (1 + ratio)) + np.abs(values) * np.log2(ratio)).sum())


def test_the_shipped_configuration_is_read_and_written_back() -> None:
    (config,) = read_sweep(SHIPPED_CONFIG).values()
    assert isinstance(config, AdaptiveTrainingConfig)
    assert run_config_from_json(json_from_config(config)) == config


@pytest.mark.parametrize(
    ("assignment", "match"),
    [
        ("model.width=0", "width is 0; it must lie in 1..256"),
        ("model.bands=4", "model.bands: Unexpected keyword argument"),
        ("optimisation.steps=0", "steps is 0; it must be positive"),
        ("samples.smallest_step=900", "smallest_step is 900.0 and largest_step 60.0"),
        ("optimisation.encoder_steps=9", "encoder_steps is 9; it must lie in 0..8"),
        ("samples.bit_weight=2", "bit_weight is 2.0; it must lie in 0..1"),
        ("samples.components=300", "components is 300"),
        ("data.remove_mean_spectrum=true", "data.remove_mean_spectrum has no use with model.family adaptive"),
        ("data.crop=1", "data.crop is 1"),
        ("model.family=adaptif", "model.family is adaptif; it must be hyvic, joint or adaptive"),
    ],
)
def test_an_impossible_configuration_is_one_line(
    workspace: Path, capsys: pytest.CaptureFixture[str], assignment: str, match: str
) -> None:
    assert _train(workspace, "out", "--set", assignment) == 1
    error = capsys.readouterr().err
    assert match in error
    assert len(error.strip().splitlines()) == 1
    assert not (workspace / "out").exists()


def test_options_without_use_are_refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _train(workspace, "out", "--weights", str(workspace)) == 1
    assert "--weights has no use with model.family adaptive" in capsys.readouterr().err
    assert _train(workspace, "out", "--devices", "2") == 1
    assert "--devices has no use" in capsys.readouterr().err


def test_a_diverging_run_stops_with_one_line(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wild = ["--set", "optimisation.learning_rate=1e30", "--set", "optimisation.gradient_clip=1e30"]
    assert _train(workspace, "out", *wild) == 1
    error = capsys.readouterr().err
    assert "diverged" in error
    assert len(error.strip().splitlines()) == 1


def test_crops_hold_no_pixel_without_data(workspace: Path) -> None:
    cube = smooth_cube(40, 40, 7, 5)
    cube[:, 25:] = 65535
    np.savez(workspace / "scenes" / "gap.npz", cube=cube)
    config = read_sweep(workspace / "config.yaml", ["data.no_data=65535"])[""]
    assert isinstance(config, AdaptiveTrainingConfig)
    scenes = read_split([workspace / "scenes"], config.data, config.model).training
    samples = Samples([scene for scene in scenes if scene.name == "gap"], config)
    assert max(np.abs(samples.of_step(step).rows.values).max() for step in range(10)) < 2000
