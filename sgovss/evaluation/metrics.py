"""Segmentation metrics as pure functions of a confusion matrix.

All functions use Detectron2's convention: ``matrix[p, t]`` counts the pixels predicted as class ``p`` whose ground
truth is class ``t``. A matrix for T classes is (T + 1, T + 1) int64. Its last **row** holds pixels without a predicted
class (rejected by a threshold); they count as missed pixels of their true class. Its last **column** holds pixels whose
ground truth is ignored; no metric counts them.

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
        pixels: int64, number of ground-truth pixels.
        predicted: bool, whether the class was predicted at any pixel that is not ignored.
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
        (num_classes + 1, num_classes + 1) int64; rows are predicted classes, columns are true classes.
    """
    side = num_classes + 1
    cells = predicted.reshape(-1).astype(np.int64) * side + truth.reshape(-1).astype(np.int64)
    return np.bincount(cells, minlength=side * side).reshape(side, side)


def class_counts(matrix: np.ndarray) -> np.ndarray:
    """Reduce a (T + 1, T + 1) confusion matrix to the counts that the scores are computed from.

    Returns:
        (3, T) int64: for each class the number of correct pixels, of true pixels and of predicted pixels.
    """
    return np.stack([matrix.diagonal()[:-1], matrix[:, :-1].sum(axis=0), matrix[:-1, :-1].sum(axis=1)])


def class_scores(matrix: np.ndarray) -> ClassScores:
    """Compute the scores of each class from a (T + 1, T + 1) confusion matrix, in percent."""
    return scores_of_counts(class_counts(matrix))


def scores_of_counts(counts: np.ndarray) -> ClassScores:
    """Compute the scores of each class from their counts (3, T), see :func:`class_counts`, in percent."""
    hits, true, predicted = counts
    absent = true == 0
    return ClassScores(
        iou=100 * _divide(hits, np.where(absent, 0, true + predicted - hits)),
        precision=100 * _divide(hits, predicted),
        recall=100 * _divide(hits, true),
        pixels=true,
        predicted=predicted > 0,
    )


def summarize(matrix: np.ndarray, seen: Sequence[bool]) -> dict[str, float | None]:
    """Compute the headline numbers of a confusion matrix.

    Args:
        matrix: (T + 1, T + 1) int64.
        seen: T flags, whether training saw the class.

    Returns:
        scores in percent, None where undefined:

        - ``mIoU``: mean IoU over the classes present in the ground truth (Detectron2 since July 2022);
        - ``mIoU_present_or_predicted``: mean over the classes in the ground truth or in a prediction (Detectron2 0.6),
          in which a class that was only predicted counts as 0;
        - ``fwIoU``: IoU weighted by ground-truth frequency; ``mACC``: mean recall; ``pACC``: fraction of pixels that
          are correct;
        - ``seen_mIoU``, ``unseen_mIoU``: ``mIoU`` over the seen and over the unseen classes; ``harmonic_mIoU``: their
          harmonic mean.
    """
    return summarize_counts(class_counts(matrix), seen)


def bootstrap_intervals(
    counts: np.ndarray, seen: Sequence[bool], resamples: int = 1000, level: float = 0.95
) -> dict[str, tuple[float, float] | None]:
    """Compute confidence intervals of the headline numbers by bootstrapping over the images.

    Test sets of N images are drawn from the N images with replacement. The random seed is fixed, so that the result
    is the same at every call.

    Args:
        counts: (N, 3, T) int64, :func:`class_counts` of each image.
        seen: T flags, whether training saw the class.
        resamples: number of test sets drawn.
        level: fraction of the drawn scores within the interval; an equal fraction is cut off at both ends.

    Returns:
        (low, high) in percent for each name that :func:`summarize` returns. None if there are fewer than two images, or
        if the score is undefined for any drawn set (which happens if few images show the classes).
    """
    images = len(counts)
    if images < 2:
        return dict.fromkeys(summarize_counts(counts.sum(axis=0), seen))
    drawn = count_drawn(draw_images(images, resamples), counts)
    summaries = [summarize_counts(each, seen) for each in drawn]
    tail = 50 * (1 - level)
    return {name: _interval([each[name] for each in summaries], tail) for name in summaries[0]}


def draw_images(images: int, resamples: int) -> np.ndarray:
    """Draw test sets of as many images, with replacement and a fixed seed.

    Returns:
        (resamples, images) int64, how often each image is in each drawn test set.
    """
    return np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), size=resamples)


def count_drawn(times: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sum the counts of drawn images.

    Args:
        times: (R, N) int64, see :func:`draw_images`.
        counts: (N, 3, T) int64.

    Returns:
        (R, 3, T) int64.
    """
    return (times @ counts.reshape(len(counts), -1)).reshape(len(times), *counts.shape[1:])


def _interval(values: list[float | None], tail: float) -> tuple[float, float] | None:
    defined = [value for value in values if value is not None]
    if len(defined) < len(values):
        return None
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)


def summarize_counts(counts: np.ndarray, seen: Sequence[bool]) -> dict[str, float | None]:
    """Compute the headline numbers, see :func:`summarize`, from the counts (3, T) of :func:`class_counts`."""
    scores = scores_of_counts(counts)
    present = scores.pixels > 0
    found = present | scores.predicted
    known = np.asarray(seen, dtype=bool)
    total = scores.pixels.sum()
    seen_miou, unseen_miou = _mean(scores.iou[present & known]), _mean(scores.iou[present & ~known])
    return {
        "mIoU": _mean(scores.iou[present]),
        "mIoU_present_or_predicted": _mean(np.nan_to_num(scores.iou)[found]),
        "fwIoU": float((scores.iou[present] * (scores.pixels[present] / total)).sum()) if total else None,
        "mACC": _mean(scores.recall[present]),
        "pACC": float(100 * counts[0].sum() / total) if total else None,
        "seen_mIoU": seen_miou,
        "unseen_mIoU": unseen_miou,
        "harmonic_mIoU": harmonic_mean(seen_miou, unseen_miou),
    }


def harmonic_mean(first: float | None, second: float | None) -> float | None:
    """Compute the harmonic mean of two scores; None if one of them is undefined, 0 if one of them is 0."""
    if first is None or second is None:
        return None
    return 2 * first * second / (first + second) if first and second else 0.0


def plain(value: float) -> float | None:
    """Convert a number for JSON: to a Python float, or to None for NaN."""
    return None if np.isnan(value) else float(value)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
