"""GeoTIFFs of the outputs: cloud-optimized, with colours, class names, no-data value, overviews and statistics.

Units are written into plain GeoTIFFs in any order. When all are there, each is copied as a Cloud-Optimized GeoTIFF.
"""

from __future__ import annotations

import errno
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling
from rasterio.windows import Window

from sgovss.files import atomic_path
from sgovss.label_ids import id_dtype, no_class_id
from sgovss.rasters.grid import TILE
from sgovss.rasters.source import RasterSource
from sgovss.rasters.units import Box
from sgovss.vocabulary import Vocabulary

NO_PERCENT = 255
"""The percent of pixels without a score."""

_FULL = 2**20  # bytes; a disk with less free space counts as full

_LAYOUT = {
    "tiled": True,
    "blockxsize": TILE,
    "blockysize": TILE,
    "compress": "deflate",
    "interleave": "band",
    "bigtiff": "if_safer",
    "sparse_ok": True,
}
_SEVERAL = {"photometric": "minisblack", "predictor": 2}
"""Of several bands. Otherwise GDAL takes the second beside a palette for alpha, and three for a picture.

The predictor, which stores differences of neighbours, makes percents smaller, and class ids alone larger.
"""


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
    if of_source is None or not float(of_source).is_integer():
        return largest
    return int(of_source) if max(len(legend), 101) <= of_source <= largest else largest


def with_overviews(plain: Path, resampling: Resampling) -> Path:
    """Compute statistics, and overviews of half the size each, until the longer side is at most that of a tile.

    The file itself is not changed, so that an interruption cannot damage it.

    Args:
        plain: a file of :func:`create_labels` or :func:`create_probabilities`.
        resampling: :attr:`Resampling.mode` for class ids. Each overview is then computed from the raster itself,
            because the most frequent class of the most frequent classes is often another one.

    Returns:
        a copy of the file, with the overviews in it.

    Raises:
        OSError: the disk is full.
    """
    copy = plain.with_name(f"{plain.stem}_overviews.tif")
    with full_disk_as_such(plain):
        shutil.copyfile(plain, copy)
        with rasterio.open(copy, "r+") as target:
            with suppress(rasterio.errors.StatisticsError):  # there are no data
                target.update_stats(approx=False)
            halvings = math.ceil(math.log2(max(1.0, max(target.height, target.width) / TILE)))
        factors = [2 ** (level + 1) for level in range(halvings)]
        for part in [[factor] for factor in factors] if resampling == Resampling.mode else [factors]:
            with rasterio.open(copy, "r+") as target:
                target.build_overviews(part, resampling)
    return copy


def write_cog(plain: Path, path: Path) -> None:
    """Copy a raster with its overviews as a Cloud-Optimized GeoTIFF, tile by tile, and read it to be sure.

    Equal pixels give equal files, in whatever order the tiles of the first file were written. GDAL's driver "COG" would
    interleave the bands by pixel, so that a reader of one band has to decode all of them. "GTiff" writes the same
    layout and keeps the bands apart.

    Args:
        plain: of :func:`with_overviews`; it is removed.
        path: file to write.

    Raises:
        OSError: the disk is full.
    """
    with atomic_path(path) as partial, full_disk_as_such(partial):
        with rasterio.open(plain) as raster:
            levels, several = len(raster.overviews(1)), raster.count > 1
        rasterio.shutil.copy(
            plain,
            partial,
            driver="GTiff",
            copy_src_overviews="yes",
            **_LAYOUT,
            **(_SEVERAL if several else {}),
        )
        for level in [None, *range(levels)]:
            with rasterio.open(partial, **({} if level is None else {"overview_level": level})) as raster:
                for _, window in raster.block_windows(1):
                    raster.read(window=window)
    plain.unlink()


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
        **_LAYOUT,
        **(_SEVERAL if count > 1 else {}),
        "zlevel": 1,  # write_cog compresses better
    }
    with full_disk_as_such(path), rasterio.open(path, "w", **profile) as target:
        source.georeference.write_to(target)
        yield target
