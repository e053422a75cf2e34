"""Names of GDAL that hold a relative path mean the same raster in every working folder."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from sgovss.rasters.inputs import InputOptions, find_inputs
from sgovss.rasters.names import absolute_name, without_permits
from sgovss.rasters.source import RasterSource

from .conftest import UTM


@pytest.fixture
def files(write_raster, scene_pixels, tmp_path, monkeypatch):
    """The working folder has a folder ``a`` with one picture in several formats, and files of misleading names."""
    folder = tmp_path / "a"
    folder.mkdir()
    plain = write_raster(scene_pixels, name="a/plain.tif", **UTM)
    rasterio.shutil.copy(plain, folder / "x y.nc", driver="netCDF", FORMAT="NC4")
    for table, append in (("north", "NO"), ("south", "YES")):
        write_raster(scene_pixels, name="a/b.gpkg", driver="GPKG", raster_table=table, append_subdataset=append, **UTM)
    with zipfile.ZipFile(folder / "c.zip", "w") as archive:
        archive.write(plain, "inner/plain.tif")
    for name in ("north", "Band1", "NETCDF", "https"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


NAMES = {
    "a/plain.tif": "{}/a/plain.tif",
    "GPKG:a/b.gpkg:north": "GPKG:{}/a/b.gpkg:north",
    'NETCDF:"a/x y.nc":Band1': 'NETCDF:"{}/a/x y.nc":Band1',
    "NETCDF:a/x y.nc:Band1": "NETCDF:{}/a/x y.nc:Band1",
    "GTIFF_DIR:1:a/plain.tif": "GTIFF_DIR:1:{}/a/plain.tif",
    "/vsizip/a/c.zip/inner/plain.tif": "/vsizip/{}/a/c.zip/inner/plain.tif",
    "/vsizip/{{a/c.zip}}/inner/plain.tif": "/vsizip/{{{}/a/c.zip}}/inner/plain.tif",
    "/vsisubfile/0,a/plain.tif": "/vsisubfile/0,{}/a/plain.tif",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_relative_name_becomes_absolute(files, name, tmp_path_factory, monkeypatch):
    expected = NAMES[name].format(files)
    name = name.format()
    assert absolute_name(name) == expected and absolute_name(expected) == expected
    with RasterSource(name) as source:
        here, pixels = source.identity, source.values(1000)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    with RasterSource(expected) as source:
        assert source.identity == here
        np.testing.assert_array_equal(source.values(1000), pixels)
    monkeypatch.chdir(files / "a")
    nearer = name.replace("a/", "", 1)
    with RasterSource(nearer) as source:
        assert source.identity == here


@pytest.mark.parametrize(
    "name",
    [
        "https://host.example/a/plain.tif",
        "/vsicurl/https://host.example/plain.tif",
        "/vsis3/bucket/a/plain.tif",
        "WMS:https://host.example/wms?layers=a",
        "GPKG:missing.gpkg:north",
        "north:south",
        "<GDAL_WMS><Service/></GDAL_WMS>",
    ],
)
def test_other_names_stay_as_they_are(files, name):
    assert absolute_name(name) == name


@pytest.mark.parametrize("name", ["GPKG:a/b.gpkg:north", 'NETCDF:"a/x y.nc":Band1', "/vsizip/a/c.zip/inner/plain.tif"])
def test_a_description_holds_absolute_names(files, name, monkeypatch):
    around = (8.99, 47.84, 9.01, 47.86)
    scene = Path(next(iter(find_inputs([name], "out", InputOptions(bounds=around))))).resolve()
    monkeypatch.chdir("/")
    with RasterSource(scene) as source:
        assert source.values(1000).std() > 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host.example/a.tif?token=abc", "https://host.example/a.tif"),
        ("https://host.example/a?layers=b&X-Amz-Signature=1f", "https://host.example/a?layers=b"),
        ("what?token=abc", "what?token=abc"),
    ],
)
def test_urls_are_shown_without_what_permits_to_read_them(text, shown):
    assert without_permits(text) == shown
