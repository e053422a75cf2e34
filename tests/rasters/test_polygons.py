"""Regions found a band of rows at a time are those of the whole raster; so are merged regions."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.features import shapes, sieve
from rasterio.windows import Window

from sgovss.rasters.coverage import Tolerance
from sgovss.rasters.merging import merge_small_regions
from sgovss.rasters.polygons import regions


def spiral(size: int) -> np.ndarray:
    """A region that crosses every row many times, and rings around others."""
    rows, columns = np.indices((size, size)) - size // 2
    angle, radius = np.arctan2(rows, columns), np.hypot(rows, columns)
    return ((radius / 6 + angle / np.pi) % 2).astype(np.uint8)


RASTERS = {
    "noise": np.random.default_rng(0).integers(0, 3, (40, 50)).astype(np.uint8),
    "spiral": spiral(64),
    "one class": np.zeros((30, 20), np.uint8),
    "no data": np.full((30, 20), 255, np.uint8),
    "a ring": np.pad(np.pad(np.zeros((9, 9), np.uint8), 8, constant_values=1), 3, constant_values=0),
    "with no data": np.where(np.random.default_rng(1).random((60, 40)) < 0.2, 255, spiral(64)[:60, :40]).astype(
        np.uint8
    ),
}


@pytest.fixture(params=RASTERS)
def raster(request, write_raster):
    path = write_raster(RASTERS[request.param][None], nodata=255)
    with rasterio.open(path) as opened:
        yield opened


@pytest.mark.parametrize("rows", [1, 7, 16, 1000])
def test_regions_are_those_of_the_whole_raster(raster, rows):
    ids = raster.read(1)
    whole = [(shapely.geometry.shape(shape), value) for shape, value in shapes(ids, mask=ids != 255)]
    found = [*regions(raster, rows)]
    assert len(found) == len(whole)
    key = lambda polygon: (polygon.bounds, polygon.area)  # noqa: E731
    for region, (polygon, value) in zip(
        sorted(found, key=lambda region: key(region.polygon)), sorted(whole, key=lambda pair: key(pair[0])), strict=True
    ):
        assert region.polygon.geom_type == "Polygon"
        assert region.label == value
        assert shapely.equals(region.polygon, polygon)
        # The seams leave no corners.
        assert len(shapely.get_coordinates(region.polygon)) <= len(shapely.get_coordinates(polygon)) + 1


@pytest.mark.parametrize("smallest", [2, 10, 60])
@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_merging_is_that_of_the_whole_raster(raster, smallest, kind, write_raster, tmp_path):
    ids = raster.read(1).astype(kind)
    nodata = np.iinfo(kind).max
    ids = np.where(ids == 255, nodata, ids).astype(kind)
    path = write_raster(ids[None], name=f"{kind}.tif", nodata=nodata)
    valid = (ids != nodata).astype(np.uint8)
    expected = np.where(valid, sieve(ids, smallest, mask=valid), ids)
    found = np.array(merge_small_regions(path, smallest, tmp_path / "merged.raw"))
    assert (np.where(valid, found, ids) == expected).all()


@pytest.mark.parametrize("tolerance", [None, Tolerance(2)])
def test_only_the_rows_of_a_band_and_one_on_each_side_are_read(write_raster, tolerance):
    read = []

    class Watched:
        def __init__(self, opened: rasterio.io.DatasetReader) -> None:
            self._opened = opened

        def __getattr__(self, name: str) -> object:
            return getattr(self._opened, name)

        def read(self, band: int, window: Window) -> np.ndarray:
            read.append((window.row_off, window.row_off + window.height, window.col_off, window.width))
            return self._opened.read(band, window=window)

    with rasterio.open(write_raster(RASTERS["noise"][None], nodata=255)) as opened:
        assert [*regions(Watched(opened), 15, tolerance)]
    assert read == [(0, 16, 0, 50), (14, 31, 0, 50), (29, 40, 0, 50)]
