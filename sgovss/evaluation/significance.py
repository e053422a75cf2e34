"""Significance of the difference between two runs on the same images, by a paired bootstrap over the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sgovss.errors import InputError
from sgovss.evaluation import metrics
from sgovss.evaluation.image_counts import ImageCounts
from sgovss.evaluation.tables import Cell

LEVEL = 0.95
HEADERS = ("score", "first", "second", "difference", "95 % from", "to", "p")


@dataclass(frozen=True)
class Difference:
    """One score of two runs, in percent; None where it is undefined.

    Attributes:
        first, second: the score of each run on all images.
        interval: where the middle 95 % of the differences, second minus first, of the drawn test sets lie. None if the
            score is undefined in a drawn test set.
        p: two-sided p-value of "there is no difference": twice the smaller share of drawn test sets on one side of 0.
    """

    first: float | None
    second: float | None
    interval: tuple[float, float] | None
    p: float | None

    @property
    def value(self) -> float | None:
        """Second minus first."""
        return None if self.first is None or self.second is None else self.second - self.first


def compare_runs(first: ImageCounts, second: ImageCounts, resamples: int = 1000) -> dict[str, Difference]:
    """Compare two runs on the same test set.

    Both runs are scored on the same drawn images each time, because scores of one image in two runs are alike: an image
    that is hard for one run is hard for the other one too.

    Args:
        first, second: counts of the two runs. The seen classes are those of the second.
        resamples: number of test sets drawn, 1 or more. The seed is fixed.

    Returns:
        the headline scores of :func:`sgovss.evaluation.metrics.summarize`, and ``IoU-<class>``, by name.

    Raises:
        InputError: the runs differ in classes or images.
    """
    _expect_same(first, second)
    images = len(first.images)
    pair = [first.array(), second.array()]
    whole = [_scores(counts.sum(axis=0), second.classes, second.seen) for counts in pair]
    if images < 2:
        return {name: Difference(whole[0][name], whole[1][name], None, None) for name in whole[0]}
    times = metrics.draw_images(images, resamples)
    drawn = [metrics.count_drawn(times, counts) for counts in pair]
    scored = [[_scores(each, second.classes, second.seen) for each in of_run] for of_run in drawn]
    return {
        name: Difference(whole[0][name], whole[1][name], *_judge([run[name] for run in scored[0]],
                                                                 [run[name] for run in scored[1]]))
        for name in whole[0]
    }  # fmt: skip


def difference_rows(differences: dict[str, Difference]) -> list[list[Cell]]:
    """Rows of a table with :data:`HEADERS`."""
    return [
        [name, each.first, each.second, each.value, *(each.interval or (None, None)), _p_text(each.p)]
        for name, each in differences.items()
    ]


def _scores(counts: np.ndarray, classes: Sequence[str], seen: Sequence[bool]) -> dict[str, float | None]:
    iou = metrics.scores_of_counts(counts).iou
    return {
        **metrics.summarize_counts(counts, seen),
        **{f"IoU-{name}": metrics.plain(value) for name, value in zip(classes, iou, strict=True)},
    }


def _judge(
    first: Sequence[float | None], second: Sequence[float | None]
) -> tuple[tuple[float, float] | None, float | None]:
    """Interval and p-value from the scores of both runs on each drawn test set."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if len(pairs) < len(first):
        return None, None
    differences = np.array([b - a for a, b in pairs])
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(differences, [tail, 100 - tail])
    # The observed test set counts as one more draw, so that p is never 0.
    smaller = min((differences <= 0).sum(), (differences >= 0).sum())
    return (float(low), float(high)), min(1.0, 2 * (int(smaller) + 1) / (len(differences) + 1))


def _p_text(p: float | None) -> str | None:
    return None if p is None else f"{p:.3f}"


def _expect_same(first: ImageCounts, second: ImageCounts) -> None:
    """Raise an InputError if two runs differ in classes or images."""
    if list(first.classes) != list(second.classes):
        raise InputError(
            f"{second.dataset}: the runs have different classes ({_short(first.classes)}; {_short(second.classes)}); "
            "evaluate both with the same dataset file"
        )
    if lone := sorted(first.images.keys() ^ second.images.keys()):
        raise InputError(
            f"{second.dataset}: the runs were evaluated on different images; {len(lone)} are in one of them only, such "
            f"as {lone[0]}; evaluate both on the same images"
        )


def _short(names: Sequence[str]) -> str:
    text = ", ".join(names)
    return text if len(text) <= 80 else f"{text[:77]}..."
