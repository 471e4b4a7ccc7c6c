"""The log of a run: a line of JSON a step, and TensorBoard's event files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyvic_runtime.support.atomic_file import replacing
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG, EVENTS = "log.jsonl", "tensorboard"
SCALARS_EVERY = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """Figures of one gradient step.

    Attributes:
        values: figures for the log, by name.
        curves: figures for TensorBoard, by name.
        text: a few words for the progress bar.
    """

    values: Mapping[str, float]
    curves: Mapping[str, float]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Weights of a checkpoint and what they measure.

    Attributes:
        tensors: weights, with the peaks of training scenes.
        document: contents of rd.json, but for the step.
        loss: mean loss on the validation scenes; None without any.
        entries: lines of the log, without their step.
        curves: figures for TensorBoard, by name.
        figures: pictures for TensorBoard, by name.
        summary: lines for a reader: means over scenes, and each scene where they are few.
    """

    tensors: dict[str, Tensor]
    document: dict[str, Any]
    loss: float | None
    entries: Sequence[Mapping[str, object]]
    curves: Mapping[str, float]
    figures: Mapping[str, Figure] = field(default_factory=dict)
    summary: Sequence[str]


class RunLog:
    """The log of one run; a resumed run continues it from its own step, so that no step is logged twice."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        _keep_until(folder / LOG, step)
        # Line by line, so that a killed run has logged every step that its last state holds.
        self._lines = (folder / LOG).open("a", buffering=1, encoding="utf-8")
        self._board: Any = SummaryWriter(folder / EVENTS, purge_step=step + 1)

    def close(self) -> None:
        """Close both files."""
        self._lines.close()
        self._board.close()

    def step(self, step: int, report: StepReport, speed: Mapping[str, float]) -> None:
        """Log one step; every tenth goes to TensorBoard, with the speed."""
        self._write(step, report.values)
        if step % SCALARS_EVERY == 0:
            self._show(step, {**report.curves, **speed})

    def validation(self, step: int, validation: Validation) -> None:
        """Log a validation, and let TensorBoard see it."""
        for entry in validation.entries:
            self._write(step, entry)
        self._show(step, validation.curves)
        for name, figure in validation.figures.items():
            self._board.add_figure(name, figure, step)
        self._board.flush()

    def _write(self, step: int, entry: Mapping[str, object]) -> None:
        self._lines.write(json.dumps({"step": step, **entry}) + "\n")

    def _show(self, step: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)


def _keep_until(path: Path, step: int) -> None:
    """Drop entries beyond the step that is resumed from."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines()
        # A killed run may have left half a line.
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        with replacing(path) as (partial,):
            partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
