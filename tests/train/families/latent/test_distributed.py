"""Two processes on one batch (DDP over gloo) against one process on the whole of it."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from scenes import smooth_cube

pytestmark = pytest.mark.slow

# Run as a script, by the test and again by Fabric for the second process.
GRADIENTS = """
import json, sys
import numpy as np, torch
from hyvic_train.families.latent.config import config_from_json
from scenes import smooth_cube
from hyvic_train.entropy_path_layer import Arithmetic
from hyvic_train.data.crops import Shard
from hyvic_train.data.cubes import SceneSplit
from training_cubes import cube_in_memory
from hyvic_train.families.latent.klt import initialise
from hyvic_train.families.latent.checkpoint import model_from_config
from hyvic_train.families.latent.objective import Objective
from hyvic_train.families.latent.training import batch, gradients
from lightning_fabric import Fabric
from safetensors.torch import save_file

processes, out = int(sys.argv[1]), sys.argv[2]
config = config_from_json({
    "model": json.loads(sys.argv[4]),
    "optimisation": {"lmbda": [1e-5, 1e-3], "steps": 4, "batch_size": 4},
    "data": {"crop": 16, "spectral_gain": 0.2},
})
cube = np.moveaxis(smooth_cube(24, 24, 6), -1, 0).astype(np.float32)
scenes = SceneSplit(training=(cube_in_memory("a", cube),), validation=())
fabric = Fabric(accelerator="cpu", devices=processes, precision="64-true",
                strategy="ddp" if processes > 1 else "auto")
fabric.launch()
torch.manual_seed(0)
model = model_from_config(config.model)
initialise(model, lambda: [batch(scenes, config, step=0, count=8)], 30.0, config.optimisation.lmbdas)
optimiser = torch.optim.SGD(model.parameters())
model.arithmetic = Arithmetic.ROUNDED if sys.argv[3] == "rounded" else Arithmetic.REAL
objective, _ = fabric.setup(Objective(model, config.optimisation.lmbdas), optimiser)
shard = Shard(rank=fabric.global_rank, processes=processes)
x = batch(scenes, config, step=3, count=4, shard=shard)
_, measured = gradients(fabric, objective, model, x, config, step=3)
if fabric.is_global_zero:
    tensors = {name: p.grad for name, p in model.named_parameters()}
    tensors |= model.peaks
    save_file(tensors | {"measured": torch.tensor([measured.rate_bpppb, measured.mse])}, out)
fabric.barrier()
"""

# The first process reads `first`, the second one `second`, both read `both`, and nobody reads `neither`.
GATHER = """
import json, sys
from pathlib import Path
import numpy as np
from hyvic_train.data.cubes import SceneSplit
from hyvic_train.training_loop import _read_so_far
from lightning_fabric import Fabric
from training_cubes import cube_in_memory

fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
fabric.launch()
names = ("first", "second", "both", "neither")
cubes = [cube_in_memory(name, np.full((1, 2, 2), i, np.float32)) for i, name in enumerate(names)]
for index in (fabric.global_rank, 2):
    cubes[index].cube
data = _read_so_far(SceneSplit(training=tuple(cubes), validation=()), fabric)
if fabric.is_global_zero:
    Path(sys.argv[1]).write_text(json.dumps(sorted(data.training.values())))
fabric.barrier()
"""


HYVIC = {"bands": 6, "latent_channels": 8, "hyperlatent_channels": 5, "spatial_stages": 1, "rates": 2}
JOINT = {**HYVIC, "family": "joint", "feature_channels": 6, "slices": 2, "slice_channels": 5, "attention_block": 4}


@pytest.mark.parametrize("model", [HYVIC, JOINT], ids=["hyvic", "joint"])
@pytest.mark.parametrize("entropy_path", ["real", "rounded"])
def test_two_processes_give_the_gradient_of_one(tmp_path: Path, entropy_path: str, model: dict[str, object]) -> None:
    script = tmp_path / "gradients.py"
    script.write_text(GRADIENTS)
    results = []
    for processes in (1, 2):
        out = tmp_path / f"{processes}.safetensors"
        command = [sys.executable, str(script), str(processes), str(out), entropy_path, json.dumps(model)]
        path = str(Path(__file__).parents[3] / "support")
        environment = {"PYTHONPATH": path, "PATH": "", "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        results.append(load_file(out))
    one, two = results
    assert one.keys() == two.keys()
    assert len(one) > 20
    for name, expected in one.items():
        # Double precision: the same products summed in two halves differ by rounding alone. What was measured passes
        # through single precision, as Fabric gives a module's outputs, and may fall on either side of a half.
        tolerance = 2.0**-22 if name == "measured" else 1e-9
        assert torch.allclose(two[name], expected, rtol=tolerance, atol=1e-9 * float(expected.abs().max())), name


def test_the_command_trains_with_two_processes_as_with_one_and_speaks_once(tmp_path: Path) -> None:
    config = {
        "model": {"bands": 8, "latent_channels": 10, "hyperlatent_channels": 6, "spatial_stages": 1},
        "optimisation": {"lmbda": 1e-4, "steps": 3, "batch_size": 2, "klt_step": 30},
        "data": {"crop": 16},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    np.savez(tmp_path / "scene.npz", cube=smooth_cube(24, 20, 8))
    for processes in (1, 2):
        done = subprocess.run(
            [
                Path(sysconfig.get_path("scripts")) / "train-model",
                *(tmp_path / "config.yaml", "--data", tmp_path / "scene.npz", "--out", tmp_path / str(processes)),
                *("--devices", str(processes), "--json"),
            ],
            env={"PATH": "", "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["steps"] == 3  # one object: the second process says nothing
    one, two = ([json.loads(line) for line in (tmp_path / n / "log.jsonl").read_text().splitlines()] for n in "12")
    for alone, shared in zip(one, two, strict=True):
        # float32 sums in two halves.
        assert shared["rate_bpppb"] == pytest.approx(alone["rate_bpppb"], rel=1e-4)
        assert shared["mse"] == pytest.approx(alone["mse"], rel=1e-4)


def test_a_checkpoint_lists_the_scenes_that_any_process_read(tmp_path: Path) -> None:
    script = tmp_path / "gather.py"
    script.write_text(GATHER)
    command = [sys.executable, str(script), str(tmp_path / "read.json")]
    path = str(Path(__file__).parents[3] / "support")
    environment = {"PYTHONPATH": path, "PATH": "", "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "read.json").read_text()) == ["both", "first", "second"]
