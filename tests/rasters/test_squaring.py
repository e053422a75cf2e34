"""Right angles: outlines fit their regions, are valid, keep holes and area; the coverage has no overlaps."""

from __future__ import annotations

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from rasterio.features import rasterize, shapes
from shapely import affinity

from sgovss.errors import InputError
from sgovss.rasters import squaring
from sgovss.rasters.coverage import Tolerance
from sgovss.rasters.options import SceneOptions, parse_classes
from sgovss.rasters.polygons import Region, regions
from sgovss.rasters.right_angles import squared
from sgovss.rasters.squaring import Squaring
from sgovss.rasters.stored_polygons import ShapeStore, side_by_side

from .conftest import UTM
from .fake import FakeModel, fake_mapper, scene_of

FORMS = {
    "box": (shapely.box(0, 0, 30, 18), [4]),
    "L": (shapely.Polygon([(0, 0), (40, 0), (40, 15), (20, 15), (20, 35), (0, 35)]), [6]),
    "T": (shapely.box(0, 0, 45, 14).union(shapely.box(15, 14, 30, 40)), [8]),
    "courtyard": (shapely.box(0, 0, 50, 40).difference(shapely.box(15, 12, 35, 28)), [4, 4]),
}


def pixels_of(polygon: shapely.Polygon, size: int = 120) -> shapely.Polygon:
    """A polygon along pixels."""
    mask = rasterize([(polygon, 1)], (size, size), dtype="uint8")
    return max((shapely.geometry.shape(each) for each, _ in shapes(mask, mask=mask > 0)), key=lambda found: found.area)


def corners(polygon: shapely.Polygon) -> list[int]:
    return [len(ring.coords) - 1 for ring in (polygon.exterior, *polygon.interiors)]


def angles(polygon: shapely.Polygon) -> np.ndarray:
    """Angles at the corners in degrees, modulo a right angle: 0 to 45."""
    found = []
    for ring in (polygon.exterior, *polygon.interiors):
        sides = np.diff(shapely.get_coordinates(ring), axis=0)
        turn = np.degrees(np.arctan2(sides[:, 1], sides[:, 0])) % 90
        found.append(np.abs(turn - np.roll(turn, 1)))
    apart = np.concatenate(found)
    return np.minimum(apart, 90 - apart)


@pytest.mark.parametrize("angle", [0, 10, 30, 45, 77])
@pytest.mark.parametrize("form", FORMS)
def test_a_form_with_right_angles_is_found_again(form, angle):
    exact, expected = FORMS[form]
    exact = affinity.translate(affinity.rotate(exact, angle, origin=(20, 20)), 40.3, 40.6)
    seen = pixels_of(exact)
    found = squared(seen)
    assert corners(found) == expected and found.is_valid
    assert angles(found).max() < 1e-6
    assert found.area == pytest.approx(seen.area)
    alike = found.intersection(exact).area / found.union(exact).area
    assert alike > 0.93 and alike > seen.intersection(exact).area / seen.union(exact).area - 0.03


@pytest.mark.parametrize(
    "polygon", [shapely.Point(50, 50).buffer(20), shapely.Polygon([(0, 0), (60, 0), (30, 50)]), shapely.box(0, 0, 1, 1)]
)
def test_other_forms_are_left_alone(polygon):
    found = squared(pixels_of(affinity.translate(polygon, 10, 10)))
    assert found is None or (found.is_valid and found.area > 0)


@pytest.fixture
def town() -> np.ndarray:
    """(300, 320) uint8 ids: land 0, fields 1, buildings 2, roofs 3 within or beside them; and no data (255)."""
    rng = np.random.default_rng(1)
    ids = np.kron(rng.integers(0, 2, (10, 11)), np.ones((32, 32))).astype(np.uint8)[:300, :320]
    for number in range(26):
        name = [*FORMS][number % len(FORMS)]
        form = affinity.translate(affinity.rotate(FORMS[name][0], rng.uniform(0, 90)), *rng.uniform(-20, 290, 2))
        ids[rasterize([(form, 1)], ids.shape, dtype="uint8") > 0] = 2 + number % 5 // 4
    ids[200:, :40] = 255
    return ids


def plain_and_squared(ids, tmp_path, write_raster, classes, tolerance=None, rows=64, ratio=1.0):
    path = write_raster(ids[None], "labels.tif", nodata=255, **UTM)
    with rasterio.open(path) as raster:
        plain = [*regions(raster, rows, tolerance)]
    change = Squaring(classes, ids.shape, ratio, tmp_path)
    return plain, [*change(iter(plain))], change


def overlap(polygons: list[shapely.Geometry]) -> float:
    """Area that is covered more than once."""
    return float(np.sum(shapely.area(polygons)) - shapely.union_all(polygons).area)


@pytest.mark.parametrize("tolerance", [None, Tolerance(1.5)])
@pytest.mark.parametrize(("classes", "batch"), [([2], 2000), ([2, 3], 2000), ([2, 3], 7), ([0], 2000)])
def test_neighbours_are_fitted_without_overlaps(classes, batch, tolerance, town, tmp_path, write_raster, monkeypatch):
    monkeypatch.setattr(squaring, "_BATCH", batch)
    plain, changed, change = plain_and_squared(town, tmp_path, write_raster, classes, tolerance)
    assert shapely.is_valid([region.polygon for region in changed]).all()
    assert overlap([region.polygon for region in changed]) < 1e-6
    before, after = (shapely.union_all([region.polygon for region in each]) for each in (plain, changed))
    # Nothing is covered that was not, except no data; what is not covered any more is between or beside such outlines.
    assert after.difference(before).difference(shapely.box(0, 200, 40, 300)).area < 40 * len(classes)
    assert before.difference(after).area < 0.02 * before.area
    if classes != [0]:
        assert change.fitted >= 8
        areas = [sum(r.polygon.area for r in each if r.label in classes) for each in (plain, changed)]
        assert areas[1] == pytest.approx(areas[0], rel=0.03)
    assert not [*tmp_path.glob("squaring*")]


def test_all_batches_give_the_same_polygons(town, tmp_path, write_raster, monkeypatch):
    results = []
    for batch in (2000, 40, 11):
        monkeypatch.setattr(squaring, "_BATCH", batch)
        _, changed, _ = plain_and_squared(town, tmp_path, write_raster, [2, 3])
        results.append([(r.label, r.score, shapely.normalize(r.polygon).wkt) for r in changed])
    assert sorted(map(str, results[0])) == sorted(map(str, results[1])) == sorted(map(str, results[2]))


def test_a_single_building_gets_right_angles_and_its_neighbour_the_rest(tmp_path, write_raster):
    ids = np.zeros((100, 100), np.uint8)
    form = affinity.translate(affinity.rotate(FORMS["L"][0], 25), 30, 30)
    ids[rasterize([(form, 1)], ids.shape, dtype="uint8") > 0] = 1
    _, changed, _ = plain_and_squared(ids, tmp_path, write_raster, [1])
    (building,), (land,) = ([r for r in changed if r.label == label] for label in (1, 0))
    assert angles(building.polygon).max() < 1e-6 and corners(building.polygon) == [6]
    assert land.polygon.area + building.polygon.area == pytest.approx(10_000)
    assert shapely.union_all([land.polygon, building.polygon]).area == pytest.approx(10_000)


def test_a_hole_is_kept_with_what_is_in_it(tmp_path, write_raster):
    ids = np.zeros((120, 120), np.uint8)
    form = affinity.translate(affinity.rotate(FORMS["courtyard"][0], 20), 30, 30)
    ids[rasterize([(form, 1)], ids.shape, dtype="uint8") > 0] = 1
    _, changed, _ = plain_and_squared(ids, tmp_path, write_raster, [1])
    (building,) = [r.polygon for r in changed if r.label == 1]
    inner = [r.polygon for r in changed if r.label == 0 and r.polygon.area < 1000]
    assert corners(building) == [4, 4]
    assert inner[0].area == pytest.approx(shapely.Polygon(building.interiors[0]).area)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_angles_are_right_on_the_ground(ratio, tmp_path, write_raster):
    ids = np.zeros((140, 140), np.uint8)
    form = affinity.rotate(shapely.box(40, 40, 80, 66), 30)
    ids[rasterize([(affinity.scale(form, 1, 1 / ratio), 1)], ids.shape, dtype="uint8") > 0] = 1
    _, changed, _ = plain_and_squared(ids, tmp_path, write_raster, [1], ratio=ratio)
    (building,) = [r.polygon for r in changed if r.label == 1]
    assert angles(shapely.transform(building, lambda xy: xy * [1, ratio])).max() < 1e-6
    assert ratio == 1 or angles(building).max() > 5


def test_parts_of_a_cut_region_keep_their_score(tmp_path):
    land = Region(shapely.box(0, 0, 100, 10), 0, 500.0, 10)
    building = Region(shapely.box(40, 10, 60, 40), 1, 80.0, 1)
    wide = Region(shapely.box(0, 10, 40, 40).union(shapely.box(60, 10, 100, 40)), 2, 900.0, 10)
    found = [*Squaring([1], (40, 100), 1.0, tmp_path)(iter([land, building, wide]))]
    assert {(region.label, round(region.score, 3)) for region in found} == {(0, 0.5), (1, 0.8), (2, 0.9)}
    assert len(found) == 4


def test_small_regions_remain_and_covered_ones_vanish(tmp_path):
    building, inside = Region(shapely.box(40, 10, 60, 40), 1), Region(shapely.box(45, 20, 50, 30), 2)
    small = Region(shapely.box(0, 0, 0.5, 1), 0)
    found = [*Squaring([1], (50, 100), 1.0, tmp_path)(iter([building, inside, small]))]
    assert [(region.label, round(region.polygon.area, 6)) for region in found] == [(1, 600), (0, 0.5)]


def test_an_outline_ends_at_the_border_of_the_raster(tmp_path, monkeypatch):
    """Here it touches the border from outside, too, along a line."""
    fit = shapely.box(80, 10, 110, 20).union(shapely.box(100, 20, 110, 40))
    monkeypatch.setattr(squaring, "squared", lambda polygon: fit)
    (found,) = Squaring([1], (50, 100), 1.0, tmp_path)(iter([Region(shapely.box(80, 10, 100, 22), 1)]))
    assert shapely.normalize(found.polygon) == shapely.normalize(shapely.box(80, 10, 100, 20))


@pytest.mark.parametrize(("border", "right"), [(49, True), (51, False)])
def test_a_spike_goes_to_the_neighbour_with_the_longest_border_to_it(border, right, tmp_path):
    """It is 2 pixels wide and 6 high; one neighbour has one side of it, the other a side and the end."""
    building = shapely.box(40, 10, 60, 40).union(shapely.box(49, 40, 51, 46))
    halves = [shapely.box(0, 0, border, 60), shapely.box(border, 0, 100, 60)]
    regions_of_map = [
        Region(building, 1),
        *(Region(half.difference(building), n) for n, half in zip((0, 2), halves, strict=True)),
    ]
    found = {region.label: region.polygon for region in Squaring([1], (60, 100), 1.0, tmp_path)(iter(regions_of_map))}
    spike = shapely.box(49.1, 41, 50.9, 45.9)
    assert found[2 if right else 0].contains(spike) and found[1].area == pytest.approx(612)
    assert sum(polygon.area for polygon in found.values()) == pytest.approx(6000)


@pytest.mark.parametrize("sides", [3, 4, 31, 32, 33, 34, 63, 64, 65, 66, 97])
def test_borders_are_cut_into_short_lines_without_gaps(sides):
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = 50 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    polygon = shapely.Polygon(ring, [ring / 2])
    lines = squaring._short_lines(polygon)
    assert max(shapely.get_num_coordinates(lines)) <= 33
    assert len(lines) == 2 * -(-sides // 32)
    assert sum(line.length for line in lines) == pytest.approx(polygon.length)
    assert shapely.union_all(lines).equals(polygon.boundary)


@pytest.mark.parametrize(("labels", "changed"), [([2], 0), ([0], 1), ([2, 1, 3], 1), ([0, 1], 2)])
def test_classes_without_a_region_change_nothing(labels, changed, tmp_path):
    halves = [Region(shapely.box(0, 0, 32, 64), 0, 50.0, 10), Region(shapely.box(32, 0, 64, 64), 1, 50.0, 10)]
    square = Squaring(labels, (64, 64), 1.0, tmp_path)
    found = [*square(iter(halves))]
    for region, half in zip(found, halves, strict=True):
        assert region.label == half.label and region.polygon.symmetric_difference(half.polygon).area < 1e-6
    assert square.fitted == changed and not [*tmp_path.iterdir()]
    assert [*Squaring(labels, (64, 64), 1.0, tmp_path)(iter([]))] == []


@pytest.mark.parametrize("tolerance", [0, 0.6])
def test_a_scene_with_right_angles(tolerance, tmp_path, write_raster):
    path = scene_of(write_raster, 300, 320, **UTM)
    options = SceneOptions(polygons=True, square=("water", "tree"), simplify=tolerance)
    result = fake_mapper(FakeModel(), options=options)(path, tmp_path / "out" / "scene")
    _, _, geometries, _ = pyogrio.raw.read(result.files["polygons"])
    polygons = shapely.from_wkb(geometries)
    assert shapely.is_valid(polygons).all() and overlap([*polygons]) < 1e-6
    assert "of" in result.facts["right angles"] and int(result.facts["polygons"]) == len(polygons)
    other = fake_mapper(FakeModel(), options=SceneOptions(polygons=True, square=("water",)))
    assert other.finished(other.plan(path, tmp_path / "out" / "scene")) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"square": ("water",)}, "--square: is for polygons, which are not written; give --polygons too"),
        ({"square": ("roof",), "polygons": True}, "--square: 'roof' is no class; the classes are road, water, tree"),
        ({"square": ("water",), "polygons": True, "segments": __file__}, "--square: segments are written as they are"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        fake_mapper(FakeModel(), options=SceneOptions(**options))


@pytest.mark.parametrize(
    ("text", "names"), [("building", ("building",)), (" a , b,a", ("a", "b")), ("", ()), (",", ())]
)
def test_classes_as_a_user_types_them(text, names):
    assert parse_classes(text) == names == SceneOptions(square=text, polygons=True).square_names


def counted(tmp_path, monkeypatch, count: int, width: int) -> tuple[int, int]:
    """Square buildings on one region of land; returns how many shapes and vertices are read, and in how many reads."""
    monkeypatch.setattr(squaring, "_BATCH", 20)
    monkeypatch.setenv("OGR_SQLITE_SYNCHRONOUS", "OFF")  # many small writes
    boxes = [
        shapely.box(x, y, x + 9, y + 7)
        for x, y in ((20 + 40 * (i % width), 20 + 40 * (i // width)) for i in range(count))
    ]
    size = 40 * (count // width + 1), 40 * (width + 1)
    land = shapely.box(0, 0, size[1], size[0]).difference(shapely.union_all(boxes))
    regions_of_map = [Region(land, 0), *(Region(box, 1) for box in boxes)]
    shapes_read, reads = 0, 0
    read = ShapeStore._read

    def counting(store, **options):
        nonlocal shapes_read, reads
        found = read(store, **options)
        shapes_read, reads = shapes_read + int(shapely.get_num_coordinates(found.shapes).sum()), reads + 1
        return found

    monkeypatch.setattr(ShapeStore, "_read", counting)
    change = Squaring([1], size, 1.0, tmp_path)
    found = [*change(iter(regions_of_map))]
    monkeypatch.undo()
    assert change.fitted == count and len(found) == count + 1
    assert sum(region.polygon.area for region in found) == pytest.approx(size[0] * size[1])
    return shapes_read, reads


@pytest.mark.parametrize("width", [8, 40])
def test_the_work_grows_with_the_map_and_not_with_its_square(width, tmp_path, monkeypatch):
    """All buildings are in one region of land, whose border is the longest of all."""
    small, large = (counted(tmp_path, monkeypatch, count, width) for count in (64, 256))
    assert large[0] < 4.6 * small[0] and large[1] < 4.6 * small[1]


@pytest.mark.parametrize("count", [0, 1, 300])
def test_shapes_are_grouped_by_place_and_size(count):
    rng = np.random.default_rng(count)
    at, size = (
        rng.uniform(0, 20_000, (count, 2)),
        rng.choice([5, 300, 3000], (count, 1)) * rng.uniform(0.5, 1, (count, 2)),
    )
    shapes = shapely.box(*at.T, *(at + size).T) if count else np.empty(0, object)
    groups = side_by_side(shapes)
    assert sorted(np.concatenate([np.empty(0, int), *groups]).tolist()) == [*range(count)]
    for group in groups:
        left, bottom, right, top = shapely.total_bounds(shapes[group])
        assert max(right - left, top - bottom) <= max(1024, 4 * size[group].max())
