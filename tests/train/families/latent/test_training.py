from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hyvic_runtime.errors import SceneError
from hyvic_train.cli import main
from hyvic_train.data.crops import crops
from hyvic_train.data.cubes import TrainingCube
from hyvic_train.data.data_set import read_split
from hyvic_train.families.latent import training
from hyvic_train.families.latent.config import config_from_json
from hyvic_train.families.latent.objective import RateDistortion
from scenes import smooth_cube

CONFIG = {
    "model": {"bands": 8, "latent_channels": 10, "hyperlatent_channels": 6, "spatial_stages": 1},
    "optimisation": {"lmbda": 1e-4, "steps": 6, "batch_size": 2, "klt_step": 30, "checkpoint_every": 3},
    "data": {"crop": 16, "validation": ["v*"], "spectral_gain": 0.2, "remove_mean_spectrum": True},
}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "scenes").mkdir()
    for name in ("a", "b", "v"):
        np.savez(tmp_path / "scenes" / f"{name}.npz", cube=smooth_cube(24, 20, 8, ord(name)))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def _train(workspace: Path, out: str, *extra: str) -> int:
    return main(
        [
            str(workspace / "config.yaml"),
            "--data",
            str(workspace / "scenes"),
            "--out",
            str(workspace / out),
            "--json",
            *extra,
        ]
    )


def _losses(workspace: Path, out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (workspace / out / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """How libraries share a sum among threads may depend on what else the machine does, and with it the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("sent", ["SIGINT", "SIGTERM"])
def test_a_resumed_run_repeats_the_losses_of_an_uninterrupted_one(
    workspace: Path, capsys: pytest.CaptureFixture[str], sent: str
) -> None:
    assert _train(workspace, "whole") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["steps"] == 6
    assert [point["scenes"].keys() for point in result["validation"]] == [{"v"}]
    whole = (workspace / "whole" / "model.safetensors").read_bytes()

    # Ctrl-C or its like between the two optimisers of step 5: the step is finished, then a checkpoint is written.
    script = (
        "import os, signal, sys; from hyvic_train.cli import main\n"
        "from hyvic_train.families.latent.hyvic import HyVIC\n"
        "original, calls = HyVIC.aux_loss, []\n"
        "def aux_loss(model):\n"
        "    calls.append(1)\n"
        f"    if len(calls) == 5: os.kill(os.getpid(), signal.{sent})\n"
        "    return original(model)\n"
        "HyVIC.aux_loss = aux_loss\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    arguments = [str(workspace / "config.yaml"), "--data", str(workspace / "scenes"), "--out", str(workspace / "half")]
    stopped = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert stopped.returncode == 130
    assert "--resume" in stopped.stderr
    interrupted = [entry for entry in _losses(workspace, "half") if "scene" not in entry]
    assert len(interrupted) == 5
    assert _train(workspace, "half", "--resume") == 0
    steps = [entry for entry in _losses(workspace, "half") if entry["step"] != 5 or "scene" not in entry]
    assert steps == _losses(workspace, "whole")
    assert (workspace / "half" / "model.safetensors").read_bytes() == whole


@pytest.mark.usefixtures("one_thread")
def test_any_number_of_workers_trains_the_same_weights(workspace: Path) -> None:
    for workers in (0, 1, 5):
        assert _train(workspace, str(workers), "--set", f"data.workers={workers}") == 0
        assert _losses(workspace, str(workers)) == _losses(workspace, "0")
        weights = (workspace / str(workers) / "model.safetensors").read_bytes()
        assert weights == (workspace / "0" / "model.safetensors").read_bytes()
    # The number may change within a run.
    assert _train(workspace, "0", "--resume", "--set", "data.workers=2") == 0
    assert _train(workspace, "none", "--set", "data.workers=-1") == 1


@pytest.mark.parametrize("workers", [0, 3])
def test_an_error_in_a_worker_is_one_line_in_its_turn(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    def damaged(*cubes: object, step: int, **options: Any) -> object:
        if step == 4:
            raise SceneError("b.npz: cut short")
        return crops(*cubes, step=step, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("hyvic_train.families.latent.training.crops", damaged)
    before = threading.active_count()
    assert _train(workspace, "out", "--set", f"data.workers={workers}") == 1
    assert capsys.readouterr().err.splitlines() == ["train-model: b.npz: cut short"]
    assert [entry["step"] for entry in _losses(workspace, "out") if "scene" not in entry] == [1, 2, 3, 4]
    assert threading.active_count() == before


def test_a_killed_run_resumes_from_its_last_checkpoint(workspace: Path) -> None:
    arguments = [str(workspace / "config.yaml"), "--data", str(workspace / "scenes"), "--out", str(workspace / "out")]
    # Far more steps than can pass before the kill; the cosine schedule depends on them, so both runs name them.
    arguments += ["--set", "optimisation.steps=100000"]
    run = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from hyvic_train.cli import main; sys.exit(main(sys.argv[1:]))",
            *arguments,
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    log = workspace / "out" / "log.jsonl"
    deadline = time.monotonic() + 600
    while not (log.exists() and len(log.read_text().splitlines()) > 10) and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()

    from hyvic_train.checkpoint import resume
    from hyvic_train.families.latent.checkpoint import load_checkpoint
    from hyvic_train.families.latent.hyvic import HyVIC
    from hyvic_train.families.latent.training import make_optimisers

    config = load_checkpoint(workspace / "out").config
    model = HyVIC(config.model)
    state = resume(workspace / "out", config, model, make_optimisers(model, config.optimisation))
    logged = [entry["step"] for entry in _losses(workspace, "out") if "scene" not in entry]
    # A step is logged, then its state is written: nothing but the step in hand is lost.
    assert state.step in (logged[-1], logged[-1] - 1)


def test_a_diverging_run_stops_and_keeps_its_last_checkpoint(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train(workspace, "out", "--set", "optimisation.steps=3") == 0
    before = (workspace / "out" / "model.safetensors").read_bytes()
    wild = ["--set", "optimisation.learning_rate=1e30", "--set", "optimisation.gradient_clip=1e30"]
    assert _train(workspace, "wild", *wild) == 1
    error = capsys.readouterr().err
    assert "diverged" in error
    assert len(error.strip().splitlines()) == 1
    assert (workspace / "out" / "model.safetensors").read_bytes() == before
    assert not (workspace / "wild" / "model.safetensors").exists()
    assert (workspace / "wild" / "resume.safetensors").exists()  # its start, for --resume


def test_a_run_is_resumed_only_with_its_own_configuration(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _train(workspace, "out", "--set", "optimisation.steps=3") == 0
    changes = ["--set", "optimisation.steps=3", "--set", "optimisation.lmbda=0.5", "--set", "data.spectral_gain=1e-1"]
    assert _train(workspace, "out", "--resume", *changes) == 1
    error = capsys.readouterr().err
    assert "optimisation.lmbda, data.spectral_gain" in error
    assert "steps" not in error


def test_every_problem_of_a_configuration_is_named_at_once(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ["model.kernel_size=4", "model.spatial_stages=9", "model.colour=red", "optimisation.lmbda=-1"]
    overrides += ["optimisation.batch_size=0", "data.crop=0", "data.dataset=imagenet"]
    status = _train(workspace, "out", *(v for o in overrides for v in ("--set", o)))
    error = capsys.readouterr().err
    assert status == 1
    named = ("model.colour", "kernel_size is 4", "spatial_stages is 9", "lmbda is -1", "batch_size is 0", "crop is 0")
    for part in (*named, "data.dataset"):
        assert part in error
    assert len(error.strip().splitlines()) == 1
    assert not (workspace / "out").exists()


@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("optimisation.step=5", "optimisation.step: Unexpected keyword"),
        ("data.crop=12", "must be a multiple of 8"),
        ("nonsense", "write KEY=VALUE"),
        ("model.bands=9", "8 bands, the model has 9"),
        ("data.crop=64", "at least 64×64 are needed"),
        ("optimisation.seed=-1", "seed is -1"),
        ("optimisation.steps=2001-13-45", "month must be in 1..12"),
        ("optimisation.lmbda=" + "[" * 3000, "--set"),
        ("data.wavelengths=[500, 600]", "data.wavelengths names 2 bands, model.bands is 8"),
        ("optimisation.batch_size=10000000000", "not enough memory"),
        ("data.wavelengths=missing.json", "missing.json"),
    ],
)
def test_a_wrong_setting_is_one_line(
    workspace: Path, capsys: pytest.CaptureFixture[str], override: str, match: str
) -> None:
    assert _train(workspace, "out", "--set", override) == 1
    error = capsys.readouterr().err
    assert match in error
    assert len(error.strip().splitlines()) == 1


def test_an_existing_run_is_never_overwritten(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _train(workspace, "out", "--set", "optimisation.steps=1") == 0
    assert _train(workspace, "out") == 1
    assert "already holds config.json" in capsys.readouterr().err
    (workspace / "notes").mkdir()
    (workspace / "notes" / "log.jsonl").write_text('{"a": 1}\n')
    assert _train(workspace, "notes") == 1
    assert "already holds log.jsonl" in capsys.readouterr().err
    assert (workspace / "notes" / "log.jsonl").read_text() == '{"a": 1}\n'


def test_a_run_leaves_points_pictures_and_its_best_checkpoint(workspace: Path) -> None:
    from hyvic_train.families.latent.checkpoint import load_checkpoint
    from hyvic_train.families.latent.validation import validate, validation_loss
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    two = ["--set", "model.rates=2", "--set", "optimisation.lmbda=[1.0e-5, 1.0e-3]", "--set", "optimisation.steps=30"]
    assert _train(workspace, "out", *two, "--set", "optimisation.checkpoint_every=10") == 0
    document = json.loads((workspace / "out" / "rd.json").read_text())
    assert document["step"] == 30
    assert [(point["lmbda"], point["quality"]) for point in document["points"]] == [(1e-5, 0), (1e-3, 100)]
    low, high = (point["scenes"]["v"] for point in document["points"])
    assert low["rate_bpppb"] < high["rate_bpppb"]
    assert low["psnr_db"] < high["psnr_db"]

    # The best of three validations is kept, and it is what its own rd.json says.
    entries = [entry for entry in _losses(workspace, "out") if "scene" in entry]
    assert [entry["step"] for entry in entries] == [10, 10, 20, 20, 30, 30]
    best = workspace / "out" / "best"
    model = load_checkpoint(best).model
    scene = read_scene_as_training_does(workspace)
    measured = validate(model, scene, (1e-5, 1e-3))
    losses = []
    for step in (10, 20, 30):
        results = [RateDistortion(rate_bpppb=e["rate_bpppb"], mse=e["mse"]) for e in entries if e["step"] == step]
        points = [replace(p, scenes={"v": r}) for p, r in zip(measured, results, strict=True)]
        losses.append(validation_loss(points))
    assert json.loads((best / "rd.json").read_text())["step"] == (10, 20, 30)[losses.index(min(losses))]
    assert validation_loss(measured) == pytest.approx(min(losses), rel=1e-5)

    events = EventAccumulator(str(workspace / "out" / "tensorboard")).Reload()
    assert {"rate and distortion", "reconstruction, λ 0.001", "spectra, λ 0.001"} <= set(events.Tags()["images"])
    assert [scalar.step for scalar in events.Scalars("training/rate, bit per sample")] == [10, 20, 30]


def test_the_last_validation_is_done_once_and_of_many_scenes_the_summary_tells_means(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):  # nine with v
        np.savez(workspace / "scenes" / f"v{number}.npz", cube=smooth_cube(24, 20, 8, number))
    validations = []

    def counted(*arguments: Any) -> Any:
        validations.append(1)
        return validation(*arguments)

    validation = training._validation
    monkeypatch.setattr(training, "_validation", counted)
    assert _train(workspace, "out") == 0
    assert len(validations) == 2  # after steps 3 and 6
    assert [len(point["scenes"]) for point in json.loads(capsys.readouterr().out)["validation"]] == [9]
    paths = [str(workspace / name) for name in ("config.yaml", "scenes", "out")]
    assert main([paths[0], "--data", paths[1], "--out", paths[2], "--resume"]) == 0
    first, read, *rest = capsys.readouterr().out.splitlines()
    assert "parameters, 6 steps" in first
    assert "different scenes to train on" in read
    assert [re.sub(r"[\d.]+", "#", line) for line in rest] == ["  mean of # scenes, λ #: # ± # bit, CR #, # ± # dB"]


def read_scene_as_training_does(workspace: Path) -> tuple[TrainingCube, ...]:
    config = config_from_json(CONFIG)
    return read_split([workspace / "scenes"], config.data, config.model).validation


def test_a_sweep_trains_a_run_for_every_combination(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = {
        "stages": [{"model.spatial_stages": 0}, {"model.spatial_stages": 1}],
        "rate": [{"optimisation.lmbda": 1e-5, "optimisation.klt_step": 60}, {"optimisation.lmbda": 1e-3}],
    }
    (workspace / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"sweep": sweep}, sort_keys=False))
    assert _train(workspace, "out", "--set", "optimisation.steps=2") == 0
    names = [
        "spatial_stages=0,lmbda=1e-05,klt_step=60",
        "spatial_stages=0,lmbda=0.001",
        "spatial_stages=1,lmbda=1e-05,klt_step=60",
        "spatial_stages=1,lmbda=0.001",
    ]
    result = json.loads(capsys.readouterr().out)
    assert [run["checkpoint"] for run in result["runs"]] == [str(workspace / "out" / name) for name in names]
    config = json.loads((workspace / "out" / names[2] / "config.json").read_text())
    assert (config["model"]["spatial_stages"], config["optimisation"]["klt_step"]) == (1, 60)

    only = ("--set", "optimisation.steps=1", "--only", "*,lmbda=0.001", "--only", names[0])
    assert _train(workspace, "some", *only) == 0
    trained = [Path(run["checkpoint"]).name for run in json.loads(capsys.readouterr().out)["runs"]]
    assert trained == [names[0], names[1], names[3]]
    assert _train(workspace, "none", "--only", "lmbda=1") == 1
    assert (
        "--only lmbda=1 names none of the 4 runs: spatial_stages=0,lmbda=1e-05,klt_step=60; " in capsys.readouterr().err
    )
    assert not (workspace / "none").exists()


def test_every_problem_of_a_sweep_is_named_at_once(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = {"stages": [{"model.spatial_stages": 9}, {"model.kernel_size": 4}]}
    (workspace / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"sweep": sweep}, sort_keys=False))
    assert _train(workspace, "out") == 1
    error = capsys.readouterr().err
    assert "spatial_stages is 9" in error
    assert "kernel_size is 4" in error
    (workspace / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"sweep": {"stages": 3}}))
    assert _train(workspace, "out") == 1
    assert "sweep names axes" in capsys.readouterr().err


def test_several_processes_share_a_batch_evenly_or_not_at_all(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train(workspace, "out", "--devices", "3") == 1
    assert "a batch of 2 crops cannot be shared by 3 processes" in capsys.readouterr().err


def test_a_run_killed_in_its_first_step_begins_anew_with_resume(workspace: Path) -> None:
    steps = ["--set", "optimisation.steps=3", "--set", "optimisation.state_every=50"]
    assert _train(workspace, "whole", *steps) == 0
    script = (
        "import os, signal, sys; from hyvic_train.cli import main\n"
        "from hyvic_train.families.latent.hyvic import HyVIC\n"
        "HyVIC.aux_loss = lambda model: os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    arguments = [
        str(workspace / "config.yaml"),
        "--data",
        str(workspace / "scenes"),
        "--out",
        str(workspace / "killed"),
    ]
    subprocess.run([sys.executable, "-c", script, *arguments, *steps], check=False, timeout=600, capture_output=True)
    assert not (workspace / "killed" / "config.json").exists()
    assert _train(workspace, "killed", "--resume", *steps) == 0
    assert _losses(workspace, "killed") == _losses(workspace, "whole")


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (["optimisation.steps=0"], "neither steps nor epochs"),
        (["data.validation=[x*, y*]"], "x\\*, y\\*, which none of 3 scenes matches"),
        (["model.hyperlatent_channels=10000000000000000000000"], "it must lie in 1..65536"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], match: str
) -> None:
    assert _train(workspace, "out", *(v for o in overrides for v in ("--set", o))) == 1
    assert re.search(match, capsys.readouterr().err)
    assert not (workspace / "out").exists()


def test_axes_that_set_one_key_and_keys_that_are_no_names_are_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for sweep, match in (
        ({"a": [{"model.kernel_size": 3}], "b": [{"model.kernel_size": 5}, {"model.kernel_size": 5}]}, "are called"),
        ({"a": [{1: 2}]}, "sweep names axes"),
    ):
        (workspace / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"sweep": sweep}))
        assert _train(workspace, "out") == 1
        assert match in capsys.readouterr().err


def test_nothing_to_resume_is_said(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _train(workspace, "out", "--resume") == 1
    assert "holds no state to resume" in capsys.readouterr().err


def test_epochs_are_told_in_steps(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    epochs = ["--set", "optimisation.steps=0", "--set", "optimisation.epochs=3"]
    assert _train(workspace, "out", *epochs) == 0
    # Two scenes of 24 × 20 pixels hold one crop of 16 × 16 each: 3 epochs are 6 crops in batches of 2.
    assert json.loads((workspace / "out" / "config.json").read_text())["optimisation"]["steps"] == 3
    capsys.readouterr()
    assert _train(workspace, "both", "--set", "optimisation.epochs=3") == 1
    assert "steps is 6 and epochs 3" in capsys.readouterr().err


def test_a_configuration_builds_on_another(workspace: Path) -> None:
    from hyvic_train.config import ConfigError
    from hyvic_train.config_file import read_sweep

    (workspace / "child.yaml").write_text("base: config.yaml\noptimisation: {steps: 9}\n")
    (config,) = read_sweep(workspace / "child.yaml").values()
    assert (config.optimisation.steps, config.optimisation.klt_step) == (9, 30)
    assert config.data == config_from_json(CONFIG).data
    (workspace / "config.yaml").write_text("base: child.yaml\n")
    with pytest.raises(ConfigError, match="at most 8 in a chain"):
        read_sweep(workspace / "child.yaml")
