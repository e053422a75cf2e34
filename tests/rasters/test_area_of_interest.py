"""The area of interest: all layers count, one can be named, and areas larger than the projection are cut first."""

from __future__ import annotations

import json
import os
import zipfile

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from rasterio.transform import from_origin
from rasterio.windows import Window

from sgovss.errors import InputError
from sgovss.rasters.area_of_interest import AreaOfInterest, _extents
from sgovss.rasters.planning import _file_identity
from sgovss.rasters.source import RasterSource

from .conftest import UTM

WHOLE = Window(0, 0, 260, 200)
CENTRES = 500_000.15 + 0.3 * np.arange(260), 5_299_999.85 - 0.3 * np.arange(200)
SMALL, LARGE = shapely.box(500_000, 5_299_990, 500_010, 5_300_000), shapely.box(500_012, 5_299_960, 500_060, 5_299_988)


def inside(*shapes):
    """(200, 260) bool: pixels of the scene whose centre is inside one of the shapes."""
    x, y = np.meshgrid(*CENTRES)
    return np.any([shapely.contains_xy(shape, x, y) for shape in shapes], axis=0)


def save(path, crs="EPSG:32632", driver=None, **layers):
    for number, (name, shape) in enumerate(layers.items()):
        pyogrio.raw.write(
            path, geometry=shapely.to_wkb(np.array([shape], object)), field_data=[np.array([1])], fields=["a"],
            geometry_type=shape.geom_type, crs=crs, driver=driver, layer=name, append=number > 0,
        )  # fmt: skip
    return path


@pytest.fixture
def scene(write_raster, scene_pixels):
    with RasterSource(write_raster(scene_pixels, **UTM)) as source:
        yield source


@pytest.mark.parametrize("suffix", ["gpkg", "kml"])
def test_polygons_of_all_layers_count(scene, tmp_path, suffix):
    point = shapely.Point(500_001, 5_299_999)
    shapes = {"parcel": SMALL, "wells": point, "district": LARGE, "elsewhere": shapely.box(0, 0, 10, 10)}
    crs = "EPSG:32632"
    if suffix == "kml":
        across, crs = pyproj.Transformer.from_crs(32632, 4326, always_xy=True).transform, "EPSG:4326"
        shapes = {name: shapely.transform(shape, across, interleaved=False) for name, shape in shapes.items()}
    path = save(tmp_path / f"project.{suffix}", crs=crs, driver="GPKG" if suffix == "gpkg" else "KML", **shapes)
    area = AreaOfInterest(path, scene)
    assert (area(WHOLE) == inside(SMALL, LARGE)).mean() > 0.999
    assert area.remarks == [
        f"--aoi {path}: the polygons of all its layers are used: parcel, wells, district, elsewhere"
    ]


def test_a_large_raster_is_searched_on_a_small_mask(write_raster, tmp_path):
    height, width = 1_024, 2_048
    shape = shapely.box(500_060, 5_299_700, 500_300, 5_299_800)
    path = save(tmp_path / "area.gpkg", parcel=shape)
    with RasterSource(write_raster(np.ones((3, height, width), np.uint8), **UTM)) as source:
        area = AreaOfInterest(path, source)
        fine, coarse = (area(Window(0, 0, width, height), coarse=small) for small in (False, True))
    assert fine.shape == (height, width) and coarse.shape == (256, 512)
    expected = fine.reshape(256, 4, 512, 4).any(axis=(1, 3))
    assert coarse[expected].all() and coarse.sum() < 1.1 * expected.sum()


def test_one_layer_by_its_name(scene, tmp_path):
    path = save(tmp_path / "project.gpkg", parcel=SMALL, district=LARGE)
    for name, shape in (("parcel", SMALL), ("district", LARGE)):
        assert (AreaOfInterest(f"{path}:{name}", scene)(WHOLE) == inside(shape)).all()
    with pytest.raises(InputError, match="no layer 'field' in this file; it has parcel, district"):
        AreaOfInterest(f"{path}:field", scene)
    with pytest.raises(InputError, match=r"nowhere.gpkg:field: no such file"):
        AreaOfInterest("nowhere.gpkg:field", scene)


def test_the_name_of_a_layer_may_have_colons(scene, tmp_path):
    path = save(tmp_path / "a:b.gpkg", **{"parcel": SMALL, "district:new:2": LARGE})
    for name, shape in (("parcel", SMALL), ("district:new:2", LARGE)):
        assert (AreaOfInterest(f"{path}:{name}", scene)(WHOLE) == inside(shape)).all()
    with pytest.raises(InputError, match="no layer 'x:y' in this file; it has parcel, district:new:2"):
        AreaOfInterest(f"{path}:x:y", scene)
    with pytest.raises(InputError, match=r"a:b.gpkg:: no such file"):
        AreaOfInterest(f"{path}:", scene)


def test_a_file_inside_an_archive(scene, tmp_path, monkeypatch):
    path = save(tmp_path / "project.gpkg", **{"parcel": SMALL, "district:new": LARGE})
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(path, "x/project.gpkg")
    path.unlink()
    monkeypatch.chdir(tmp_path)
    for folder in ("", f"{tmp_path}/"):
        name = f"/vsizip/{folder}all.zip/x/project.gpkg"
        assert (AreaOfInterest(name, scene)(WHOLE) == inside(SMALL, LARGE)).all()
        assert (AreaOfInterest(f"{name}:district:new", scene)(WHOLE) == inside(LARGE)).all()
    for name, message in (("all.zip/none.gpkg", "not a vector file"), ("none.zip/project.gpkg", "no such file")):
        with pytest.raises(InputError, match=message):
            AreaOfInterest(f"/vsizip/{name}", scene)


def test_a_changed_archive_is_another_area(tmp_path):
    archive = tmp_path / "all.zip"
    archive.touch()
    names = [f"/vsizip/{archive}/{inner}" for inner in ("a.gpkg", "b.gpkg", "a.gpkg:x")]
    before = [_file_identity(name) for name in names]
    os.utime(archive, (1, 1))
    after = [_file_identity(name) for name in names]
    assert len({str(identity) for identity in before + after}) == 6


@pytest.mark.parametrize("name", ["a!b.gpkg", "a:b.gpkg", "a#b?.geojson", "a!b.shp", "x y/ü!.gpkg"])
def test_paths_with_odd_characters(scene, tmp_path, monkeypatch, name):
    plain = save(tmp_path / f"plain.{name.rpartition('.')[2]}", layer=SMALL)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    for file in tmp_path.glob(f"{plain.stem}.*"):
        file.rename((tmp_path / name).with_suffix(file.suffix))
    monkeypatch.chdir(tmp_path)
    for given in (name, tmp_path / name):
        assert (AreaOfInterest(given, scene)(WHOLE) == inside(SMALL)).all()


WORLD = shapely.box(-180, -90, 180, 90)


@pytest.mark.parametrize(
    ("area", "crs"),
    [
        (WORLD, "EPSG:4326"),
        (shapely.box(-180, 0, 180, 90), "EPSG:4326"),
        (shapely.box(-100, -80, 170, 85), "EPSG:4326"),
        (shapely.box(-2.003e7, -2.003e7, 2.003e7, 2.003e7), "EPSG:3857"),
        (shapely.MultiPolygon([shapely.box(-180, -90, -170, 90), shapely.box(0, -90, 180, 90)]), "EPSG:4326"),
    ],
)
@pytest.mark.parametrize(
    ("code", "x", "y"),
    [(32632, 500_000, 5_300_000), (2056, 2_600_000, 1_200_000), (25832, 400_000, 5_700_000), (3857, 1e6, 6e6)],
)
def test_an_area_larger_than_the_projection(write_raster, scene_pixels, tmp_path, area, crs, code, x, y):
    place = {"crs": f"EPSG:{code}", "transform": from_origin(x, y, 0.3, 0.3)}
    path = save(tmp_path / "world.gpkg", crs=crs, layer=area)
    with RasterSource(write_raster(scene_pixels, **place)) as source:
        assert AreaOfInterest(path, source)(WHOLE).all()


def test_half_of_the_world_is_half_of_a_scene(write_raster, scene_pixels, tmp_path):
    """A hemisphere whose border runs through the scene, in coordinates that bend it."""
    place = {"crs": "EPSG:3035", "transform": from_origin(3_500_000, 3_200_000, 500, 500)}
    columns, rows = np.meshgrid(np.arange(260) + 0.5, np.arange(200) + 0.5)
    across = pyproj.Transformer.from_crs(3035, 4326, always_xy=True)
    longitudes, _ = across.transform(3_500_000 + 500 * columns, 3_200_000 - 500 * rows)
    border = longitudes[100, 130]
    path = save(tmp_path / "west.gpkg", crs="EPSG:4326", layer=shapely.box(-180, -90, border, 90))
    with RasterSource(write_raster(scene_pixels, **place)) as source:
        mask = AreaOfInterest(path, source)(WHOLE)
    assert 0.2 < mask.mean() < 0.8 and (mask == (longitudes < border)).mean() > 0.999


def test_a_scene_at_the_antimeridian(write_raster, scene_pixels, tmp_path):
    place = {"crs": "EPSG:32660", "transform": from_origin(590_000, 7_000_000, 500, 500)}
    halves = {"west": shapely.box(170, 0, 180, 90), "east": shapely.box(-180, 0, -170, 90), "world": WORLD}
    with RasterSource(write_raster(scene_pixels, **place)) as source:
        masks = {
            name: AreaOfInterest(save(tmp_path / f"{name}.gpkg", "EPSG:4326", layer=shape), source)(WHOLE)
            for name, shape in halves.items()
        }
    assert masks["world"].mean() > 0.995
    assert (masks["west"] ^ masks["east"]).mean() > 0.995 and 0.1 < masks["west"].mean() < 0.9


@pytest.mark.parametrize("west", [170, -190, 0, -360])
@pytest.mark.parametrize("code", [32660, 4326])
def test_longitudes_may_exceed_180_degrees(write_raster, scene_pixels, tmp_path, west, code):
    """The area is that of 170 to 190 degrees, or of the whole earth."""
    origin = {32660: (590_000, 7_000_000, 500, 500), 4326: (-179.99, 62.0, 0.01, 0.01)}[code]
    area = shapely.box(west, 0, west + (20 if west % 180 else 360), 90)
    path = save(tmp_path / "area.gpkg", crs="EPSG:4326", layer=area)
    with RasterSource(write_raster(scene_pixels, crs=f"EPSG:{code}", transform=from_origin(*origin))) as source:
        assert AreaOfInterest(path, source)(WHOLE).mean() > 0.995


@pytest.mark.parametrize("bounds", [(-100, -70, 100, 70), (0, -60, 120, 80)])
def test_a_map_of_the_whole_earth_shows_meridians_as_curves(write_raster, tmp_path, bounds):
    """Its corners are not on the earth, so its extent in degrees is not known."""
    place = {"crs": "ESRI:54009", "transform": from_origin(-18_050_000, 9_500_000, 100_000, 100_000)}
    columns, rows = np.meshgrid(np.arange(361) + 0.5, np.arange(190) + 0.5)
    back = pyproj.Transformer.from_crs("ESRI:54009", 4326, always_xy=True).transform
    x, y = back(1e5 * columns - 18_050_000, 9_500_000 - 1e5 * rows)
    expected = (bounds[0] < x) & (x < bounds[2]) & (bounds[1] < y) & (y < bounds[3])
    path = save(tmp_path / "area.gpkg", crs="EPSG:4326", layer=shapely.box(*bounds))
    with RasterSource(write_raster(np.full((3, 190, 361), 90, np.uint8), **place)) as source:
        found = AreaOfInterest(path, source)(Window(0, 0, 361, 190))
    assert 0.2 < expected.mean() < 0.4 and (found != expected).mean() < 0.001


@pytest.mark.parametrize("sweep", ["x", "y"])
@pytest.mark.parametrize("below", [0, 140.7, -137])
@pytest.mark.parametrize(
    "bounds", [(-180, -90, 180, 90), (0, -90, 360, 90), (-180, 0, 180, 90), (-60, -90, 0, 90), (110, -90, 180, 90)]
)
def test_the_disk_that_a_satellite_sees(write_raster, tmp_path, bounds, below, sweep):
    """What lies outside of the disk, and behind it, is cut off."""
    crs = f"+proj=geos +h=35785831 +lon_0={below} +sweep={sweep} +ellps=WGS84 +units=m"
    place = {"crs": crs, "transform": from_origin(-5_600_000, 5_600_000, 40_000, 40_000)}
    columns, rows = np.meshgrid(np.arange(280) + 0.5, np.arange(280) + 0.5)
    back = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform
    x, y = back(4e4 * columns - 5_600_000, 5_600_000 - 4e4 * rows)
    west = np.isfinite(x) & (((x - bounds[0]) % 360 < bounds[2] - bounds[0]) | (bounds[2] - bounds[0] == 360))
    expected = west & (bounds[1] < y) & (y < bounds[3])
    path = save(tmp_path / "area.gpkg", crs="EPSG:4326", layer=shapely.box(*bounds))
    with RasterSource(write_raster(np.full((3, 280, 280), 90, np.uint8), **place)) as source:
        if not expected.any():
            with pytest.raises(InputError, match="does not overlap"):
                AreaOfInterest(path, source)
            return
        found = AreaOfInterest(path, source)(Window(0, 0, 280, 280))
    assert (found != expected).mean() < 0.005


@pytest.mark.parametrize(
    ("west", "expected"),
    [(10, [(9, -11, 31, 11)]), (170, [(169, -11, 180, 11), (-180, -11, -169, 11)])],
    ids=["a box", "two boxes at the antimeridian"],
)
def test_the_extent_is_enlarged_by_a_twentieth(write_raster, west, expected):
    """20 x 20 degrees, in a projection whose meridians and parallels are straight."""
    across = pyproj.Transformer.from_crs(4326, 3832, always_xy=True)
    (left, right), (bottom, top) = across.transform([west, west + 20], [-10, 10])
    place = {"crs": "EPSG:3832", "transform": from_origin(left, top, (right - left) / 20, (top - bottom) / 20)}
    back = pyproj.Transformer.from_crs(3832, 4326, always_xy=True)
    with RasterSource(write_raster(np.full((3, 20, 20), 90, np.uint8), **place)) as source:
        found = [box.bounds for box in _extents(source, back)]
    assert np.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("of_raster", "of_area"), [("EPSG:32632", None), (None, "EPSG:4326"), (None, None)])
def test_polygons_are_taken_as_they_are_where_coordinates_have_no_name(
    write_raster, scene_pixels, tmp_path, of_raster, of_area
):
    path = save(tmp_path / "area.gpkg", crs=of_area, layer=SMALL)
    with RasterSource(write_raster(scene_pixels, **{**UTM, "crs": of_raster})) as source:
        assert (AreaOfInterest(path, source)(WHOLE) == inside(SMALL)).all()


def test_areas_that_do_not_help(scene, tmp_path):
    (tmp_path / "empty.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    save(tmp_path / "points.gpkg", layer=shapely.Point(1, 2))
    save(tmp_path / "far.gpkg", layer=shapely.box(0, 0, 1, 1))
    save(tmp_path / "antipode.gpkg", crs="EPSG:4326", layer=shapely.box(-171, -48, -170, -47))
    (tmp_path / "text.gpkg").write_text("nothing")
    for name, message in (
        ("empty.geojson", "no polygon in this file"),
        ("points.gpkg", "no polygon in this file"),
        ("far.gpkg", "does not overlap"),
        ("antipode.gpkg", "does not overlap"),
        ("text.gpkg", "not a vector file"),
    ):
        with pytest.raises(InputError, match=message):
            AreaOfInterest(tmp_path / name, scene)
