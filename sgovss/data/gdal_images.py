"""Reading of images with GDAL (extra ``geo``): bands that the user chooses, and TIFF that Pillow does not decode."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from sgovss.data.orientation import refuse_turned, tiff_orientation
from sgovss.errors import InputError

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_RGB = 3


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a TIFF."""
    return head[:4] in _TIFF


def gdal_channels(file: str | Path | BinaryIO, source: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The (H, W, C) channels of a label image, of the type in the file, and its (H, W) alpha channel, if it has one.

    Raises:
        InputError: the file cannot be read, has more than four bands or too many pixels, or rasterio is missing.
    """
    with _opened(file, source, "label image") as dataset:
        if dataset.count > _RGB + 1:
            raise InputError(
                f"{source}: label image of {dataset.count} bands, expected one channel of class values; choose a band "
                "with 'gdal_translate -b 1'"
            )
        _expect_few_pixels(dataset, source)
        alphas = [band for band in dataset.indexes if dataset.colorinterp[band - 1].name == "alpha"]
        others = [band for band in dataset.indexes if band not in alphas] or alphas
        channels = np.moveaxis(dataset.read(others), 0, -1)
        return channels, dataset.read(alphas[0]) if alphas and others != alphas else None


def read_gdal_rgb(file: str | Path | BinaryIO, source: str, bands: Sequence[int] | None = None) -> np.ndarray:
    """The pixels of an image as an (H, W, 3) uint8 RGB array.

    Args:
        file: a path or an open binary file.
        source: the file name in error messages.
        bands: 1-based numbers of the bands to use as red, green and blue; None for an image of one or three bands.

    Raises:
        InputError: the image cannot be read, has more than 8 bits per channel, lacks one of the bands, has another
            number of bands and none are chosen, has too many pixels, or rasterio is missing.
    """
    with _opened(file, source, "image") as dataset:
        wanted = list(bands) if bands is not None else [1, 1, 1] if dataset.count == 1 else [1, 2, 3]
        if max(wanted) > dataset.count:
            raise InputError(
                f"{source}: has {dataset.count} bands, band {max(wanted)} is asked for; give 'bands' of 'preparation' "
                f"from 1 to {dataset.count}"
            )
        kinds = {dataset.dtypes[band - 1] for band in wanted}
        if kinds != {"uint8"}:
            raise InputError(
                f"{source}: image of type {', '.join(sorted(kinds))}; scale it to 8 bits a channel first, for example "
                "with 'gdal_translate -ot Byte -scale'"
            )
        if bands is None and dataset.count not in (1, _RGB):
            raise InputError(
                f"{source}: has {dataset.count} bands, expected red, green and blue; choose three with 'bands' of "
                "'preparation' in the dataset file and sgovss prepare, or with 'gdal_translate -b 1 -b 2 -b 3'"
            )
        _expect_few_pixels(dataset, source)
        return np.ascontiguousarray(dataset.read(wanted).transpose(1, 2, 0))


def read_gdal_size(file: str | Path | BinaryIO, source: str) -> tuple[int, int]:
    """(height, width) of an image in pixels, from its header.

    Raises:
        InputError: the file cannot be read, or rasterio is missing.
    """
    with _opened(file, source, "image") as dataset:
        return dataset.height, dataset.width


def most_pixels() -> int:
    """The number of pixels of the largest image that Pillow reads."""
    assert Image.MAX_IMAGE_PIXELS is not None  # nothing here removes the limit
    return 2 * Image.MAX_IMAGE_PIXELS


def too_many_pixels() -> str:
    """What is wrong with an image of more than :func:`most_pixels`, and the remedy."""
    return f"more than {most_pixels():,} pixels; cut it into tiles"


def _expect_few_pixels(dataset: Any, source: str) -> None:
    """Raise an InputError for more pixels than Pillow reads; a damaged header may claim any number."""
    if dataset.height * dataset.width > most_pixels():
        raise InputError(f"{source}: {too_many_pixels()}")


@contextmanager
def _opened(file: str | Path | BinaryIO, source: str, what: str) -> Iterator[Any]:
    try:
        import rasterio
    except ImportError as error:
        raise InputError(
            f"{source}: reading this kind of TIFF, or chosen bands, needs rasterio: pip install 'sgovss[geo]'"
        ) from error
    refuse_turned(tiff_orientation(file), source, "image" if "label" in what else None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            if isinstance(file, str | Path):
                with rasterio.open(file) as dataset:
                    yield dataset
            else:
                file.seek(0)
                with rasterio.MemoryFile(file.read()) as memory, memory.open() as dataset:
                    yield dataset
    except rasterio.errors.RasterioError as error:
        raise InputError(
            f"{source}: cannot read this {what} ({error}); copy it again, or write it anew with gdal_translate"
        ) from error
