"""GeoTIFFs of the outputs: tiled, compressed, with colours, class names, no-data value and overviews."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.windows import Window

from sgovss.label_ids import id_dtype, no_class_id
from sgovss.rasters.grid import TILE
from sgovss.rasters.source import RasterSource
from sgovss.rasters.units import Box
from sgovss.vocabulary import Vocabulary

NO_PERCENT = 255
"""The percent of pixels without a score."""

_FULL = 2**20  # bytes; a disk with less free space counts as full


def create_labels(path: Path, source: RasterSource, legend: Vocabulary, confidence: bool) -> None:
    """Create a raster of class ids, without tiles. If wanted, its second band is the score of the class in percent."""
    dtype, nodata = np.dtype(id_dtype(len(legend))).name, nodata_value(source.nodata, legend)
    with _create(path, source, dtype, 1 + confidence, nodata) as target:
        if dtype == "uint8":
            target.write_colormap(1, {i: (*color, 255) for i, color in enumerate(legend.colors().tolist())})
        target.set_band_description(1, "class")
        if confidence:
            target.set_band_description(2, "confidence (percent)")
        target.update_tags(**{f"CLASS_{i}": entry.name for i, entry in enumerate(legend)})


def create_probabilities(path: Path, source: RasterSource, scored: Vocabulary) -> None:
    """Create a raster of the scores of all classes in percent, without tiles."""
    with _create(path, source, "uint8", len(scored), NO_PERCENT) as target:
        for number, name in enumerate(scored.names, 1):
            target.set_band_description(number, name)


def label_bands(
    labels: np.ndarray, confidence: np.ndarray | None, legend: Vocabulary, of_source: float | None
) -> np.ndarray:
    """Labels (h, w), and percents (h, w) if there are any -> (bands, h, w) as they are written."""
    nodata, dtype = nodata_value(of_source, legend), id_dtype(len(legend))
    bands = [np.where(labels == no_class_id(len(legend)), nodata, labels)]
    if confidence is not None:
        bands.append(np.where(confidence == NO_PERCENT, nodata, confidence.astype(dtype)))
    return np.stack(bands).astype(dtype)


def write_boxes(path: Path, parts: Sequence[tuple[Box, np.ndarray]]) -> None:
    """Write pixels (bands, h, w) of boxes of whole tiles into a raster that exists.

    Raises:
        OSError: the disk is full.
    """
    with full_disk_as_such(path), rasterio.open(path, "r+") as target:
        for box, pixels in parts:
            target.write(pixels, window=window_of(box))


def nodata_value(of_source: float | None, legend: Vocabulary) -> int:
    """Choose the no-data value of a label raster.

    Args:
        of_source: the no-data value of the scene; None if it has none.
        legend: the classes.

    Returns:
        that of the scene if the data type can hold it and it is neither a class id nor a percentage; otherwise
        :func:`no_class_id`.
    """
    largest = no_class_id(len(legend))
    if of_source is None or of_source != int(of_source if np.isfinite(of_source) else -1):
        return largest
    return int(of_source) if max(len(legend), 101) <= of_source <= largest else largest


def add_overviews(path: Path, resampling: Resampling) -> None:
    """Add overviews of half the size each, until the shorter side is less than a tile; read them to be sure.

    Raises:
        OSError: the disk is full.
    """
    with full_disk_as_such(path):
        with rasterio.open(path, "r+") as target:
            factors: list[int] = []
            while min(target.height, target.width) // 2 ** (len(factors) + 1) >= TILE // 2:
                factors.append(2 ** (len(factors) + 1))
            if factors:
                target.build_overviews(factors, resampling)
        for level in range(len(factors)):
            with rasterio.open(path, overview_level=level) as overview:
                for _, window in overview.block_windows(1):
                    overview.read(window=window)


@contextmanager
def full_disk_as_such(path: Path) -> Iterator[None]:
    """Raise the error of a full disk where GDAL raises another one, because the disk is full.

    Raises:
        OSError: see there.
    """
    try:
        yield
    except rasterio.errors.RasterioError as error:
        if shutil.disk_usage(path.parent).free < _FULL:
            raise OSError(errno.ENOSPC, "No space left on device", str(path)) from error
        raise


def window_of(box: Box) -> Window:
    """A box as a window of rasterio."""
    return Window(box.left, box.top, box.right - box.left, box.bottom - box.top)


@contextmanager
def _create(
    path: Path, source: RasterSource, dtype: str, count: int, nodata: int
) -> Iterator[rasterio.io.DatasetWriter]:
    profile = {
        "driver": "GTiff",
        "height": source.height,
        "width": source.width,
        "count": count,
        "dtype": dtype,
        "nodata": nodata,
        **source.georeference.profile,
        "tiled": True,
        "blockxsize": TILE,
        "blockysize": TILE,
        "compress": "deflate",
        "interleave": "band",
        "bigtiff": "if_safer",
        "sparse_ok": True,
    }
    with full_disk_as_such(path), rasterio.open(path, "w", **profile) as target:
        source.georeference.write_to(target)
        yield target
