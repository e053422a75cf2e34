"""What is planned for a scene: its resolution, windows at once, regions to merge, and what the user is told."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import torch
from rasterio.control import GroundControlPoint
from rasterio.transform import from_origin

from sgovss.errors import InputError
from sgovss.rasters.options import SceneOptions
from sgovss.rasters.planning import metres, windows_at_once

from .fake import FakeModel, fake_mapper

LOCAL = 'LOCAL_CS["a building site",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def gpu_memory(monkeypatch):
    """A function that sets the bytes of memory of a GPU."""

    def give(size: int) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=size))

    return give


@pytest.mark.parametrize(
    ("device", "side", "classes", "windows"),
    [
        (CPU, 256, 256, 1),
        # A pixel takes 2 KiB, and 8 bytes for each class: 4 KiB with 256 classes. A quarter of the memory is 4 GiB.
        (GPU, 512, 256, 4),
        (GPU, 512, 768, 2),
        (GPU, 1024, 256, 1),
        (GPU, 2048, 256, 1),  # at least one
        (GPU, 256, 256, 16),
        (GPU, 128, 256, 16),  # at most 16
    ],
)
def test_a_gpu_gets_several_windows_at_once(gpu_memory, device, side, classes, windows):
    gpu_memory(16 * 2**30)
    assert windows_at_once(device, side * side, classes) == windows


@pytest.mark.parametrize(("views", "batch", "windows"), [([], 0, 8), ([2.0], 0, 2), ([0.5], 0, 8), ([], 5, 5)])
def test_the_largest_view_of_a_window_counts(gpu_memory, write_raster, tmp_path, views, batch, windows):
    """A view of twice the size has four times as many pixels; without one, the window itself is the largest."""
    gpu_memory(4 * 8 * 96 * 64 * 2072)  # windows of 96 x 64 pixels, which take 2,072 bytes each with three classes
    model = FakeModel()
    model.device = GPU
    mapper = fake_mapper(model, BATCH=batch)
    mapper.predictor.cfg.TEST.VIEWS = views
    plan = mapper.plan(write_raster(np.full((3, 100, 50), 90, np.uint8)), tmp_path / "scene")
    assert (plan.down.window, plan.across.window) == (96, 64)
    assert plan.batch == windows


def utm(down: float, across: float) -> dict[str, object]:
    return {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_300_000, across, down)}


@pytest.mark.parametrize(
    ("sides", "gsd", "lengths"),
    [
        ((0.6, 0.3), 0.3, (400, 100)),
        ((0.15, 0.6), 0.3, (100, 200)),
        ((0.3, 0.3), 0.0, (200, 100)),
        ((0.2, 0.8), 0.0, (100, 200)),  # as many pixels as before, but square ones
        # A difference of at most a tenth is left as it is.
        ((0.32, 0.28), 0.3, (200, 100)),
        ((0.34, 0.26), 0.3, (227, 87)),
    ],
)
def test_the_model_gets_square_pixels_of_the_wanted_size(write_raster, tmp_path, sides, gsd, lengths):
    path = write_raster(np.full((3, 200, 100), 90, np.uint8), **utm(*sides))
    mapper = fake_mapper(FakeModel(), options=SceneOptions(gsd=gsd))
    mapper.predictor.cfg.INPUT.GROUND_SAMPLE_DISTANCE = 0.0
    plan = mapper.plan(path, tmp_path / "scene")
    assert (plan.down.length, plan.across.length) == pytest.approx(lengths, abs=1)
    assert plan.gsd == pytest.approx(sides, rel=1e-3)


@pytest.mark.parametrize(("overlap", "stride"), [(None, 64), (0.0, 128), (0.25, 96), (0.3, 64), (0.75, 32)])
def test_the_overlap_of_windows_is_a_share_of_them(write_raster, tmp_path, overlap, stride):
    """The model takes multiples of 32 pixels."""
    path = write_raster(np.full((3, 200, 300), 90, np.uint8))
    plan = fake_mapper(FakeModel(), options=SceneOptions(overlap=overlap), WINDOW=128).plan(path, tmp_path / "scene")
    assert (plan.down.window, plan.down.stride, plan.across.stride) == (128, stride, stride)


@pytest.mark.parametrize(("gsd", "fits"), [(4.7, True), (4.9, False), (0.0192, True), (0.0184, False)])
def test_a_scene_is_resampled_by_a_factor_of_16_at_most(write_raster, tmp_path, gsd, fits):
    path = write_raster(np.full((3, 100, 100), 90, np.uint8), **utm(0.3, 0.3))
    mapper = fake_mapper(FakeModel(), options=SceneOptions(gsd=gsd))
    if fits:
        assert mapper.plan(path, tmp_path / "scene").down.scale == pytest.approx(0.3 / gsd, rel=0.1)
    else:
        with pytest.raises(InputError, match=r"has 0\.3 m per pixel, and the model is to get .* more than 16 is not"):
            mapper.plan(path, tmp_path / "scene")


def line_of_points(path):
    with rasterio.open(path, "r+") as raster:
        points = [GroundControlPoint(row=i, col=i, x=500_000 + i, y=5_300_000 - i) for i in range(4)]
        raster.gcps = points, rasterio.CRS.from_epsg(32632)
    return path


@pytest.mark.parametrize(
    ("place", "change", "reason"),
    [
        ({}, None, "it is not georeferenced"),
        ({"crs": LOCAL, "transform": from_origin(0, 0, 0.3, 0.3)}, None, "its coordinates have no place on the earth"),
        ({"transform": from_origin(5, 5, 0.3, 0.3)}, None, "it has no coordinate reference system"),
        ({}, line_of_points, "nothing fits its 4 ground control points"),
    ],
)
def test_it_is_said_why_the_size_of_pixels_is_not_known(write_raster, tmp_path, caplog, place, change, reason):
    path = write_raster(np.full((3, 100, 50), 90, np.uint8), **place)
    if change is not None:
        change(path)
    with caplog.at_level(logging.WARNING):
        plan = fake_mapper(FakeModel()).plan(path, tmp_path / "scene")
    assert (plan.down.length, plan.across.length, plan.gsd) == (100, 50, None)
    assert f"{path}: segmented at its own resolution, because {reason}" in caplog.text


def test_a_model_whose_resolution_is_not_known_gets_the_scene_as_it_is(write_raster, tmp_path, caplog):
    path = write_raster(np.full((3, 100, 50), 90, np.uint8), **utm(0.3, 0.3))
    mapper = fake_mapper(FakeModel())
    mapper.plan(path, tmp_path / "scene")
    assert not caplog.text
    mapper.predictor.cfg.INPUT.GROUND_SAMPLE_DISTANCE = 0.0
    mapper.plan(path, tmp_path / "other")
    assert "because the model's ground sample distance is not known (see --gsd)" in caplog.text


@pytest.mark.parametrize(
    ("options", "smallest"),
    [
        ({}, 0),
        ({"min_area": 7, "min_area_in_pixels": True}, 7),
        ({"min_area": 3.0}, 6),  # pixels of 0.5 square metres
        ({"min_area": 3.2}, 7),
    ],
)
def test_regions_of_fewer_pixels_are_merged(write_raster, tmp_path, options, smallest):
    place = {"crs": "EPSG:6933", "transform": from_origin(0, 0, 0.5, 1.0)}  # keeps areas
    path = write_raster(np.full((3, 100, 50), 90, np.uint8), **place)
    assert fake_mapper(FakeModel(), options=SceneOptions(**options)).plan(path, tmp_path / "a").smallest == smallest


def test_square_metres_need_a_georeference(write_raster, tmp_path):
    path = write_raster(np.full((3, 100, 50), 90, np.uint8))
    pixels = SceneOptions(min_area=7, min_area_in_pixels=True)
    assert fake_mapper(FakeModel(), options=pixels).plan(path, tmp_path / "a").smallest == 7
    with pytest.raises(InputError, match=r"--min-area: .* is not georeferenced; give pixels, such as 50px"):
        fake_mapper(FakeModel(), options=SceneOptions(min_area=3)).plan(path, tmp_path / "b")
    with pytest.raises(InputError, match=r"--simplify: .* is not georeferenced, so metres are not known"):
        fake_mapper(FakeModel(), options=SceneOptions(simplify=1, polygons=True)).plan(path, tmp_path / "c")


@pytest.mark.parametrize(
    ("gsd", "text"),
    [((0.3, 0.3), "0.3 m"), ((1.05, 1.0), "1.02 m"), ((0.8, 0.2), "0.8 x 0.2 m"), ((0.9, 1), "0.949 m")],
)
def test_the_size_of_a_pixel_in_words(gsd, text):
    assert metres(gsd) == text
