"""Merge small regions of a label raster into their neighbours, without holding the raster in memory."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import rasterio
from rasterio.features import sieve

from sgovss.files import allocate

logger = logging.getLogger(__name__)

_VALID = """<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><VRTRasterBand dataType="Byte" band="1">
<ComplexSource><SourceFilename>{path}</SourceFilename><SourceBand>1</SourceBand><LUT>{table}</LUT></ComplexSource>
</VRTRasterBand></VRTDataset>"""


def merge_small_regions(labels: Path, smallest: int, result: Path) -> np.memmap:
    """Merge regions of fewer pixels than ``smallest`` into their largest neighbour.

    GDAL reads the raster line by line. Its memory grows with the number of regions, by some 20 bytes for each.

    Where no region is large enough, nothing is merged, and a warning says so.

    Args:
        labels: a raster of class ids; no data take no part.
        smallest: in pixels.
        result: file for the merged ids, one number a pixel.

    Returns:
        (H, W) the merged ids, in the file ``result``.
    """
    with rasterio.open(labels) as raster:
        allocate(result, raster.height * raster.width * np.dtype(raster.dtypes[0]).itemsize)
        merged = np.memmap(result, raster.dtypes[0], "r+", shape=raster.shape)
        with rasterio.open(_validity(labels, raster)) as valid:
            pixels = raster.height * raster.width
            if smallest > pixels:
                logger.warning("--min-area: the raster itself is smaller, so no regions are merged; give a smaller one")
            smallest = min(smallest, pixels)  # GDAL refuses more
            sieve(rasterio.band(raster, 1), smallest, out=merged, mask=rasterio.band(valid, 1))
    merged.flush()
    return merged


def _validity(labels: Path, raster: rasterio.io.DatasetReader) -> str:
    """A virtual raster that is 0 for no data and 1 for a class."""
    nodata = int(raster.nodata)
    table = f"{nodata - 1}:1,{nodata}:0,{nodata + 1}:1"
    return _VALID.format(width=raster.width, height=raster.height, path=labels.resolve(), table=table)
