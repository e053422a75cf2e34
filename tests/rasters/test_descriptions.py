"""Descriptions of scenes do not take each other's place, and an input stays the same however it is named."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from sgovss.errors import InputError
from sgovss.rasters import finishing
from sgovss.rasters.inputs import InputOptions, find_inputs, is_scene
from sgovss.rasters.opening import declared, identity
from sgovss.rasters.source import RasterSource

from .conftest import UTM

AROUND = (8.99, 47.84, 9.01, 47.86)
PART = (9.0002, 47.8529, 9.0008, 47.8532)
XYZ = "xyz:https://tiles.example/{}/{{z}}/{{x}}/{{y}}.png"


@pytest.fixture
def twins(write_raster, scene_pixels, tmp_path) -> list[str]:
    """Two rasters of the same name."""
    paths = []
    for number, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        paths.append(str(write_raster(scene_pixels + np.uint8(number), name=f"{folder}/x.tif", **UTM)))
    return paths


def identity_of(name: str | Path) -> list[str]:
    with rasterio.open(name) as dataset:
        return identity(name, dataset)


def test_files_of_one_name_are_not_dropped(twins, tmp_path):
    with pytest.raises(InputError, match=r"a/x.tif and .*b/x.tif would both be written as 'x'"):
        find_inputs(twins, tmp_path / "out", InputOptions(bounds=AROUND))


def test_tile_servers_of_one_host_are_not_dropped(tmp_path):
    options = InputOptions(bounds=AROUND, gsd=0.3)
    with pytest.raises(InputError, match=r"would both be written as 'tiles.example'"):
        find_inputs([XYZ.format("map"), XYZ.format("aerial")], tmp_path, options)
    assert len(find_inputs([XYZ.format("map")] * 2, tmp_path, options)) == 1


@pytest.mark.parametrize("options", [{"mosaic": True}, {"bounds": AROUND}, {"mosaic": True, "bounds": AROUND}])
def test_runs_with_the_same_output_do_not_share_a_description(twins, tmp_path, options):
    scenes = [next(iter(find_inputs([twin], tmp_path / "out", InputOptions(**options)))) for twin in twins]
    pixels = [rasterio.open(scene).read().astype(int) for scene in scenes]
    assert (pixels[1] - pixels[0] == 1).mean() > 0.99


def test_other_bounds_in_between_leave_a_scene_as_it_was(twins, tmp_path):
    def cut(bounds):
        return next(iter(find_inputs(twins[:1], tmp_path / "out", InputOptions(bounds=bounds))))

    first = cut(PART)
    before, time = identity_of(first), Path(first).stat().st_mtime_ns
    assert identity_of(cut(AROUND)) != before
    assert cut(PART) == first and Path(first).stat().st_mtime_ns == time and identity_of(first) == before
    shutil.rmtree(tmp_path / "out")
    assert cut(PART) == first and identity_of(first) == before
    shutil.copy(twins[1], twins[0])
    assert identity_of(first) != before  # another source


def test_one_file_by_several_names(twins, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "a")
    (tmp_path / "link.tif").symlink_to(twins[0])
    for name in ("x.tif", "./x.tif", "../a/x.tif", str(tmp_path / "b/../a/x.tif"), str(tmp_path / "link.tif")):
        assert identity_of(name) == identity_of(twins[0])
        with RasterSource(name) as source:
            assert source.identity == identity_of(twins[0])
    assert identity_of("../b/x.tif") != identity_of(twins[0])


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (
            "https://a.example/x.tif?st=2026&se=2027&sp=r&sv=1&sr=c&sig=ab%2F",
            "https://a.example/x.tif?st=8&sig=c",
            True,
        ),
        ("/vsicurl/https://a.example/x.tif?X-Amz-Date=1&X-Amz-Signature=2", "/vsicurl/https://a.example/x.tif", True),
        ("https://a.example/x.tif?version=2&token=1", "https://a.example/x.tif?version=2&token=5", True),
        ("https://a.example/x.tif?version=2&token=1", "https://a.example/x.tif?version=3&token=1", False),
        ("https://a.example/wms?layers=a", "https://a.example/wms?layers=b", False),
        ("https://a.example/x.tif", "https://a.example/y.tif", False),
    ],
)
def test_urls_without_what_permits_to_read_them(first, second, same, tmp_path):
    found = []
    for url in (first, second):
        file = tmp_path / "scene.vrt"
        file.write_text(f"<VRTDataset><SourceFilename>{url.replace('&', '&amp;')}</SourceFilename></VRTDataset>")
        described = identity(file, SimpleNamespace(driver="VRT", files=[str(file)]))
        found.append((identity(url, SimpleNamespace(driver="GTiff", files=[f"/vsicurl/{url}"])), described))
        assert "sig=" not in found[-1][0][0].lower()
    assert (found[0] == found[1], found[0][0] == found[1][0], found[0][1] == found[1][1]) == (same, same, same)


@pytest.mark.parametrize("kind", ["two.gpkg", "three.nc", "three.h5"])
def test_a_file_with_several_rasters_says_which(demo, write_raster, scene_pixels, tmp_path, kind):
    path = tmp_path / kind
    if kind == "two.gpkg":
        for table, append in (("north", "NO"), ("south", "YES")):
            options = {"raster_table": table, "append_subdataset": append}
            write_raster(scene_pixels, name=kind, driver="GPKG", **options, **UTM)
    else:
        rasterio.shutil.copy(write_raster(scene_pixels, **UTM), tmp_path / "new.nc", driver="netCDF", FORMAT="NC4")
        (tmp_path / "new.nc").rename(path)
    assert is_scene(path)
    status, _, errors = demo(path)
    count = 2 if "two" in kind else 3
    assert status == 1 and f"{kind}: holds {count} rasters; give the name of one: " in errors
    assert "not an image" not in errors
    with pytest.raises(InputError, match=f"holds {count} rasters; give the name of one"):
        find_inputs([str(path)], tmp_path / "out", InputOptions(bounds=AROUND))
    if count == 3:
        with RasterSource(next(iter(find_inputs([f'NETCDF:"{path}":Band2'], tmp_path)))) as source:
            assert (source.width, source.height) == (260, 200)


def test_other_bounds_once_do_not_end_an_unfinished_run(demo, write_raster, scene_pixels, tmp_path, monkeypatch):
    path = write_raster(scene_pixels, **UTM)
    part, wider = (",".join(map(str, bounds)) for bounds in (PART, AROUND))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(finishing, "write_cog", full)
        assert demo(path, "--bounds", part)[0] == 1
    status, _, errors = demo(path, "--bounds", wider)
    assert status == 1 and "holds an unfinished run with other settings" in errors
    monkeypatch.chdir(tmp_path)
    status, out, errors = demo("./scene.tif", "--bounds", part)
    assert status == 0 and (out / "scene_labels.tif").is_file(), errors


@pytest.mark.parametrize(("count", "end"), [(8, ""), (9, " and 1 more"), (12, " and 4 more")])
def test_of_many_rasters_in_a_file_eight_are_named(write_raster, tmp_path, count, end):
    for number in range(count):
        options = {"raster_table": f"t{number:02}", "append_subdataset": "YES" if number else "NO"}
        path = write_raster(np.zeros((1, 8, 8), np.uint8), name="many.gpkg", driver="GPKG", **options, **UTM)
    named = rf"holds {count} rasters; give the name of one: GPKG:[^ ]+(, GPKG:[^ ]+){{7}}{end}$"
    with pytest.raises(InputError, match=named):
        find_inputs([str(path)], tmp_path / "out", InputOptions(bounds=AROUND))


def test_another_no_data_value_leaves_nothing_behind(write_raster, scene_pixels):
    with rasterio.open(write_raster(scene_pixels, **UTM)) as dataset:
        with declared(dataset, 9) as virtual:
            name = virtual.name
            with rasterio.open(name) as again:
                assert (virtual.nodata, again.nodata) == (9, 9)
            assert ((virtual.read_masks(1) == 0) == (scene_pixels[0] == 9)).all()
        assert virtual.closed and not dataset.closed and dataset.nodata is None
        with pytest.raises(rasterio.errors.RasterioIOError):
            rasterio.open(name)  # a description in memory
