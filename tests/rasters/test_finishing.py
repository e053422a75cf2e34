"""How the polygons of a scene are simplified and squared: in metres, or in pixels where metres are not known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyogrio
import pytest
import shapely
from rasterio.features import rasterize
from rasterio.transform import from_origin
from shapely import affinity

from sgovss.rasters import finishing
from sgovss.rasters.options import SceneOptions

from .fake import FakeModel, fake_mapper
from .test_squaring import angles


@pytest.fixture
def colours() -> np.ndarray:
    """(3, 140, 150) uint8: a road (red) with a turned rectangle of water (green)."""
    form = affinity.rotate(shapely.box(40, 40, 96, 80), 30)
    water = rasterize([(form, 1)], (140, 150), dtype="uint8") > 0
    return np.where(water, np.array([20, 220, 20])[:, None, None], np.array([220, 20, 20])[:, None, None]).astype("u1")


def test_angles_are_right_in_pixels_where_the_ground_is_not_known(write_raster, colours, tmp_path):
    options = SceneOptions(polygons=True, square=("water",))
    result = fake_mapper(FakeModel(), options=options)(write_raster(colours), tmp_path / "scene")
    metadata, _, geometries, fields = pyogrio.raw.read(result.files["polygons"])
    classes = dict(zip(metadata["fields"], fields, strict=True))["class"]
    (water,) = shapely.from_wkb(geometries[classes == "water"])
    assert angles(water).max() < 1e-6 and len(shapely.get_coordinates(water)) == 5
    assert result.facts["right angles"] == "1 of 1 polygons"


@pytest.mark.parametrize(
    ("options", "tolerance"), [({}, None), ({"simplify": 3.0}, (6.0, 3.0)), ({"simplify": 0.25}, (0.5, 3.0))]
)
def test_metres_become_widths_of_a_pixel(write_raster, colours, tmp_path, monkeypatch, options, tolerance):
    """Pixels of 1.5 m down and 0.5 m across."""
    asked = {}

    def square(labels, size, ratio, folder):
        asked.update(labels=labels, size=size, ratio=ratio)
        return SimpleNamespace(fitted=1200, kept=300)

    def write(*_, square, **__):
        assert square.fitted == 1200
        return 4321

    monkeypatch.setattr(finishing, "Squaring", square)
    monkeypatch.setattr(finishing, "write_polygons", lambda *args, **more: asked.update(t=args[4]) or write(**more))
    path = write_raster(colours, crs="EPSG:32632", transform=from_origin(500_000, 5_300_000, 0.5, 1.5))
    options = SceneOptions(polygons=True, square=("tree", "water"), gsd=1.0, **options)
    result = fake_mapper(FakeModel(), options=options)(path, tmp_path / "scene")
    assert asked["t"] == (tolerance and pytest.approx(tolerance, rel=2e-3))
    assert (asked["labels"], asked["size"], asked["ratio"]) == ([2, 1], (140, 150), pytest.approx(3.0, rel=2e-3))
    assert (result.facts["polygons"], result.facts["right angles"]) == ("4,321", "1,200 of 1,500 polygons")
