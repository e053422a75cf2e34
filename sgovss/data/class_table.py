"""The table of pixels per class that ``sgovss prepare`` and ``sgovss check`` print."""

from __future__ import annotations

import numpy as np
from tabulate import tabulate

from sgovss.data.specification import DatasetSpecification


def class_table(spec: DatasetSpecification, pixels: np.ndarray, images: np.ndarray) -> str:
    """One line for each class, and a last one for ignored pixels.

    Args:
        spec: the dataset, with T classes.
        pixels: (T + 1,) number of pixels of each class; ignored pixels last.
        images: (T + 1,) number of images with at least one such pixel.

    Returns:
        The table as text.
    """
    names = [*(entry.name for entry in spec.classes), "ignored"]
    total = max(1, pixels.sum())
    rows = [
        [name, f"{count:,}", f"{100 * count / total:.2f} %", number]
        for name, count, number in zip(names, pixels, images, strict=True)
    ]
    return tabulate(rows, headers=["class", "pixels", "share", "images"], colalign=("left", "right", "right", "right"))
