"""Pixels per class: the table that ``sgovss prepare`` and ``sgovss check`` print, and classes without a pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tabulate import tabulate

from sgovss.data.specification import DatasetSpecification

_SHOWN = 5  # class names in one line


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


def absent_classes(names: Sequence[str], pixels: np.ndarray, labels: str) -> str | None:
    """Describe the classes that no label has; None if every class has a pixel.

    Args:
        names: the T classes.
        pixels: (T + 1,) number of pixels of each class; ignored pixels last.
        labels: what was read, such as "the 20 labels read".
    """
    absent = [f"'{name}'" for name, count in zip(names, pixels, strict=False) if count == 0]
    total = int(pixels.sum())
    if not absent or not total:
        return None
    more = f" and {len(absent) - _SHOWN} more" if len(absent) > _SHOWN else ""
    ignored = ""
    if pixels[-1]:
        percent = f"{100 * pixels[-1] / total:.3g} %" if len(absent) < len(names) else "all"
        ignored = f", where {percent} of the pixels are ignored"
    return (
        f"no pixel of {', '.join(absent[:_SHOWN])}{more} in {labels}{ignored}; if this is not as it should be, correct "
        "'value' of the class or 'ignore' in the dataset file"
    )
