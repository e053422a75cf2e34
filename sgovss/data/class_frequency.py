"""Frequencies of the training classes, and two ways to balance them: weights in the loss, and repeated images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from detectron2.data.samplers import RepeatFactorTrainingSampler

from sgovss.data.label_map import LabelMap
from sgovss.data.labels import load_labels

MOST = 10.0
"""A pixel of a rare class weighs at most this many times as much as one of the most frequent class."""


def class_pixels(record: Mapping[str, Any], labels: LabelMap) -> np.ndarray:
    """Count the labelled pixels of a record.

    Args:
        record: a Detectron2 record with ``sem_seg_file_name``.
        labels: the label map, with T classes.

    Returns:
        (T,) int64.

    Raises:
        InputError: the label cannot be read.
    """
    ids = load_labels(record["sem_seg_file_name"], labels)
    return np.bincount(ids[ids != labels.ignore_label].astype(np.int64), minlength=labels.num_classes)


def class_weights(pixels: np.ndarray, power: float) -> torch.Tensor:
    """Compute the weights of classes in the pixel loss.

    The weight of a class is its frequency to the power of ``-power``, relative to the most frequent class at most
    :data:`MOST`. The weights are scaled so that the mean over all labelled pixels is 1.

    Args:
        pixels: (T,) number of pixels of each class, not all 0.
        power: 0 for equal weights; with 1 all classes have the same weight in total, unless limited.

    Returns:
        (T,) float32.
    """
    shares = pixels / pixels.sum()
    ratios = shares.max() / np.maximum(shares, 1e-12)
    weights = np.minimum(ratios**power, MOST)
    return torch.from_numpy(weights / (shares * weights).sum()).float()


def repeats(pixels: np.ndarray, threshold: float, square_root: bool) -> torch.Tensor:
    """Compute how often each image is repeated, by the share of images that its rarest class is in, as in LVIS.

    The factor of a class that is in a share ``f`` of the images is ``threshold / f``, or the square root of this, and 1
    at least. That of an image is the largest among its classes.

    Args:
        pixels: (N, T) number of pixels of each class in each image.
        threshold: share of the images; classes in fewer images are repeated.
        square_root: whether to take the square root.

    Returns:
        (N,) float32; 1 for an image without a labelled pixel.
    """
    images = [{"annotations": [{"category_id": int(index)} for index in np.flatnonzero(row)]} for row in pixels]
    return RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(images, threshold, square_root)
