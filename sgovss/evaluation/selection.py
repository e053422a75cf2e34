"""Choice of a checkpoint by its scores on a validation set, and the scores of all checkpoints as table and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sgovss.errors import InputError
from sgovss.evaluation.pictures import draw_curves
from sgovss.evaluation.tables import Cell, write_tables
from sgovss.files import write_json_atomically

METRICS = ("mIoU", "seen_mIoU", "unseen_mIoU", "harmonic_mIoU")
_LABELS = dict(zip(METRICS, ("all classes", "seen classes", "unseen classes", "harmonic mean"), strict=True))


@dataclass(frozen=True)
class Evaluated:
    """The scores of one checkpoint.

    Attributes:
        name: file name of the checkpoint.
        step: number of training steps before it was written.
        scores: for each test set the scores in percent by name, see :func:`sgovss.evaluation.metrics.summarize`.
    """

    name: str
    step: int
    scores: Mapping[str, Mapping[str, float | None]]


def best_checkpoint(checkpoints: Sequence[Evaluated], dataset: str, metric: str) -> Evaluated:
    """Return the checkpoint with the highest score on a test set; the earlier one if two are equal.

    Raises:
        InputError: the score is undefined for every checkpoint.
    """
    defined = [each for each in checkpoints if each.scores[dataset][metric] is not None]
    if not defined:
        raise InputError(
            f"--metric {metric}: undefined on {dataset} (without seen or without unseen classes); give --metric mIoU"
        )
    return max(sorted(defined, key=lambda each: each.step), key=lambda each: each.scores[dataset][metric] or 0.0)


def write_selection(checkpoints: Sequence[Evaluated], dataset: str, metric: str, folder: Path) -> Evaluated:
    """Write the scores of all checkpoints, and choose one.

    The files are ``checkpoints.json`` (with the choice), the table ``checkpoints.md``, ``.tex`` and ``.csv``, and for
    each test set the curves ``<dataset>_curves.png``.

    Args:
        checkpoints: one or more, evaluated on the same test sets.
        dataset, metric: the test set and the score to choose by.
        folder: where to write.

    Returns:
        the choice.

    Raises:
        InputError: see :func:`best_checkpoint`; or the folder cannot be written to.
    """
    best = best_checkpoint(checkpoints, dataset, metric)
    ordered = sorted(checkpoints, key=lambda each: each.step)
    datasets = list(best.scores)
    content = {
        "best": best.name,
        "chosen_by": {"dataset": dataset, "metric": metric},
        "checkpoints": [{"name": each.name, "step": each.step, "scores": each.scores} for each in ordered],
    }
    write_json_atomically(folder / "checkpoints.json", content)
    headers, rows = selection_table(ordered)
    write_tables(headers, rows, folder / "checkpoints")
    for name in datasets:
        series = {
            label: {each.step: [value] for each in ordered if (value := each.scores[name][key]) is not None}
            for key, label in _LABELS.items()
        }
        drawn = {label: points for label, points in series.items() if points}
        draw_curves(drawn, f"{name}, every checkpoint", folder / f"{name}_curves.png", known_labels=[*_LABELS.values()])
    return best


def selection_table(checkpoints: Sequence[Evaluated]) -> tuple[list[str], list[list[Cell]]]:
    """Headers and rows of a table of checkpoints: the scores of :data:`METRICS` on each test set."""
    datasets = list(checkpoints[0].scores)
    several = len(datasets) > 1
    headers = ["checkpoint", "step", *(f"{name} {key}" if several else key for name in datasets for key in METRICS)]
    rows: list[list[Cell]] = [
        [each.name, each.step, *(each.scores[name][key] for name in datasets for key in METRICS)]
        for each in checkpoints
    ]
    return headers, rows
