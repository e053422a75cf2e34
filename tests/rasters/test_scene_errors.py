"""Mistakes with rasters are reported in one line."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import UTM
from .fake import FakeModel, fake_mapper


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bands", "1,2,7"], "has no band 7; give numbers from 1 to 3"),
        (["--bands", "red"], "--bands: 'red' is not 3 numbers with commas, such as 4,3,2"),
        (["--stretch", "98,2"], "--stretch: '98,2' must be two rising percentiles from 0 to 100"),
        (["--min-area", "some"], "--min-area: 'some' is neither square metres"),
        (["--threshold", "30"], "--threshold: 30 is not from 0 to 1"),
        (["--aoi", "nowhere.gpkg"], "--aoi nowhere.gpkg: no such file"),
        (["--background", "road"], "'road' stands twice"),
        (["--gsd", "100"], "a factor of more than 16 is not supported, give another --gsd"),
        (["--gsd", "-1"], "--gsd: -1 is not a distance"),
    ],
)
def test_wrong_options_are_reported_in_one_line(demo, write_raster, scene_pixels, options, message):
    status, out, errors = demo(write_raster(scene_pixels, **UTM), *options)
    assert status in (1, 2)
    assert message in errors
    assert list(out.glob("*labels*")) == []


def test_files_that_cannot_be_segmented(demo, write_raster, scene_pixels, tmp_path):
    good = write_raster(scene_pixels, **UTM)
    (tmp_path / "cut.tif").write_bytes(good.read_bytes()[:20_000])
    status, out, errors = demo(tmp_path / "cut.tif")
    assert status == 1
    assert "cut.tif: damaged or cut off" in errors
    (tmp_path / "text.tif").write_text("no raster")
    assert "text.tif: not a raster that can be read" in demo(tmp_path / "text.tif")[2]
    (tmp_path / "points.geojson").write_text(
        '{"type":"FeatureCollection","features":[{"type":"Feature","properties":{},'
        '"geometry":{"type":"Point","coordinates":[9,47]}}]}'
    )
    assert "no polygon in this file" in demo(good, "--aoi", tmp_path / "points.geojson")[2]
    (tmp_path / "far.geojson").write_text(
        '{"type":"FeatureCollection","features":[{"type":"Feature","properties":{},"geometry":'
        '{"type":"Polygon","coordinates":[[[80,10],[81,10],[81,11],[80,10]]]}}]}'
    )
    assert "does not overlap with" in demo(good, "--aoi", tmp_path / "far.geojson")[2]
    assert "--aoi" in demo(good, "--aoi", tmp_path / "text.tif")[2]
    assert "not georeferenced; give pixels" in demo(write_raster(scene_pixels, name="p.tif"), "--min-area", "50")[2]
    assert [path.name for path in out.glob("*labels*")] == []


@pytest.mark.parametrize("kind", ["declared", "alpha", "some"])
def test_an_empty_map_is_told(write_raster, scene_pixels, tmp_path, caplog, kind):
    pixels = np.full_like(scene_pixels, 7)
    if kind == "some":
        pixels[:, :50] = 100
    path = write_raster(
        np.concatenate([scene_pixels, np.zeros_like(scene_pixels[:1])]) if kind == "alpha" else pixels,
        **(UTM if kind == "alpha" else {**UTM, "nodata": 7}),
        **({"photometric": "rgb", "alpha": "yes"} if kind == "alpha" else {}),
    )
    result = fake_mapper(FakeModel())(path, tmp_path / "out")
    assert (result.labels == 255).all() == (kind != "some")
    assert ("no pixel with data, so the map is empty" in caplog.text) == (kind != "some")
