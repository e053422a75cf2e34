"""Steps whose loss or gradient is not finite: they are skipped, and too many in a row end training."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from detectron2.utils import comm

from sgovss.errors import InputError

logger = logging.getLogger(__name__)

_NAMED = 8  # files that a message names


class Batch(NamedTuple):
    """What became of one batch: its image files, and its losses by name."""

    files: tuple[str, ...]
    losses: Mapping[str, float]

    @property
    def finite(self) -> bool:
        return all(map(math.isfinite, self.losses.values()))


class NonFiniteGuard:
    """Decides, in all processes alike, which steps are made.

    Args:
        patience: so many steps in a row that cannot be made end training.

    Attributes:
        skipped: steps not made so far.
        in_a_row: those of them that came last, one after the other.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.skipped = 0
        self.in_a_row = 0

    def admits(self, batches: Sequence[Batch], norm: float, step: int, setting: str) -> bool:
        """Whether a step can be made; where not, the log says which images it was about.

        Args:
            batches: this process' part of the step.
            norm: of the gradient, the same in all processes.
            step: counted from 0.
            setting: precision and learning rate, for messages.

        Raises:
            InputError: it is one too many in a row.
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
        logger.warning("step %d is skipped, number %d in a row: %s; %s", step, self.in_a_row, found, setting)
        if self.in_a_row >= self.patience:
            safer = "" if setting.startswith("float32") else ", train in float32 (SOLVER.AMP.ENABLED False)"
            raise InputError(
                f"training stopped at step {step}: in {self.in_a_row} steps in a row loss or gradient was not finite; "
                f"the last: {found}; {setting}. Look at these images ('sgovss check'){safer} or lower "
                "SOLVER.BASE_LR; --resume goes on from the last checkpoint"
            )
        return False

    def state_dict(self) -> dict[str, int]:
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.skipped = state["skipped"]
        self.in_a_row = state["in_a_row"]


def _describe(batches: Iterable[Batch], norm: float) -> str:
    """The losses, the worst of each, and the images."""
    batches = list(batches)
    names = batches[0].losses
    worst = {name: max((batch.losses[name] for batch in batches), key=_badness) for name in names}
    files = [file for batch in batches for file in batch.files]
    more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
    losses = ", ".join(f"{name} {value:.4g}" for name, value in worst.items())
    return f"{losses}; gradient norm {norm:.4g}; images {', '.join(files[:_NAMED])}{more}"


def _badness(value: float) -> tuple[bool, float]:
    return not math.isfinite(value), 0.0 if math.isnan(value) else value
