"""Guard against non-finite losses and gradients: skips such steps, and ends training after too many in a row."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from detectron2.utils import comm

from sgovss.errors import InputError

logger = logging.getLogger(__name__)

_NAMED = 8  # number of files that a message names


class Batch(NamedTuple):
    """Result of one batch.

    Attributes:
        files: paths of its images.
        losses: value of each loss, by name.
    """

    files: tuple[str, ...]
    losses: Mapping[str, float]

    @property
    def finite(self) -> bool:
        return all(map(math.isfinite, self.losses.values()))


class NonFiniteGuard:
    """Decides whether a step is made or skipped. The decision is the same in all processes.

    Args:
        patience: training ends after this number of consecutive skipped steps.

    Attributes:
        skipped: number of steps skipped so far.
        in_a_row: number of consecutive steps skipped until now.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.skipped = 0
        self.in_a_row = 0

    def admits(self, batches: Sequence[Batch], norm: float, step: int, setting: str) -> bool:
        """Return whether a step can be made; if not, log a warning that names its images.

        Args:
            batches: the batches of this step in this process.
            norm: norm of the gradient, the same in all processes.
            step: number of the step, from 0.
            setting: precision and learning rate, for messages.

        Raises:
            InputError: ``patience`` steps in a row had to be skipped.
        """
        fine = math.isfinite(norm) and all(batch.finite for batch in batches)
        reports = [report for report in comm.all_gather(None if fine else list(batches)) if report]
        if not reports:
            self.in_a_row = 0
            return True
        self.skipped += 1
        self.in_a_row += 1
        every = [batch for report in reports for batch in report]
        found = _describe([batch for batch in every if not batch.finite] or every, norm)
        logger.warning("step %d is skipped (%d in a row): %s; %s", step, self.in_a_row, found, setting)
        if self.in_a_row >= self.patience:
            safer = "" if setting.startswith("float32") else ", train in float32 (SOLVER.AMP.ENABLED False)"
            raise InputError(
                f"training stopped at step {step}: in {self.in_a_row} steps in a row the loss or the gradient was not "
                f"finite; the last: {found}; {setting}. Look at these images ('sgovss check'){safer} or lower "
                "SOLVER.BASE_LR; --resume continues from the last checkpoint"
            )
        return False

    def state_dict(self) -> dict[str, int]:
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.skipped = state["skipped"]
        self.in_a_row = state["in_a_row"]


def _describe(batches: Iterable[Batch], norm: float) -> str:
    """Return a line with the worst value of each loss, the gradient norm and the images."""
    batches = list(batches)
    names = batches[0].losses
    worst = {name: max((batch.losses[name] for batch in batches), key=_badness) for name in names}
    files = [file for batch in batches for file in batch.files]
    more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
    losses = ", ".join(f"{name} {value:.4g}" for name, value in worst.items())
    return f"{losses}; gradient norm {norm:.4g}; images {', '.join(files[:_NAMED])}{more}"


def _badness(value: float) -> tuple[bool, float]:
    return not math.isfinite(value), 0.0 if math.isnan(value) else value
