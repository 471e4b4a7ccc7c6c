from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT, smooth_cube
from hyvic_train.cli import main

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


def _losses(workspace: Path, out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (workspace / out / "log.jsonl").read_text().splitlines()]


def test_a_resumed_run_repeats_the_losses_of_an_uninterrupted_one(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train(workspace, "whole") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["steps"] == 6
    assert result["validation"].keys() == {"v"}
    whole = (workspace / "whole" / "model.safetensors").read_bytes()

    script = (
        "import sys; from hyvic_train import training; from hyvic_train.cli import main\n"
        "original = training._step\n"
        "def step(*a):\n"
        "    if a[-1] == 4: raise KeyboardInterrupt\n"
        "    return original(*a)\n"
        "training._step = step\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    arguments = [str(workspace / "config.yaml"), "--data", str(workspace / "scenes"), "--out", str(workspace / "half")]
    stopped = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False, timeout=300
    )
    assert stopped.returncode == 130
    assert "--resume" in stopped.stderr
    assert _train(workspace, "half", "--resume") == 0
    assert _losses(workspace, "half") == _losses(workspace, "whole")
    assert (workspace / "half" / "model.safetensors").read_bytes() == whole


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
    deadline = time.monotonic() + 120
    while not (log.exists() and len(log.read_text().splitlines()) > 10) and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()

    from hyvic_train.checkpoint import load_checkpoint, load_progress
    from hyvic_train.hyvic import HyVIC
    from hyvic_train.training import _optimisers

    loaded = load_checkpoint(workspace / "out")
    model = HyVIC(loaded.config.model)
    step = load_progress(workspace / "out", model, _optimisers(model, loaded.config.optimisation))
    assert step >= 3
    assert step % 3 == 0


def test_every_problem_of_a_configuration_is_named_at_once(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ["model.kernel_size=4", "optimisation.lmbda=-1", "data.crop=0"]
    status = _train(workspace, "out", *(v for o in overrides for v in ("--set", o)))
    error = capsys.readouterr().err
    assert status == 1
    for part in ("kernel_size is 4", "lmbda is -1", "crop is 0"):
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
        ("data.crop=64", "less than a crop of 64"),
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
    assert "already holds a run" in capsys.readouterr().err


def test_nothing_to_resume_is_said(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _train(workspace, "out", "--resume") == 1
    assert "no run to resume" in capsys.readouterr().err


def test_the_shipped_configuration_reads() -> None:
    from hyvic_train.config import read_config

    config = read_config(ROOT / "train" / "configs" / "hyvic-s-202.yaml")
    assert config.data.wavelengths is not None
    assert len(config.data.wavelengths) == config.model.bands == 202
