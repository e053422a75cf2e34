"""Folders of files: whatever GDAL opens is found, once, and nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from sgovss.errors import InputError
from sgovss.inference.inputs import files_of
from sgovss.rasters.folders import images_among
from sgovss.rasters.inputs import find_inputs, is_scene
from sgovss.rasters.source import RasterSource

from .conftest import UTM, write_below

DRIVERS = {
    "a.gpkg": "GPKG", "b.bsq": "ENVI", "c.bil": "EHdr", "d.asc": "AAIGrid", "e.grd": "GSBG", "f.rst": "RST",
    "g.nc": "netCDF", "h.mrf": "MRF", "i.sdat": "SAGA", "j.dem": "GTiff",
}  # fmt: skip
SINGLE = ("AAIGrid", "EHdr", "GSBG", "RST", "netCDF", "SAGA")  # files of one band


@pytest.fixture
def write(scene_pixels, tmp_path):
    """A function that writes a raster of a kind into a folder."""

    def write(name: str, folder: str = "folder"):
        (tmp_path / folder).mkdir(exist_ok=True)
        driver = DRIVERS[name]
        pixels = scene_pixels[:1] if driver in SINGLE else scene_pixels
        options = {"transform": rasterio.transform.from_origin(500_000, 5_300_000, 0.5, 0.5), "crs": UTM["crs"]}
        if driver not in ("AAIGrid", "MRF", "netCDF"):
            return write_below(tmp_path / folder, pixels, name, driver=driver, **options)
        source = write_below(tmp_path, pixels, "source.tif", **options)
        rasterio.shutil.copy(source, tmp_path / folder / name, driver=driver)
        return tmp_path / folder / name

    return write


def found(folder, output=None):
    names = find_inputs([str(folder)], output or folder.parent / "out")
    return {os.path.relpath(name, folder): str(title) for name, title in names.items()}


@pytest.mark.parametrize("name", DRIVERS)
def test_a_raster_of_any_kind_is_found_in_its_folder(write, name):
    path = write(name)
    (path.parent / "read.prj").write_text("a side file")
    assert found(path.parent) == {name: name[0]}
    assert is_scene(path)
    Image.new("RGB", (8, 8)).save(path.parent / "photo.jpg")
    assert found(path.parent) == {name: name[0], "photo.jpg": "photo"}


def test_a_folder_of_many_kinds_has_each_once(write, tmp_path):
    for name in DRIVERS:
        write(name)
    folder = tmp_path / "folder"
    for name in ("b.sta", "b.prj", "b.txt", "h.idx"):  # GDAL takes the header b.hdr for that of each b
        if not (folder / name).exists():
            (folder / name).write_bytes(b"1 2 3\n4 5 6\n7 8 9\n")
    assert found(folder) == {name: name[0] for name in DRIVERS}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "1 1 5\n2 1 6\n1 2 7\n2 2 8\n"),
        ("a.csv", "x,y,z\n1,1,5\n2,1,6\n1,2,7\n2,2,8\n"),
        ("a.json", '{"type": "FeatureCollection", "features": []}'),
        ("a.xml", "<a/>"),
        ("a.jgw", "1\n0\n0\n-1\n5\n6\n"),
        ("a.weights", "nothing"),
        ("a.hdr", "ENVI\n"),
    ],
)
def test_what_is_no_raster_is_left_out(write, tmp_path, name, content, caplog):
    write("j.dem")
    (tmp_path / "folder" / name).write_text(content)
    assert found(tmp_path / "folder") == {"j.dem": "j"} and not caplog.text
    (tmp_path / "folder" / "j.dem").unlink()
    with pytest.raises(InputError, match=r"no image in this folder .* and other rasters of GDAL"):
        found(tmp_path / "folder")


def test_a_vector_file_is_left_out(write, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    from shapely.geometry import box

    write("a.gpkg")
    table = geopandas.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs="EPSG:4326")
    for name in ("x.gpkg", "x.fgb", "x.shp"):
        table.to_file(tmp_path / "folder" / name)
    assert found(tmp_path / "folder") == {"a.gpkg": "a"}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_file_of_several_rasters_is_told(scene_pixels, write, tmp_path, caplog, count):
    write("j.dem")
    for number in range(count):
        options = {"raster_table": f"t{number}", "append_subdataset": "YES" if number else "NO"}
        write_below(tmp_path / "folder", scene_pixels, "several.gpkg", driver="GPKG", **options, **UTM)
    assert found(tmp_path / "folder") == {"j.dem": "j"}
    assert f"several.gpkg: holds {count} rasters; give the name of one: GPKG:" in caplog.text


@pytest.mark.parametrize("other", ["f.gpkg", "f.dem", "f.grd"])
def test_files_of_one_name_have_outputs_of_their_own(write, scene_pixels, tmp_path, other):
    kind = next(name for name in DRIVERS if name.endswith(other[1:]))
    shutil.move(write(kind), tmp_path / "folder" / other)
    for name in ("f.tif", "g.tif"):
        write_below(tmp_path / "folder", scene_pixels, name, **UTM)
    assert found(tmp_path / "folder") == {"f.tif": "f", "g.tif": "g", other: other.replace(".", "_")}


@pytest.fixture
def store(scene_pixels, tmp_path):
    """A Zarr store in a folder."""
    (tmp_path / "folder").mkdir()
    source = write_below(tmp_path, scene_pixels, "source.tif", **UTM)
    rasterio.shutil.copy(source, tmp_path / "folder" / "x.zarr", driver="Zarr")
    return tmp_path / "folder" / "x.zarr"


def test_a_folder_may_be_a_raster(store, scene_pixels, tmp_path, monkeypatch):
    monkeypatch.chdir(store)
    for name in (str(store), os.path.relpath(store), "."):
        assert {str(title) for title in find_inputs([name], tmp_path / "out").values()} == {"x"}
        assert is_scene(name)
        with RasterSource(name) as source:
            assert (source.height, source.width) == (200, 260)
    for name in ("", "below"):
        shutil.copytree(store, tmp_path / "folder" / name / "y.zarr")
    Image.new("RGB", (8, 8)).save(tmp_path / "folder" / "photo.jpg")
    expected = {"x.zarr": "x", "y.zarr": "y", "below/y.zarr": "below/y", "photo.jpg": "photo"}
    assert found(tmp_path / "folder") == expected


def test_a_zarr_store_is_segmented(demo, store):
    status, out, _ = demo(store)
    assert status == 0 and (out / "x_labels.tif").is_file()


def test_outputs_are_not_segmented_again(write, demo, tmp_path):
    for name in ("a.gpkg", "b.bsq", "j.dem"):
        write(name)
    folder = tmp_path / "folder"
    expected = found(folder)
    for _ in range(2):
        assert demo(folder, "--output", folder, "--polygons", "--probabilities")[0] == 0
        assert found(folder, folder) == expected


def test_a_damaged_file_is_told_where_it_is_segmented(write, tmp_path):
    write("j.dem")
    for name, content in (("x", b"II*\0"), ("y.part", b"\x89PNG"), ("z.jp9", b"\0\0\0\x0cjP  ")):
        (tmp_path / "folder" / name).write_bytes(content + bytes(9))
    assert set(found(tmp_path / "folder")) == {"j.dem", "x", "y.part", "z.jp9"}


@pytest.mark.parametrize("relative", [0, 1])
def test_files_that_a_vrt_shows_again_are_told(scene_pixels, tmp_path, caplog, relative):
    (tmp_path / "folder" / "tiles").mkdir(parents=True)
    for name in ("tiles/a.tif", "tiles/b.tif", "c.tif"):
        write_below(tmp_path / "folder", scene_pixels, name, **UTM)
    vrt = tmp_path / "folder" / "all.vrt"
    rasterio.shutil.copy(tmp_path / "folder" / "tiles" / "b.tif", vrt, driver="VRT")
    text = vrt.read_text()
    source = next(line for line in text.splitlines() if "SourceFilename" in line)
    name = "tiles/b.tif" if relative else tmp_path / "folder" / "tiles" / "b.tif"
    vrt.write_text(text.replace(source, f'<SourceFilename relativeToVRT="{relative}">{name}</SourceFilename>'))
    assert set(found(tmp_path / "folder")) == {"all.vrt", "c.tif", "tiles/a.tif", "tiles/b.tif"}
    (line,) = caplog.messages
    assert line.startswith(f"{vrt}: shows 1 of the other files in its folder, such as b.tif, which are segmented by")
    (tmp_path / "folder" / "tiles" / "b.tif").rename(tmp_path / "b.tif")
    caplog.clear()
    assert "all.vrt" in found(tmp_path / "folder") and not caplog.messages


@pytest.mark.parametrize(("among", "kinds"), [(None, "4 (.cr3, .gif, .heic)"), (images_among, "3 (.cr3, .heic)")])
def test_images_that_cannot_be_read_are_told(tmp_path, caplog, among, kinds):
    """GDAL reads GIF."""
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    for name in ("IMG_1.HEIC", "below/IMG_2.heic", "x.cr3", "x.txt"):
        (folder / name).write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    line = "{}: images that cannot be read here: {}, such as IMG_1.HEIC; convert to JPEG, PNG or GeoTIFF"
    with pytest.raises(InputError) as refused:
        files_of(folder, among)
    assert str(refused.value) == line.format(folder, "3 (.cr3, .heic)")
    for name in ("photo.jpg", "photo.gif"):
        Image.new("RGB", (8, 8)).save(folder / name)
    assert str(folder / "photo.jpg") in files_of(folder, among)
    assert caplog.messages == [line.format(folder, kinds)]


def test_a_folder_is_listed_once_and_images_are_not_opened(write, tmp_path, monkeypatch):
    write("j.dem")
    for number in range(20):
        np.zeros(3).tofile(tmp_path / "folder" / f"{number}.tif")
    opened = []
    plain = rasterio.open

    def watched(name, *args, **options):
        opened.append(name)
        return plain(name, *args, **options)

    monkeypatch.setattr(rasterio, "open", watched)
    assert len(found(tmp_path / "folder")) == 21
    assert {Path(name).name for name in opened} == {"folder", "j.dem"}
