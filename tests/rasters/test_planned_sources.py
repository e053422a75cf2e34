"""A scene is read in the same way when its plan is read from JSON, in other threads, and at other sizes."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.windows import Window

from sgovss.errors import InputError
from sgovss.rasters import no_data, source
from sgovss.rasters.inputs import InputOptions, find_inputs
from sgovss.rasters.options import SceneOptions
from sgovss.rasters.partial import begin
from sgovss.rasters.plan import ScenePlan
from sgovss.rasters.source import RasterSource
from sgovss.rasters.summary import open_source

from .conftest import UTM
from .fake import FakeModel, fake_mapper, fill_all

H, W = 200, 260
WHOLE = Window(0, 0, W, H)


@pytest.fixture
def noise() -> np.ndarray:
    """(3, 200, 260) uint8 of noise without black and white."""
    return np.random.default_rng(0).integers(20, 236, (3, H, W), dtype=np.uint8)


def collar(noise, write_raster, tmp_path):
    noise[:, :, :77] = 0
    return write_raster(noise, **UTM)


def filler(noise, write_raster, tmp_path):
    pixels = noise.astype(np.int16)
    pixels[:, 40:90, 30:200] = -9999
    return write_raster(pixels, **UTM)


def infrared(noise, write_raster, tmp_path):
    band = np.random.default_rng(1).integers(0, 4, (1, H, W), dtype=np.uint8)
    return write_raster(np.concatenate([noise, band]), photometric="RGB", alpha="yes", **UTM)


def mosaic(noise, write_raster, tmp_path):
    noise[:, :, :77] = 0
    (tmp_path / "tiles").mkdir()
    for side, name in ((0, "a"), (130, "b")):
        place = UTM | {"transform": UTM["transform"] @ rasterio.Affine.translation(side, 0)}
        write_raster(noise[:, :, side : side + 130], name=f"tiles/{name}.tif", **place)
    return next(iter(find_inputs([str(tmp_path / "tiles")], tmp_path / "out", InputOptions(mosaic=True))))


def points(noise, write_raster, tmp_path):
    path = write_raster(noise)
    with rasterio.open(path, "r+") as raster:
        corners = [(0, 0), (0, W), (H, 0), (H, W)]
        gcps = [GroundControlPoint(r, c, 500_000 + 0.3 * c, 5_300_000 - 0.3 * r) for r, c in corners]
        raster.gcps = gcps, rasterio.CRS.from_epsg(32632)
    return path


@pytest.mark.parametrize("make", [collar, filler, infrared, mosaic, points])
def test_a_plan_and_a_thread_read_what_the_first_source_read(noise, write_raster, tmp_path, monkeypatch, make):
    options = SceneOptions(fit_gcps=make is points)
    name = make(noise, write_raster, tmp_path)
    plan = fake_mapper(FakeModel(), options=options).plan(name, tmp_path / "out" / "scene")
    with RasterSource.from_options(name, options) as first:
        # What was found out once is not looked for again, since that reads the whole scene.
        monkeypatch.setattr(source, "find_no_data", None)
        again = ScenePlan.from_json(json.loads(json.dumps(plan.as_json())))
        with open_source(again) as second, ThreadPoolExecutor(1) as pool:
            other = pool.submit(second.another).result()
            assert second.georeference == first.georeference
            for window, size in ((WHOLE, (H, W)), (WHOLE, (70, 90)), (Window(60, 30, 50, 70), (100, 140))):
                expected = first.read(window, size)
                for found in (second.read(window, size), pool.submit(other.read, window, size).result()):
                    assert all((a == b).all() for a, b in zip(found, expected, strict=True))
            other.close()
            assert (second.valid(WHOLE) == first.valid(WHOLE)).all()


@pytest.mark.parametrize("colour", [0, 255])
@pytest.mark.parametrize("size", [(50, 65), (100, 260), (400, 520)])
def test_a_collar_does_not_spread_when_a_view_has_another_size(write_raster, noise, colour, size):
    noise[:] = 128
    noise[:, :, :77] = colour
    with RasterSource(write_raster(noise, **UTM)) as opened:
        view, valid = opened.read(WHOLE, size)
        assert valid.mean() == pytest.approx(1 - 77 / W, abs=0.02)
        assert (view == 128).all()


@pytest.mark.parametrize("make", [collar, filler, mosaic])
def test_pixels_left_out_get_no_class(write_raster, noise, tmp_path, make):
    name = make(noise, write_raster, tmp_path)
    mapper = fake_mapper(FakeModel(), options=SceneOptions(gsd=0.5))
    plan = mapper.plan(name, tmp_path / "scene")
    pixels = fill_all(mapper, plan, plan.serial_order([*plan.units.all()]))
    with RasterSource(name) as opened:
        valid = opened.valid(WHOLE)
    assert 0.2 < valid.mean() < 0.95
    for unit, found in pixels.items():
        box = plan.units.box(unit)
        assert ((found.labels != 255) == valid[box.top : box.bottom, box.left : box.right]).all()


def test_what_was_found_is_said_once(write_raster, noise, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        fake_mapper(FakeModel())(collar(noise, write_raster, tmp_path), tmp_path / "scene")
    assert sum("a constant area (0, 0, 0)" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(
    "options, changed",
    [({"no_data": "none"}, "no data"), ({"fit_gcps": True}, "fit gcps"), ({"stretch_range": ((0, 99),)}, "stretch")],
)
def test_an_unfinished_run_has_the_same_options(write_raster, noise, tmp_path, options, changed):
    path, target = write_raster(noise, **UTM), tmp_path / "scene"
    mapper = fake_mapper(FakeModel())
    plan = mapper.plan(path, target)
    begin(plan)
    with pytest.raises(InputError, match=f"other settings .{changed}"):
        fake_mapper(FakeModel(), options=SceneOptions(**options)).plan(path, target)


def test_no_data_as_json_keeps_its_collars(write_raster, noise, tmp_path):
    with RasterSource(collar(noise, write_raster, tmp_path)) as opened:
        before = opened.no_data
    after = no_data.NoData.from_json(json.loads(json.dumps(before.as_json())))
    assert (after.masked, after.value, after.collars[0].colour) == (True, None, (0, 0, 0))
    assert (after.collars[0].region == before.collars[0].region).all() and before.collars[0].region.any()


def test_no_data_as_json_keeps_its_fillers(write_raster, noise):
    pixels = noise.astype(np.float32)
    pixels[:, :9, :9] = -9999
    with RasterSource(write_raster(pixels, **UTM)) as opened:
        assert no_data.NoData.from_json(json.loads(json.dumps(opened.no_data.as_json()))).fillers == (-9999,)
