"""Choose the bands of a raster that are used as red, green and blue, and tell infrared from transparency."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from sgovss.errors import InputError

_RGB = ColorInterp.red, ColorInterp.green, ColorInterp.blue
_OTHER_COLOURS = {
    "CMYK": (ColorInterp.cyan, ColorInterp.magenta, ColorInterp.yellow, ColorInterp.black),
    "YCbCr": (ColorInterp.Y, ColorInterp.Cb, ColorInterp.Cr),
    "HSL": (ColorInterp.hue, ColorInterp.saturation, ColorInterp.lightness),
}


def choose_bands(dataset: DatasetReader, wanted: Sequence[int | str] | None = None) -> tuple[int, int, int]:
    """Choose the bands to use as red, green and blue.

    Args:
        dataset: an open raster.
        wanted: number or description of each band. None takes the bands that the file names red, green and blue if it
            names all three; else the first three that are not alpha; else the first one three times.

    Returns:
        1-based numbers.

    Raises:
        InputError: there is no such band, or the bands are colours of another kind.
    """
    if wanted is not None:
        red, green, blue = (_number(dataset, band) for band in wanted)
        return red, green, blue
    meanings = list(dataset.colorinterp)
    for name, colours in _OTHER_COLOURS.items():
        if set(colours[:3]) <= set(meanings):
            raise InputError(f"{dataset.name}: its bands are {name} colours; convert them to red, green and blue")
    if set(_RGB) <= set(meanings):
        red, green, blue = (meanings.index(colour) + 1 for colour in _RGB)
        return red, green, blue
    opaque = [band for band, meaning in enumerate(meanings, 1) if meaning != ColorInterp.alpha] or [1]
    return (opaque[0], opaque[1], opaque[2]) if len(opaque) >= 3 else (opaque[0], opaque[0], opaque[0])


def alpha_band(dataset: DatasetReader) -> int | None:
    """Return the number of the band that GDAL takes as transparency; None if there is none."""
    meanings = list(dataset.colorinterp)
    return meanings.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in meanings else None


def is_transparency(alpha: np.ndarray) -> bool:
    """Whether the values of a band called alpha are those of a mask.

    GDAL and rasterio call the fourth of four 8-bit bands alpha unless told otherwise, and it often is near infrared.
    In a mask, most pixels that are not fully transparent have one value. Infrared has many values.

    Args:
        alpha: values of the band, any shape.
    """
    _, counts = np.unique(alpha[alpha != 0], return_counts=True)
    return counts.size == 0 or bool(counts.max() >= counts.sum() / 2)


def is_opaque(alpha: np.ndarray) -> bool:
    """Whether the commonest value above zero of an alpha band stands for opaque: the largest of the data type, or 1."""
    values, counts = np.unique(alpha[alpha != 0], return_counts=True)
    largest = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
    return values.size == 0 or values[counts.argmax()] in (1, 255, largest)


def _number(dataset: DatasetReader, band: int | str) -> int:
    """Return the number of a band that is given by its number or description."""
    if isinstance(band, int):
        if 1 <= band <= dataset.count:
            return band
        raise InputError(f"--bands: {dataset.name} has no band {band}; give numbers from 1 to {dataset.count}")
    names = [(text or "").casefold() for text in dataset.descriptions]
    word = band.casefold()
    # A description such as "T32TQM_20260101_B04_10m" is found by its word "B04" too.
    for matches in ([name == word for name in names], [word in re.split(r"[^a-z0-9]+", name) for name in names]):
        if sum(matches) == 1:
            return matches.index(True) + 1
    there = ", ".join(text for text in dataset.descriptions if text) or "none"
    raise InputError(
        f"--bands: {dataset.name} has no single band called '{band}'; give a number from 1 to {dataset.count}, or one "
        f"of its descriptions ({there})"
    )
