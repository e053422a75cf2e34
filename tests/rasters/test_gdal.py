"""GDAL's block cache: each block of a raster is read about once, whatever its layout."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

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


@pytest.mark.parametrize(
    ("rows", "interleaving", "bands", "gibibytes", "expected"),
    [
        # Two rows of blocks for the windows and three more, of 40 blocks each, in one band of 16 bits.
        (1000, "band", [2, 2, 2], 64, 5 * 512 * 40 * 512 * 2),
        (1024, "band", [2, 2, 2], 64, 5 * 512 * 40 * 512 * 2),
        (1025, "band", [2, 2, 2], 64, 6 * 512 * 40 * 512 * 2),
        (1000, "band", [1, 2, 3], 64, 3 * 5 * 512 * 40 * 512 * 2),
        # All bands of a block are decoded together.
        (1000, "pixel", [2, 2, 2], 64, 4 * 5 * 512 * 40 * 512 * 2),
        # At least 64 MiB; at most a quarter of the memory, and the raster with one more row of blocks.
        (1, "band", [1], 64, 4 * 512 * 40 * 512 * 2),
        (1000, "pixel", [1], 1, 2**28),
        (60_000, "band", [1], 64, (30_000 + 512) * 40 * 512 * 2),
    ],
)
def test_the_cache_holds_rows_of_blocks_and_is_bounded(monkeypatch, rows, interleaving, bands, gibibytes, expected):
    dataset = SimpleNamespace(
        count=4,
        interleaving=interleaving,
        block_shapes=[(512, 512)] * 4,
        width=20_000,
        height=30_000,
        dtypes=["uint16"] * 4,
    )
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": gibibytes * 2**18}.__getitem__)
    assert cache_size(dataset, bands, rows) == max(2**26, expected)


@pytest.mark.parametrize(
    ("band", "expected"), [(1, 1016 * 20_480), (2, 7 * 256 * 20_224 * 4), (3, 4 * 512 * 20_480 * 8)]
)
def test_each_band_has_blocks_of_its_own(monkeypatch, band, expected):
    """As in a VRT: 8 x 1024 bytes, 256 x 256 floats, and 512 x 1024 doubles."""
    dataset = SimpleNamespace(
        count=3,
        interleaving=None,
        block_shapes=[(8, 1024), (256, 256), (512, 1024)],
        width=20_000,
        height=30_000,
        dtypes=["uint8", "float32", "float64"],
    )
    monkeypatch.setattr("sgovss.rasters.gdal._LEAST", 0)
    rows = {1: 990, 2: 1000, 3: 100}[band]
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * 2**18}.__getitem__)
    assert cache_size(dataset, [band], rows) == expected


def test_another_thread_reads_the_same(noise):
    with gdal_environment(), RasterSource(noise) as source, source.another() as other:
        window = Window(100, 100, 300, 200)
        assert (source.read(window, (200, 300))[0] == other.read(window, (200, 300))[0]).all()
