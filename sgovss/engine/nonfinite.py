"""Guard against non-finite losses and gradients: reports skipped steps, and ends training after too many in a row."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from detectron2.utils import comm

from sgovss.errors import InputError

logger = logging.getLogger(__name__)

_NAMED = 8  # number of files that a message names
_HALVINGS = 16  # of the loss scale, from GradScaler's first one (2 ** 16) to 1


class Batch(NamedTuple):
    """Result of one batch.

    Attributes:
        files: paths of its images.
        losses: each loss, by name: scalars on the model's device.
        gradient_ratio: see :func:`sgovss.engine.gradient_ratio.gradient_ratio`; None if it was not computed.
    """

    files: tuple[str, ...]
    losses: Mapping[str, torch.Tensor]
    gradient_ratio: torch.Tensor | None = None


class NonFiniteGuard:
    """Counts the steps that were skipped. The counts are the same in all processes.

    Args:
        patience: training ends after this number of consecutive skipped steps.

    Attributes:
        skipped: number of steps skipped so far.
        in_a_row: number of consecutive steps skipped until now.
        overflows: number of consecutive steps until now in which only the scaled gradient overflowed.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.skipped = 0
        self.in_a_row = 0
        self.overflows = 0

    def made(self) -> None:
        """Count a step that was made."""
        self.in_a_row = self.overflows = 0

    def expects_overflow(self, step: int, scale: float) -> bool:
        """Count a step in float16 whose losses are finite and whose gradient is not; return whether that is expected.

        The scaler starts with a high loss scale, raises it from time to time, and halves it when the gradient
        overflows. So this is expected until the scale should be down to 1, and such a step does not count as skipped.

        Args:
            step: number of the step, from 0.
            scale: the loss scale of the step.
        """
        self.overflows += 1
        expected = self.overflows <= _HALVINGS
        if expected:
            logger.info("step %d: the gradient overflowed at loss scale %g, which is now lowered", step, scale)
        return expected

    def skip(self, batches: Sequence[Batch], norm: float, step: int, setting: str) -> None:
        """Count a skipped step, and log a warning that names its images. All processes must call this.

        Args:
            batches: the batches of this step in this process.
            norm: norm of the gradient, the same in all processes.
            step: number of the step, from 0.
            setting: precision and learning rate, for messages.

        Raises:
            InputError: ``patience`` steps in a row had to be skipped.
        """
        self.skipped += 1
        self.in_a_row += 1
        mine = [(batch.files, {name: float(loss) for name, loss in batch.losses.items()}) for batch in batches]
        every = [batch for report in comm.all_gather(mine) for batch in report]
        bad = [batch for batch in every if not all(map(math.isfinite, batch[1].values()))]
        found = _describe(bad or every, norm)
        logger.warning("step %d is skipped (%d in a row): %s; %s", step, self.in_a_row, found, setting)
        if self.in_a_row >= self.patience:
            safer = "" if setting.startswith("float32") else ", train in float32 (SOLVER.AMP.ENABLED False)"
            raise InputError(
                f"training stopped at step {step}: in {self.in_a_row} steps in a row the loss or the gradient was not "
                f"finite; the last: {found}; {setting}. Look at these images ('sgovss check'){safer} or lower "
                "SOLVER.BASE_LR; --resume continues from the last checkpoint"
            )

    def state_dict(self) -> dict[str, int]:
        return {"skipped": self.skipped, "in_a_row": self.in_a_row, "overflows": self.overflows}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.skipped = state["skipped"]
        self.in_a_row = state["in_a_row"]
        self.overflows = state.get("overflows", 0)  # absent in checkpoints of earlier versions


def _describe(batches: Iterable[tuple[Sequence[str], Mapping[str, float]]], norm: float) -> str:
    """Return a line with the worst value of each loss, the gradient norm and the images."""
    files, losses = zip(*batches, strict=True)
    worst = {name: max((each[name] for each in losses), key=_badness) for name in losses[0]}
    images = [file for of_batch in files for file in of_batch]
    more = f" and {len(images) - _NAMED} more" if len(images) > _NAMED else ""
    values = ", ".join(f"{name} {value:.4g}" for name, value in worst.items())
    return f"{values}; gradient norm {norm:.4g}; images {', '.join(images[:_NAMED])}{more}"


def _badness(value: float) -> tuple[bool, float]:
    return not math.isfinite(value), 0.0 if math.isnan(value) else value
