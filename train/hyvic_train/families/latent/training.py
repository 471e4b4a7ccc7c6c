"""Training of the latent codecs: eq. 2 minimised by a main and an auxiliary Adam (seed paper, section IV-B).

On Lightning Fabric: one processor or many, float32 or mixed precision. All random draws of a step (crops,
augmentation, quantisation noise) are a function of the seed and the step. So a resumed run repeats an uninterrupted
one, and several processes share the batch that one process would see.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from hyvic_train.checkpoint import weights
from hyvic_train.data.crops import ALONE, Shard, crops, crops_per_epoch
from hyvic_train.data.cubes import SceneSplit
from hyvic_train.data.measured import middle, spread
from hyvic_train.entropy_path_layer import Arithmetic, reached_peaks
from hyvic_train.families.latent.checkpoint import model_from_config
from hyvic_train.families.latent.codec_model import CodecModel, uniform_noise
from hyvic_train.families.latent.config import OptimisationConfig, TrainingConfig, in_steps
from hyvic_train.families.latent.figures import rate_distortion_figure, reconstruction_figures
from hyvic_train.families.latent.klt import best_step, initialise, initialise_gains
from hyvic_train.families.latent.objective import Objective, RateDistortion, levels_of_step
from hyvic_train.families.latent.pretrained import load_pretrained
from hyvic_train.families.latent.validation import (
    curves_of_points,
    json_from_points,
    summary_of_points,
    validate,
    validation_loss,
)
from hyvic_train.run_log import StepReport, Validation
from hyvic_train.training_loop import Run, Trained, cosine, descend, loop

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KLT_CROPS = 160
_CALIBRATION_SCENES = 64
_ADVICE = "start anew with a lower learning rate or a coarser klt_step"


def check(config: TrainingConfig, run: Run) -> None:
    """Refuse a run that would neither train nor convert anything."""
    if not (config.optimisation.steps or config.optimisation.epochs or run.pretrained):
        raise ValueError("optimisation names neither steps nor epochs: name one, or --weights to convert")


def train(config: TrainingConfig, scenes: SceneSplit, run: Run) -> Trained:
    """Train a latent codec; see `loop`.

    Args:
        config: configuration of the run.
        scenes: scenes on the model's band grid.
        run: options of the run; with pretrained weights training starts from them.

    Raises:
        ValueError: the batch cannot be shared evenly.
    """
    config = in_steps(config, crops_per_epoch(scenes.training, config.data))
    optimisation, peak = config.optimisation, config.model.peak
    Shard(processes=run.devices).slots(optimisation.batch_size)
    strategy = "ddp" if run.devices > 1 else "auto"
    fabric = Fabric(devices=run.devices, strategy=strategy, precision=optimisation.precision)
    fabric.launch()

    torch.manual_seed(optimisation.seed)
    model = model_from_config(config.model)
    if run.pretrained is not None or optimisation.initialisation == "random":
        initialise_gains(model, optimisation.lmbdas)
    elif not run.resume:
        klt_step = optimisation.klt_step or best_step(optimisation.lmbdas)
        initialise(model, lambda: _klt_crops(scenes, config), klt_step, optimisation.lmbdas)
    if run.pretrained is not None:
        load_pretrained(model, run.pretrained)
    model.use_channels_last()
    optimisers = make_optimisers(model, optimisation)
    objective, main, aux = fabric.setup(Objective(model, optimisation.lmbdas), *optimisers)

    shard = Shard(rank=fabric.global_rank, processes=fabric.world_size)

    def step(done: int, x: Tensor) -> StepReport:
        rounded = done >= optimisation.steps - optimisation.integer_path_steps
        model.arithmetic = Arithmetic.ROUNDED if rounded else Arithmetic.REAL
        loss, measured = gradients(fabric, objective, model, x, config, done)
        update(main, aux, loss, done, optimisation)
        psnr = measured.psnr(peak)
        return StepReport(
            values=asdict(measured),
            curves={"training/rate, bit per sample": measured.rate_bpppb, "training/PSNR, dB": psnr},
            text=f"CR {measured.compression_ratio:.0f}, {psnr:.2f} dB",
        )

    return loop(
        step,
        lambda: _validation(model, config, scenes),
        prepare=lambda done: batch(scenes, config, step=done, count=optimisation.batch_size, shard=shard),
        run=run,
        config=config,
        model=model,
        scenes=scenes,
        optimisers=optimisers,
        unit="images",
        units=optimisation.batch_size,
        fabric=fabric,
    )


def make_optimisers(model: CodecModel, config: OptimisationConfig) -> tuple[torch.optim.Adam, torch.optim.Adam]:
    """Return the main and the auxiliary Adam."""
    quantiles = model.entropy_bottleneck.quantiles
    transforms = list(model.transform_parameters())
    known = {id(p) for p in (*transforms, quantiles)}
    others = [p for p in model.parameters() if id(p) not in known]
    main = torch.optim.Adam(
        [
            {"params": transforms, "lr": config.learning_rate},
            {"params": others, "lr": config.hyperprior_learning_rate},
        ]
    )
    return main, torch.optim.Adam([quantiles], lr=config.aux_learning_rate)


def batch(scenes: SceneSplit, config: TrainingConfig, *, step: int, count: int, shard: Shard = ALONE) -> Tensor:
    """Return a process's share of the `count` crops of a step, (crop, band, line, sample)."""
    seed = config.optimisation.seed
    drawn = crops(scenes.training, count=count, config=config.data, seed=seed, step=step, shard=shard)
    return torch.from_numpy(drawn)


def _klt_crops(scenes: SceneSplit, config: TrainingConfig) -> Iterator[Tensor]:
    """Yield the crops that the KLT is taken of, one in memory at a time."""
    for rank in range(_KLT_CROPS):
        yield batch(scenes, config, step=0, count=_KLT_CROPS, shard=Shard(rank=rank, processes=_KLT_CROPS))


def gradients(
    fabric: Fabric, objective: Any, model: CodecModel, x: Tensor, config: TrainingConfig, step: int
) -> tuple[Tensor, RateDistortion]:
    """Compute the gradients of a step from this process's share of its batch; several processes average them.

    Args:
        fabric: fabric of all processes.
        objective: loss of `model`, as `fabric` set it up.
        model: model to train.
        x: share of this process, as `batch` gives it.
        config: configuration of the run.
        step: gradient steps done before.

    Returns:
        The loss of the share, and mean rate and distortion of the whole batch.
    """
    count = config.optimisation.batch_size
    mine = Shard(rank=fabric.global_rank, processes=fabric.world_size).slots(count)
    x = fabric.to_device(x).contiguous(memory_format=torch.channels_last)
    level = levels_of_step(step, count, config.model.rates)[mine]
    torch.manual_seed(hash((config.optimisation.seed, step)) & 0x7FFF_FFFF)
    model.noise = lambda like: uniform_noise((count, *like.shape[1:]), like.device)[mine]
    model.train()
    objective.zero_grad()
    loss, rate, mse = objective(x, fabric.to_device(level))
    fabric.backward(loss)
    mean_rate, mean_mse = _mean(fabric, torch.stack((rate.mean(), mse.mean()))).tolist()
    return loss.detach(), RateDistortion(rate_bpppb=mean_rate, mse=mean_mse)


def _mean(fabric: Fabric, values: Tensor) -> Tensor:
    """Average over all processes."""
    mean = fabric.all_reduce(values)
    assert isinstance(mean, Tensor)
    return mean


def update(main: Any, aux: Any, loss: Tensor, step: int, config: OptimisationConfig) -> None:
    """Do one step of both optimisers; see `descend`."""
    share = cosine(step, config.steps) if config.schedule == "cosine" else 1
    rates = (share * config.learning_rate, share * config.hyperprior_learning_rate)
    descend(main, rates, loss, step, config, _ADVICE)
    aux.step()


def _validation(model: CodecModel, config: TrainingConfig, scenes: SceneSplit) -> Validation:
    """Measure the model as the checkpoint gives it, and draw pictures of one scene."""
    model.arithmetic = Arithmetic.REAL
    peak, lmbdas = config.model.peak, config.optimisation.lmbdas

    def observe() -> None:
        for scene in spread(scenes.training, _CALIBRATION_SCENES):
            model.calibrate(model.batch_of(middle(scene.cube, config.model.cell)))

    tensors = weights(model) | reached_peaks(model.peaks, observe)
    points = validate(model, scenes.validation, lmbdas)
    figures: dict[str, Figure] = {}
    if scenes.validation:
        level = len(lmbdas) // 2
        picture, spectra = reconstruction_figures(model, scenes.validation[0], level, config.data.wavelengths)
        figures = {
            "rate and distortion": rate_distortion_figure(points, peak),
            f"reconstruction, λ {lmbdas[level]:g}": picture,
            f"spectra, λ {lmbdas[level]:g}": spectra,
        }
    measured = [(name, point.lmbda, result) for point in points for name, result in point.scenes.items()]
    return Validation(
        tensors=tensors,
        document=json_from_points(points, peak),
        loss=validation_loss(points) if scenes.validation else None,
        entries=[{"scene": name, "lmbda": lmbda, **asdict(result)} for name, lmbda, result in measured],
        curves=curves_of_points(points, peak),
        figures=figures,
        summary=summary_of_points(points, peak),
    )
