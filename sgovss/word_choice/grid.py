"""Logits of all words, and labels, on a coarse grid over the images, in which choices are compared quickly.

A class has the logit of its best word, as in a model. Here the maximum is taken after the maps of the words have been
brought to the grid, and all words were scored together; in a model it is taken before, and words may influence each
other. So the grid only guides the search. Scores that are reported come from the model itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sgovss.evaluation import metrics
from sgovss.word_choice.candidates import Choice


@dataclass(frozen=True, eq=False)
class Grid:
    """The cells of one or several images.

    Attributes:
        logits: (N, P) float32, of each word at each cell.
        truth: (T, P) float32, labelled pixels of each class in each cell; all 0 without labels.
    """

    logits: np.ndarray
    truth: np.ndarray

    @classmethod
    def join(cls, grids: Sequence[Grid]) -> Grid:
        """The cells of several images."""
        logits, truth = zip(*((each.logits, each.truth) for each in grids), strict=True)
        return cls(np.concatenate(logits, axis=1), np.concatenate(truth, axis=1))

    def class_logits(self, choice: Choice) -> np.ndarray:
        """(T, P) float32: the logit of each class, that of its best word."""
        return np.stack([self.logits[list(words)].max(axis=0) for words in choice])

    def counts(self, labels: np.ndarray) -> np.ndarray:
        """Counts of a labelling.

        Args:
            labels: (P,) integers, the class of each cell, for all pixels in it.

        Returns:
            (3, T) float64: correct, true and predicted labelled pixels of each class.
        """
        classes, total = len(self.truth), self.truth.sum(axis=0)
        correct = np.take_along_axis(self.truth, labels[None], axis=0)[0]
        hits = np.bincount(labels, weights=correct, minlength=classes)
        predicted = np.bincount(labels, weights=total, minlength=classes)
        return np.stack([hits, self.truth.sum(axis=1, dtype=np.float64), predicted])

    def score(self, choice: Choice, offsets: Sequence[float] | None = None) -> float:
        """The mIoU of a choice in percent."""
        logits = self.class_logits(choice)
        if offsets is not None:
            logits = logits + np.asarray(offsets, np.float32)[:, None]
        return mean_iou(self.counts(logits.argmax(axis=0)))


def mean_iou(counts: np.ndarray) -> float:
    """The mIoU in percent of counts (3, T), over the classes with a labelled pixel; 0 if there is none."""
    return metrics.summarize_counts(counts, [True] * counts.shape[1])["mIoU"] or 0.0


def cells_of_truth(truth: np.ndarray, classes: int, size: tuple[int, int]) -> np.ndarray:
    """Count the labelled pixels of each class in each cell of a grid.

    Args:
        truth: (H, W) integer class ids, ``classes`` for pixels without a class.
        classes: number of classes T.
        size: rows and columns of the grid.

    Returns:
        (T, rows * columns) float32.
    """
    rows, columns = (np.arange(side) * cells // side for side, cells in zip(truth.shape, size, strict=True))
    places = rows[:, None] * size[1] + columns
    cells = size[0] * size[1]
    found = np.bincount((truth.astype(np.int64) * cells + places).reshape(-1), minlength=(classes + 1) * cells)
    return found.reshape(classes + 1, cells)[:classes].astype(np.float32)
