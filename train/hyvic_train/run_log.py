"""What a run writes down while it goes: a line of JSON a step, and TensorBoard's event files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from hyvic_runtime.support.atomic_file import replacing

from hyvic_train.families.latent.objective import RateDistortion
from hyvic_train.families.latent.validation import OperatingPoint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG, EVENTS = "log.jsonl", "tensorboard"
SCALARS_EVERY = 10


class RunLog(AbstractContextManager["RunLog"]):
    """The log of one run; a resumed run continues it from its own step, so that no step is logged twice."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        _keep_until(folder / LOG, step)
        # Line by line, so that a killed run has logged what its last state has done.
        self._lines = (folder / LOG).open("a", buffering=1, encoding="utf-8")
        self._board: Any = SummaryWriter(folder / EVENTS, purge_step=step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lines.close()
        self._board.close()

    def write(self, entry: Mapping[str, object]) -> None:
        """A line; its `step` says when."""
        self._lines.write(json.dumps(entry) + "\n")

    def show(self, step: int, scalars: Mapping[str, float], figures: Mapping[str, Figure] | None = None) -> None:
        """Curves and pictures for TensorBoard."""
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)
        for name, figure in (figures or {}).items():
            self._board.add_figure(name, figure, step)

    def flush(self) -> None:
        """Let TensorBoard see what was shown."""
        self._board.flush()


class CodecLog(RunLog):
    """The log of a codec's training."""

    def __init__(self, folder: Path, step: int, peak: float) -> None:
        super().__init__(folder, step)
        self._peak = peak

    def step(self, step: int, measured: RateDistortion, images_per_s: float) -> None:
        """A batch's mean rate and distortion."""
        self.write({"step": step, **asdict(measured)})
        if step % SCALARS_EVERY == 0:
            self.show(
                step,
                {
                    "training/rate, bit per sample": measured.rate_bpppb,
                    "training/PSNR, dB": measured.psnr(self._peak),
                    "training/images per second": images_per_s,
                },
            )

    def validation(self, step: int, points: Sequence[OperatingPoint], figures: Mapping[str, Figure]) -> None:
        """Every operating point on every scene, and pictures."""
        for point in points:
            for name, result in point.scenes.items():
                self.write({"step": step, "scene": name, "lmbda": point.lmbda, **asdict(result)})
                scalars = {"rate": result.rate_bpppb, "PSNR": result.psnr(self._peak)}
                self.show(step, {f"{name}/{what}, λ {point.lmbda:g}": value for what, value in scalars.items()})
        self.show(step, {}, figures)
        self.flush()


def _keep_until(path: Path, step: int) -> None:
    """Drop entries beyond the step that is resumed from."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines()
        # A killed run may have left half a line.
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        with replacing(path) as (partial,):
            partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
