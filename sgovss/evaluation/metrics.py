"""Segmentation metrics as pure functions of a confusion matrix.

One convention throughout, Detectron2's: ``matrix[p, t]`` counts the pixels predicted as class ``p`` whose ground
truth is class ``t``. A matrix for T classes is (T + 1, T + 1) int64. Its last **row** holds pixels that the model
gave no class to (a rejection threshold): they are misses of their class. Its last **column** holds pixels whose
ground truth is ignored: no metric counts them.

All scores are percentages. Where a score is not defined, arrays hold NaN and plain values are None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClassScores:
    """Scores of each class, all of shape (T,).

    Attributes:
        iou: float64, TP / (TP + FP + FN); NaN for a class absent from the ground truth.
        precision: float64, TP / (TP + FP); NaN for a class that was never predicted.
        recall: float64, TP / (TP + FN), which Detectron2 calls the class accuracy (``ACC-<name>``); NaN for a class
            absent from the ground truth.
        pixels: int64, ground-truth pixels.
        predicted: bool, whether the class was predicted anywhere outside ignored pixels.
    """

    iou: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    pixels: np.ndarray
    predicted: np.ndarray


def confusion_matrix(predicted: np.ndarray, truth: np.ndarray, num_classes: int) -> np.ndarray:
    """Count pixels by (predicted, true) class.

    Args:
        predicted: integer ids of any shape, 0..num_classes - 1, or num_classes for "no class".
        truth: integer ids of the same shape, 0..num_classes - 1, or num_classes for "ignored".

    Returns:
        (num_classes + 1, num_classes + 1) int64, rows predicted, columns true.
    """
    side = num_classes + 1
    cells = predicted.reshape(-1).astype(np.int64) * side + truth.reshape(-1).astype(np.int64)
    return np.bincount(cells, minlength=side * side).reshape(side, side)


def class_scores(matrix: np.ndarray) -> ClassScores:
    """Scores of each class of a (T + 1, T + 1) confusion matrix, in percent."""
    hits = matrix.diagonal()[:-1].astype(float)
    true = matrix[:, :-1].sum(axis=0)
    predicted = matrix[:-1, :-1].sum(axis=1)
    absent = true == 0
    return ClassScores(
        iou=100 * _divide(hits, np.where(absent, 0, true + predicted - hits)),
        precision=100 * _divide(hits, predicted),
        recall=100 * _divide(hits, true),
        pixels=true,
        predicted=predicted > 0,
    )


def summarize(matrix: np.ndarray, seen: Sequence[bool]) -> dict[str, float | None]:
    """The headline numbers of a (T + 1, T + 1) confusion matrix.

    Args:
        seen: for each of the T classes, whether training knew it.

    Returns:
        In percent, None where undefined:

        - ``mIoU``: mean IoU over the classes present in the ground truth (Detectron2 since July 2022);
        - ``mIoU_present_or_predicted``: mean over the classes in the ground truth or in a prediction (Detectron2 0.6),
          where a class that was only predicted counts as 0;
        - ``fwIoU``: IoU weighted by ground-truth frequency; ``mACC``: mean recall; ``pACC``: share of right pixels;
        - ``seen_mIoU``, ``unseen_mIoU``: ``mIoU`` within either group; ``harmonic_mIoU``: their harmonic mean.
    """
    scores = class_scores(matrix)
    present = scores.pixels > 0
    found = present | scores.predicted
    seen = np.asarray(seen, dtype=bool)
    total = scores.pixels.sum()
    seen_miou, unseen_miou = _mean(scores.iou[present & seen]), _mean(scores.iou[present & ~seen])
    return {
        "mIoU": _mean(scores.iou[present]),
        "mIoU_present_or_predicted": _mean(np.nan_to_num(scores.iou)[found]),
        "fwIoU": float((scores.iou[present] * (scores.pixels[present] / total)).sum()) if total else None,
        "mACC": _mean(scores.recall[present]),
        "pACC": float(100 * matrix.diagonal()[:-1].sum() / total) if total else None,
        "seen_mIoU": seen_miou,
        "unseen_mIoU": unseen_miou,
        "harmonic_mIoU": harmonic_mean(seen_miou, unseen_miou),
    }


def harmonic_mean(first: float | None, second: float | None) -> float | None:
    """Harmonic mean of two scores: None when one is undefined, 0 when one is 0."""
    if first is None or second is None:
        return None
    return 2 * first * second / (first + second) if first and second else 0.0


def plain(value: float) -> float | None:
    """A number fit for JSON: a Python float, or None for NaN."""
    return None if np.isnan(value) else float(value)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
