"""What the rehearsal writes is what the readers of the published data sets take, and its sweeps are the paper's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hyvic_train.config_file import read_sweep
from hyvic_train.data.data_set import read_part
from hyvic_train.families.latent.config import TrainingConfig
from scenes import ROOT
from studies.rehearsal import HYSPECNET_PARTS, MLRETSET_PATCHES, TOY_WIDTHS, Folders, toy_config, write_data_sets


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    result = Folders(tmp_path_factory.mktemp("rehearsal"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        write_data_sets(result, None)
    return result


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ("hyvic-hyspecnet11k", HYSPECNET_PARTS),
        ("hyvic-mlretset", dict(zip(("train", "val", "test"), (7, 2, 1), strict=True))),
    ],
)
def test_both_data_sets_are_read_as_the_published_ones(config: str, parts: dict[str, int], folders: Folders) -> None:
    (run,) = read_sweep(ROOT / "train" / "configs" / f"{config}.yaml").values()
    assert isinstance(run, TrainingConfig)
    root = folders.hyspecnet if run.data.dataset == "hyspecnet-11k" else folders.mlretset
    for part, count in parts.items():
        cubes = read_part([root], run.data, run.model, part)  # type: ignore[arg-type]
        assert len(cubes) == count
        side = 128 if run.data.dataset == "hyspecnet-11k" else 96
        assert {cube.cube.shape for cube in cubes} == {(run.model.bands, side, side)}
    assert sum(parts.values()) in (sum(HYSPECNET_PARTS.values()), MLRETSET_PATCHES)


@pytest.mark.parametrize(
    ("name", "widths", "runs", "models"),
    [
        ("grid-hyspecnet11k.yaml", TOY_WIDTHS, 160, 20),
        ("ablation-kernel.yaml", TOY_WIDTHS[:1], 9, 3),
        ("curve-mlretset.yaml", TOY_WIDTHS[:1], 8, 1),
    ],
)
def test_toy_sweeps_have_the_runs_of_the_real_ones(
    name: str,
    widths: tuple[tuple[int, int], ...],
    runs: int,
    models: int,
    folders: Folders,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    toys, real = read_sweep(toy_config(folders, name, widths)), read_sweep(Path("train/configs") / name)
    assert len(toys) == len(real) == runs
    for sweep in (toys, real):
        assert len({run.model for run in sweep.values()}) == models
    lmbdas = [[run.optimisation.lmbda for run in sweep.values()] for sweep in (toys, real)]  # type: ignore[attr-defined]
    assert lmbdas[0] == lmbdas[1]
