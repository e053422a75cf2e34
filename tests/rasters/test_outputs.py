"""Outputs of a scene: merged regions with their confidence, overviews by majority, sizes of pixels on the ground."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from rasterio.transform import from_origin

from sgovss.rasters.areas import ground_sample_distances
from sgovss.rasters.options import SceneOptions

from .conftest import UTM, read
from .fake import FakeModel, fake_mapper, scene_of


@pytest.mark.parametrize("smallest", [5, 200, 2000])
def test_merged_pixels_have_no_confidence_and_count_for_their_new_class(write_raster, tmp_path, smallest):
    path = scene_of(write_raster, 600, 540, **UTM)
    before = fake_mapper(FakeModel(), options=SceneOptions(confidence=True))(path, tmp_path / "a")
    options = SceneOptions(confidence=True, min_area=smallest, min_area_in_pixels=True)
    after = fake_mapper(FakeModel(), options=options)(path, tmp_path / "b")
    changed = before.labels != after.labels
    assert changed.any()
    assert (np.isnan(after.scores) == changed).all()
    assert (after.scores[~changed] == before.scores[~changed]).all()
    counts = np.bincount(after.labels.ravel(), minlength=3) / after.labels.size
    assert [*after.shares.values()] == pytest.approx(counts.tolist())
    assert sum(after.areas.values()) == pytest.approx(sum(before.areas.values()))


@pytest.mark.parametrize("smallest", [600 * 540, 600 * 540 + 1, 10**12])
def test_regions_are_not_merged_if_none_is_large_enough(write_raster, tmp_path, caplog, smallest):
    path = scene_of(write_raster, 600, 540, **UTM)
    before = fake_mapper(FakeModel())(path, tmp_path / "a")
    options = SceneOptions(min_area=smallest, min_area_in_pixels=True)
    after = fake_mapper(FakeModel(), options=options)(path, tmp_path / "b")
    assert (before.labels == after.labels).all()
    assert ("the raster itself is smaller" in caplog.text) == (smallest > 600 * 540)


def test_overviews_show_the_majority(write_raster, tmp_path):
    path = scene_of(write_raster, 1100, 1200)
    result = fake_mapper(FakeModel())(path, tmp_path / "a")
    labels = read(result.files["labels"])
    with rasterio.open(result.files["labels"], overview_level=0) as overview:
        small = overview.read(1)
    blocks = labels[: small.shape[0] * 2, : small.shape[1] * 2].reshape(small.shape[0], 2, small.shape[1], 2)
    votes = np.stack([(blocks == label).sum(axis=(1, 3)) for label in range(3)])
    assert (np.take_along_axis(votes, small[None].astype(int), 0)[0] == votes.max(axis=0)).all()


@pytest.mark.parametrize(
    ("crs", "transform", "expected"),
    [
        ("EPSG:32632", from_origin(500_000, 5_300_000, 0.3, 0.6), (0.6, 0.3)),
        (
            "EPSG:32632",
            Affine.translation(500_000, 5_300_000) * Affine.rotation(30) * Affine.scale(0.5, -0.2),
            (0.2, 0.5),
        ),
        ("EPSG:4326", from_origin(15, 60, 1e-5, 1e-5), (1.114, 0.558)),
        ("EPSG:3857", from_origin(1_500_000, 8_400_000, 1, 1), (0.5, 0.5)),
    ],
)
def test_the_sides_of_a_pixel_on_the_ground(crs, transform, expected):
    down, across = ground_sample_distances(rasterio.crs.CRS.from_user_input(crs), transform, 100, 100)
    assert (down, across) == pytest.approx(expected, rel=0.02)
    geodesic = pyproj.Geod(ellps="WGS84")
    if crs == "EPSG:4326":
        assert across == pytest.approx(geodesic.line_length([15, 15.00001], [59.9995, 59.9995]), rel=1e-6)


def test_a_pixel_is_measured_at_the_middle_of_the_raster():
    """In a polar projection the size of a pixel depends on row and column."""
    crs, transform = rasterio.crs.CRS.from_epsg(3413), from_origin(-3_000_000, 1_000_000, 1000, 1000)
    middle = [transform @ place for place in ((2000, 1500.5), (2001, 1500.5))]
    longitudes, latitudes = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(*zip(*middle, strict=True))
    expected = pyproj.Geod(ellps="WGS84").line_length(longitudes, latitudes)
    _, across = ground_sample_distances(crs, transform, 3000, 4000)
    assert across == pytest.approx(expected, rel=1e-5)
    assert across != pytest.approx(ground_sample_distances(crs, transform, 3000, 1000)[1], rel=1e-2)


def test_pixels_that_are_not_georeferenced_have_no_size():
    assert ground_sample_distances(None, Affine.identity(), 10, 10) is None
