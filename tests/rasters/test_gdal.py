"""GDAL's block cache: each block of a raster is read about once, whatever its layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from sgovss.rasters.gdal import cache_size, gdal_environment
from sgovss.rasters.source import RasterSource

from .fake import FakeModel, fake_mapper, fill_all

LAYOUTS = {
    "strips": {"compress": "lzw", "blockysize": 16},
    "one large strip": {"compress": "deflate", "blockysize": 600},
    "tiles": {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"},
    "bands apart": {"tiled": True, "blockxsize": 128, "blockysize": 128, "interleave": "band"},
    "16 bits, four bands": {"dtype": "uint16", "count": 4, "blockysize": 32},
}


def bytes_read() -> int:
    """Bytes that this process has read from files so far."""
    lines = Path("/proc/self/io").read_text(encoding="utf-8").splitlines()
    return int(lines[0].removeprefix("rchar: "))


@pytest.fixture(params=LAYOUTS)
def noise(request, tmp_path) -> Path:
    """A raster that cannot be compressed, so that its size says what reading it once costs."""
    if not Path("/proc/self/io").is_file():
        pytest.skip("counts bytes through /proc")
    path, layout = tmp_path / "noise.tif", {"dtype": "uint8", "count": 3, "photometric": "minisblack"}
    layout |= LAYOUTS[request.param]
    pixels = np.random.default_rng(0).integers(1, 255, (layout["count"], 600, 900)).astype(layout["dtype"])
    with rasterio.open(path, "w", driver="GTiff", height=600, width=900, **layout) as target:
        target.write(pixels)
    return path


def test_opening_reads_each_block_once(noise):
    before = bytes_read()
    with gdal_environment(), RasterSource(noise, percentiles=(2, 98)):
        pass
    assert bytes_read() - before < 1.2 * noise.stat().st_size


def test_windows_read_each_block_about_once(noise, tmp_path):
    """Windows that overlap, and the pixels of the units: far from once for each window."""
    mapper = fake_mapper(FakeModel())
    plan = mapper.plan(noise, tmp_path / "out")
    before = bytes_read()
    fill_all(mapper, plan, plan.serial_order([*plan.units.all()]))
    assert bytes_read() - before < 1.5 * noise.stat().st_size


@pytest.mark.parametrize(("width", "block", "expected"), [(900, 16, 256), (400_000, 512, 3 * 400_000 * 2048 / 2**20)])
def test_the_cache_holds_rows_of_blocks_and_is_bounded(tmp_path, width, block, expected):
    layout = {"count": 3, "dtype": "uint8", "blockysize": block, "sparse_ok": True}
    if block == 512:
        layout |= {"tiled": True, "blockxsize": 512}
    with rasterio.open(tmp_path / "wide.tif", "w", driver="GTiff", height=4096, width=width, **layout):
        pass
    with rasterio.open(tmp_path / "wide.tif") as raster:
        size = cache_size(raster, [1, 2, 3], 512) / 2**20
    assert size == pytest.approx(expected, rel=0.01) or size < expected  # a small machine has less


def test_another_thread_reads_the_same(noise):
    with gdal_environment(), RasterSource(noise) as source, source.another() as other:
        window = Window(100, 100, 300, 200)
        assert (source.read(window, (200, 300))[0] == other.read(window, (200, 300))[0]).all()
