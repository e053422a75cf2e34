"""Report of an evaluation: headline numbers, scores of each class, JSON file, table and confusion picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypedDict

import numpy as np
from tabulate import tabulate

from sgovss.evaluation import metrics
from sgovss.evaluation.image_counts import ImageCounts, below_common_folder
from sgovss.evaluation.tables import write_tables
from sgovss.files import write_json_atomically
from sgovss.vocabulary import Match


class SeenAs(TypedDict):
    """The training class that makes a test class seen, and the two names that are equal except for case and number."""

    name: str
    training_class: str
    training_name: str


class ClassRow(TypedDict):
    """Scores of one class in percent, None where undefined, and its number of ground-truth pixels."""

    name: str
    iou: float | None
    precision: float | None
    recall: float | None
    seen: bool
    match: SeenAs | None
    pixels: int


@dataclass(frozen=True)
class Report:
    """Scores of the predictions on one test set of T classes.

    Attributes:
        dataset: registered name of the test set.
        names: T class names.
        seen: T flags, whether training saw the class.
        seen_override: names of the classes that were declared to be seen; None if the vocabularies were compared.
        matches: for each class the training class with the same name or synonym; None if there is none, or if the
            vocabularies were not compared.
        matrix: (T + 1, T + 1) int64 confusion matrix in the convention of :mod:`sgovss.evaluation.metrics`.
        counts: for each image file its (3, T) int64 :func:`sgovss.evaluation.metrics.class_counts`.
        training_names: names of the training classes; None for a model that was not fine-tuned.
        settings: settings of the evaluation that the JSON file records.
    """

    dataset: str
    names: Sequence[str]
    seen: Sequence[bool]
    seen_override: Sequence[str] | None
    matches: Sequence[Match | None]
    matrix: np.ndarray
    counts: Mapping[str, np.ndarray]
    training_names: Sequence[str] | None
    settings: Mapping[str, object]

    @cached_property
    def summary(self) -> dict[str, float | None]:
        """Headline numbers, see :func:`sgovss.evaluation.metrics.summarize`."""
        return metrics.summarize(self.matrix, self.seen)

    @cached_property
    def rows(self) -> list[ClassRow]:
        """Scores of each class."""
        scores = metrics.class_scores(self.matrix)
        return [
            {
                "name": name,
                "iou": metrics.plain(scores.iou[index]),
                "precision": metrics.plain(scores.precision[index]),
                "recall": metrics.plain(scores.recall[index]),
                "seen": self.seen[index],
                "match": _seen_as(self.matches[index]),
                "pixels": int(scores.pixels[index]),
            }
            for index, name in enumerate(self.names)
        ]

    def values(self) -> dict[str, float]:
        """Return all defined scores in percent: headline numbers, ``IoU-<class>`` and ``ACC-<class>``."""
        values = {
            **self.summary,
            **{f"IoU-{row['name']}": row["iou"] for row in self.rows},
            **{f"ACC-{row['name']}": row["recall"] for row in self.rows},
        }
        return {name: value for name, value in values.items() if value is not None}

    def table(self) -> str:
        """Return a text table of the classes, and one of the headline numbers below it."""
        body = [
            [row["name"], _group(row)]
            + [_percent(value) for value in (row["iou"], row["precision"], row["recall"])]
            + [f"{row['pixels']:,}"]
            for row in self.rows
        ]
        classes = tabulate(
            body,
            headers=["class", "", "IoU", "precision", "recall", "pixels"],
            disable_numparse=True,
            colalign=("left", "left", "right", "right", "right", "right"),
        )
        headline = tabulate(
            [[_percent(value) for value in self.summary.values()]], headers=list(self.summary), disable_numparse=True
        )
        return f"{classes}\n\n{headline}"

    def write(self, folder: Path) -> None:
        """Write ``<dataset>.json``, ``<dataset>_confusion.png`` and the folder ``<dataset>`` into a folder.

        The folder has the table of the classes as ``classes.md``, ``classes.tex`` and ``classes.csv``, and
        ``images.json`` with the counts of each image.

        Raises:
            InputError: the folder cannot be written to.
        """
        write_json_atomically(folder / f"{self.dataset}.json", self._content())
        title = f"{self.dataset}: mIoU {_percent(self.summary['mIoU'])}"
        from sgovss.evaluation.pictures import draw_confusion  # imports Matplotlib

        draw_confusion(self.matrix, self.names, self.seen, title, folder / f"{self.dataset}_confusion.png")
        body = [
            [row["name"], _group(row), row["iou"], row["precision"], row["recall"], row["pixels"]] for row in self.rows
        ]
        write_tables(
            ["class", "training", "IoU", "precision", "recall", "pixels"], body, folder / self.dataset / "classes"
        )
        images = below_common_folder(self.counts)
        ImageCounts(self.dataset, self.names, self.seen, images).write(folder / self.dataset)

    def _content(self) -> dict[str, object]:
        return {
            "dataset": self.dataset,
            "images": len(self.counts),
            **self.summary,
            "interval_95": self._intervals(),
            "per_class": self.rows,
            "classes": self.names,
            "seen": [name for name, seen in zip(self.names, self.seen, strict=True) if seen],
            "unseen": [name for name, seen in zip(self.names, self.seen, strict=True) if not seen],
            "seen_override": None if self.seen_override is None else list(self.seen_override),
            "training_vocabulary": self.training_names,
            "settings": self.settings,
        }

    def _intervals(self) -> dict[str, tuple[float, float] | None]:
        # The images are sorted, so that the result does not depend on which process counted which image.
        counts = [self.counts[name] for name in sorted(self.counts)]
        return metrics.bootstrap_intervals(np.reshape(counts, (len(counts), 3, len(self.names))), self.seen)


def _seen_as(match: Match | None) -> SeenAs | None:
    if match is None:
        return None
    return {"name": match.name, "training_class": match.entry.name, "training_name": match.entry_name}


def _group(row: ClassRow) -> str:
    """The group of a class in the table, with the training class if it has another name."""
    match = row["match"]
    if match is None or match["training_class"].casefold() == row["name"].casefold():
        return "seen" if row["seen"] else "unseen"
    return f"seen as {match['training_class']}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
