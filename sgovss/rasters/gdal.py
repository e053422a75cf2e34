"""Settings of GDAL: its block cache, which must hold rows of blocks, and its warnings."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from sgovss.rasters.opening import remote_options
from sgovss.resources import memory_of_machine

_LEAST = 64 * 2**20
_ROWS_OF_BLOCKS = 3
_SHARE_OF_MEMORY = 4  # at most a quarter of the machine's memory


@contextmanager
def gdal_environment(cache: int = _LEAST) -> Iterator[None]:
    """Set up GDAL so that reading and writing rasters takes bounded memory.

    Args:
        cache: size of the block cache in bytes; see :func:`cache_size`. rasterio takes the number in bytes, whereas
            GDAL's own configuration takes small numbers as megabytes.
    """
    with rasterio.Env(GDAL_CACHEMAX=cache, GDAL_NUM_THREADS="1", **remote_options()), warnings.catch_warnings():
        # The plan of a scene has its own message for rasters without georeference.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def cache_size(dataset: rasterio.io.DatasetReader, bands: Sequence[int], rows: int) -> int:
    """Compute the size of a block cache with which windows, read row by row, decode each block once.

    Args:
        dataset: the raster.
        bands: 1-based numbers of the bands in use.
        rows: height of the windows in pixels.

    Returns:
        bytes: the blocks of a row of windows and of three rows of blocks, at least 64 MiB, at most a quarter of the
        memory of the machine.
    """
    # Where bands are interleaved by pixel, GDAL decodes and caches all of them.
    together = str(dataset.interleaving).endswith("pixel")
    wanted = range(1, dataset.count + 1) if together else sorted(set(bands))
    total = 0
    for band in wanted:
        height, width = dataset.block_shapes[band - 1]
        columns = -(-dataset.width // width) * width
        lines = (-(-rows // height) + _ROWS_OF_BLOCKS) * height
        total += min(lines, dataset.height + height) * columns * np.dtype(dataset.dtypes[band - 1]).itemsize
    return max(_LEAST, min(total, memory_of_machine() // _SHARE_OF_MEMORY))
