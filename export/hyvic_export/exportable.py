"""Which model families there are graphs for."""

from __future__ import annotations

from hyvic_train.checkpoint import Checkpoint
from hyvic_train.hyvic import HyVIC


class FamilyError(ValueError):
    """There are no graphs for a checkpoint's model family."""

    def __init__(self, family: str) -> None:
        super().__init__(
            f"the checkpoint is of the family {family}, which export-engine has no graphs for: it exports hyvic"
        )


def hyvic_of(checkpoint: Checkpoint) -> HyVIC:
    """The model of a checkpoint.

    Raises:
        FamilyError: it is of another family.
    """
    if not isinstance(checkpoint.model, HyVIC):
        raise FamilyError(checkpoint.config.model.family)
    return checkpoint.model
