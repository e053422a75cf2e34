"""Write GeoTIFFs from finished chunks: tiled, compressed, with colours, class names, no-data value and overviews."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import sieve
from rasterio.windows import Window

from sgovss.files import atomic_path
from sgovss.label_ids import id_dtype, no_class_id
from sgovss.rasters.grid import WindowGrid
from sgovss.rasters.opening import remote_options
from sgovss.rasters.source import RasterSource
from sgovss.rasters.store import ChunkStore
from sgovss.vocabulary import Vocabulary

TILE = 512
_NO_PERCENT = 255
_CACHE = 64  # megabytes of GDAL's block cache, which otherwise depends on the machine's memory


@contextmanager
def gdal_environment() -> Iterator[None]:
    """Set up GDAL so that reading and writing rasters takes bounded memory."""
    with (
        rasterio.Env(GDAL_CACHEMAX=_CACHE * 2**20, GDAL_NUM_THREADS="1", **remote_options()),
        warnings.catch_warnings(),
    ):
        # RasterSegmenter has its own message for rasters without georeference.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def write_labels(
    path: Path,
    source: RasterSource,
    grid: WindowGrid,
    store: ChunkStore,
    legend: Vocabulary,
    confidence: bool = False,
    smallest: int = 1,
) -> None:
    """Write class ids with the georeference of the source.

    Args:
        path: path of the GeoTIFF.
        source: the scene.
        grid: its windows.
        store: the finished chunks.
        legend: the classes.
        confidence: whether to write the score of the class, in percent, as a second band.
        smallest: regions of fewer pixels are merged into their largest neighbour. If it is above 1, all labels are
            held in memory at once.
    """
    dtype = id_dtype(len(legend))
    labels, nodata = rows_of(grid, store, "labels"), nodata_value(source.nodata, legend)
    if smallest > 1:
        labels = iter([(0, _sieved(np.concatenate([band for _, band in labels]), smallest))])
    with atomic_path(path) as partial:
        with rasterio.open(partial, "w", **_profile(source, grid, dtype, 1 + confidence, nodata)) as target:
            _fill(target, 1, _replaced(labels, no_class_id(len(legend)), nodata))
            if target.dtypes[0] == "uint8":
                target.write_colormap(1, {i: (*color, 255) for i, color in enumerate(legend.colors().tolist())})
            target.set_band_description(1, "class")
            if confidence:
                _fill(target, 2, _replaced(rows_of(grid, store, "confidence"), _NO_PERCENT, nodata))
                target.set_band_description(2, "confidence (percent)")
            source.georeference.write_to(target)
            target.update_tags(**{f"CLASS_{i}": entry.name for i, entry in enumerate(legend)})
        _add_overviews(partial, Resampling.nearest)
        _verify(partial)


def write_probabilities(
    path: Path, source: RasterSource, grid: WindowGrid, store: ChunkStore, scored: Vocabulary
) -> None:
    """Write the score of each class in percent, one band per class."""
    at_once = max(1, _CACHE * 2**20 // (TILE * grid.width))
    with atomic_path(path) as partial:
        with rasterio.open(partial, "w", **_profile(source, grid, np.uint8, len(scored), _NO_PERCENT)) as target:
            for first in range(0, len(scored), at_once):
                classes = slice(first, first + at_once)
                _fill(target, first + 1, rows_of(grid, store, "probabilities", classes))
            source.georeference.write_to(target)
            for number, name in enumerate(scored.names, 1):
                target.set_band_description(number, name)
        _add_overviews(partial, Resampling.average)
        _verify(partial)


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


def rows_of(
    grid: WindowGrid, store: ChunkStore, name: str, classes: slice | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Read an array of the store over the whole scene, up to 512 rows at a time.

    Args:
        grid: the windows of the scene.
        store: the finished chunks.
        name: name of the array.
        classes: part of the first axis to read; None if the array has no axis of classes.

    Yields:
        number of the first row; (..., h, width) array of this row and the following ones.
    """
    chunks = list(grid.all_chunks())
    for top in range(0, grid.height, TILE):
        bottom = min(top + TILE, grid.height)
        band = None
        for chunk in chunks:
            first, last = max(top, chunk.top), min(bottom, chunk.bottom)
            if first >= last:
                continue
            part = store.load(chunk, name)
            part = part if classes is None else part[classes]
            if band is None:
                band = np.empty((*part.shape[:-2], bottom - top, grid.width), part.dtype)
            rows = slice(first - chunk.top, last - chunk.top)
            band[..., first - top : last - top, chunk.left : chunk.right] = part[..., rows, :]
        assert band is not None  # the chunks cover the scene
        yield top, band


def _fill(target: rasterio.io.DatasetWriter, first: int, rows: Iterator[tuple[int, np.ndarray]]) -> None:
    """Write (h, width) or (bands, h, width) parts to the bands from ``first`` on."""
    for top, part in rows:
        part = part.reshape(-1, *part.shape[-2:]).astype(target.dtypes[0])
        bands = list(range(first, first + len(part)))
        target.write(part, indexes=bands, window=Window(0, top, target.width, part.shape[1]))


def _replaced(rows: Iterator[tuple[int, np.ndarray]], stored: int, written: int) -> Iterator[tuple[int, np.ndarray]]:
    """Replace the stored no-data value by the one to be written."""
    for top, part in rows:
        yield top, part if stored == written else np.where(part == stored, written, part.astype(np.uint16))


def _sieved(labels: np.ndarray, smallest: int) -> np.ndarray:
    """Merge regions of fewer pixels than ``smallest`` into their largest neighbour."""
    valid = (labels != np.iinfo(labels.dtype).max).astype(np.uint8)
    return np.where(valid, sieve(labels, smallest, mask=valid), labels)


def _profile(
    source: RasterSource, grid: WindowGrid, dtype: type[np.unsignedinteger], count: int, nodata: int
) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "height": grid.height,
        "width": grid.width,
        "count": count,
        "dtype": np.dtype(dtype).name,
        "nodata": nodata,
        **source.georeference.profile,
        "tiled": True,
        "blockxsize": TILE,
        "blockysize": TILE,
        "compress": "deflate",
        "interleave": "band",
        "bigtiff": "if_safer",
    }


def _add_overviews(path: Path, resampling: Resampling) -> None:
    """Add overviews of half the size each, until the shorter side is less than a tile."""
    with rasterio.open(path, "r+") as target:
        factors: list[int] = []
        while min(target.height, target.width) // 2 ** (len(factors) + 1) >= TILE // 2:
            factors.append(2 ** (len(factors) + 1))
        if factors:
            target.build_overviews(factors, resampling)


def _verify(path: Path) -> None:
    """Read every block, because GDAL may report only then that a full disk has cut off the file."""
    with rasterio.open(path) as raster:
        for _, window in raster.block_windows(1):
            raster.read(window=window)
