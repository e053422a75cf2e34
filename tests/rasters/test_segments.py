"""Segments from elsewhere: each gets the class of its mean score, whatever file they come from."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from PIL import Image
from pyproj import Transformer
from rasterio.control import GroundControlPoint
from rasterio.features import shapes
from rasterio.transform import from_origin
from rasterio.warp import transform_geom
from rasterio.windows import Window

from sgovss.errors import InputError
from sgovss.inference.rejection import Rejection
from sgovss.rasters.options import SceneOptions
from sgovss.rasters.partial import begin, folder_of
from sgovss.rasters.segment_sums import merge_sums, sum_scores
from sgovss.rasters.segments import OUTSIDE, VectorSegments, open_segments
from sgovss.rasters.source import RasterSource

from .conftest import UTM, read, write_below
from .fake import FakeModel, fake_mapper, scene_of

HEIGHT, WIDTH = 540, 560
TRANSFORM = UTM["transform"]


def segment_ids(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Numbers with gaps between them; some segments are large, others a few pixels, and a seventh is in none (0)."""
    rng = np.random.default_rng(seed)
    fine = rng.choice([0, *rng.integers(1, 10**6, 6)], (-(-height // 8), -(-width // 8)))
    coarse = rng.integers(1, 500, (-(-height // 40), -(-width // 40))) * 1000
    ids = np.kron(coarse, np.ones((40, 40), int))[:height, :width]
    small = np.kron(fine, np.ones((8, 8), int))[:height, :width]
    return np.where(np.arange(width) < width // 2, ids, small).astype(np.int32)


def scores_of_pixels(path: Path, tmp_path: Path, words: str = "road, water, tree") -> np.ndarray:
    """(T, H, W) scores of all pixels, with the resolution of a percent."""
    result = fake_mapper(FakeModel(), words, SceneOptions(probabilities=True))(path, tmp_path / "plain")
    with rasterio.open(result.files["probabilities"]) as raster:
        return raster.read() / 100


def run(path: Path, target: Path, segments: Path | str, words: str = "road, water, tree", **options: object):
    return fake_mapper(FakeModel(), words, SceneOptions(segments=segments, **options))(path, target)


def expect_means(result, ids: np.ndarray, scores: np.ndarray, nodata: int = 255) -> None:
    """Compare with the mean of the scores of each segment, pixel by pixel. Percents are known to half of one."""
    labels, percents = read(result.files["labels"]), read(result.files["labels"], 2)
    assert (labels[ids == 0] == nodata).all()
    for number in np.unique(ids[ids != 0]):
        inside = ids == number
        means = scores[:, inside].mean(axis=1)
        assert len(np.unique(labels[inside])) == 1
        assert means[labels[inside][0]] > means.max() - 0.005
        assert np.abs(percents[inside] - 100 * means.max()).max() <= 1.01


@pytest.mark.parametrize(("classes", "rows", "columns", "count"), [(1, 40, 60, 3), (7, 128, 90, 400), (3, 5, 5, 1)])
def test_sums_on_the_grid_of_the_maps_equal_those_of_interpolated_pixels(classes, rows, columns, count):
    rng = np.random.default_rng(classes)
    maps = rng.random((classes, 9, 12), np.float32)

    def weights(pixels: int, cells: int) -> np.ndarray:
        at = np.clip(np.linspace(-0.4, cells - 0.6, pixels), 0, cells - 1)
        return np.clip(1 - np.abs(at[:, None] - np.arange(cells)), 0, None).astype(np.float32)

    down, across = weights(rows, 9), weights(columns, 12)
    segments = rng.integers(-3, count, (rows, columns))
    segments[rng.random(segments.shape) < 0.2] = OUTSIDE
    found = sum_scores(maps, down, across, segments)
    pixels = np.einsum("yr,trc,xc->tyx", down, maps, across)
    assert found["segment"].tolist() == [i for i in np.unique(segments) if i != OUTSIDE]
    for row in found:
        inside = segments == row["segment"]
        assert row["pixels"] == inside.sum()
        assert row["scores"] == pytest.approx(pixels[:, inside].sum(axis=1), rel=1e-4)
    halves = [sum_scores(maps, down[part], across, segments[part]) for part in (slice(0, 3), slice(3, None))]
    merged = merge_sums(halves)
    assert merged["scores"] == pytest.approx(found["scores"], rel=1e-4) and (merged["pixels"] == found["pixels"]).all()


@pytest.fixture(scope="module")
def ids() -> np.ndarray:
    return segment_ids()


def as_polygons(ids: np.ndarray) -> tuple[list[shapely.Geometry], list[int]]:
    """One (multi)polygon for each segment, and the segments' numbers."""
    parts: dict[int, list] = {}
    for geometry, number in shapes(ids, mask=ids != 0, transform=TRANSFORM):
        parts.setdefault(int(number), []).append(shapely.geometry.shape(geometry))
    return [shapely.union_all(parts[number]) for number in parts], [*parts]


def write_polygons(path: Path, polygons, crs: str | None = "EPSG:32632", **fields) -> Path:
    pyogrio.raw.write(
        path,
        geometry=shapely.to_wkb(polygons),
        field_data=[np.array(values) for values in fields.values()],
        fields=[*fields],
        geometry_type="Unknown",
        crs=crs,
    )
    return path


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> tuple[Path, np.ndarray]:
    """A scene and the scores of its pixels."""
    folder = tmp_path_factory.mktemp("scored")
    path = scene_of(functools.partial(write_below, folder), HEIGHT, WIDTH, **UTM)
    return path, scores_of_pixels(path, folder)


@pytest.mark.parametrize("kind", ["raster", "picture", "gpkg", "geojson", "degrees"])
def test_a_segment_gets_the_class_of_its_mean_score(kind, ids, scored, tmp_path, write_raster):
    path, scores = scored
    if kind == "raster":
        segments = write_raster(ids[None], "segments.tif", **UTM)
    elif kind == "picture":
        segments = tmp_path / "segments.png"
        known = np.unique(ids, return_inverse=True)[1].reshape(ids.shape)
        Image.fromarray(known.astype(np.uint16)).save(segments)
    else:
        polygons, numbers = as_polygons(ids)
        crs, suffix = ("EPSG:4326", "gpkg") if kind == "degrees" else ("EPSG:32632", kind)
        if kind == "degrees":
            geometries = [shapely.geometry.mapping(polygon) for polygon in polygons]
            polygons = [shapely.geometry.shape(transform_geom("EPSG:32632", crs, each)) for each in geometries]
        segments = write_polygons(tmp_path / f"segments.{suffix}", polygons, crs, number=numbers)
    result = run(path, tmp_path / "out" / "scene", segments, confidence=True)
    expect_means(result, ids, scores)
    labels = read(result.files["labels"])
    shares = np.bincount(labels[labels != 255], minlength=3) / (labels != 255).sum()
    assert [*result.shares.values()] == pytest.approx(shares.tolist())
    assert result.facts["segments"] == f"{len(np.unique(ids[ids != 0]))} with pixels"
    assert not folder_of(tmp_path / "out" / "scene").exists()


@pytest.mark.parametrize(("scale", "shift"), [(2.0, 0.0), (0.5, 0.1), (1.0, 0.37)])
def test_segments_on_another_grid_are_those_at_the_centres_of_the_pixels(scale, shift, tmp_path, write_raster):
    path = scene_of(write_raster, 200, 300, **UTM)
    a, _, x, _, _, y = tuple(TRANSFORM)[:6]
    height, width = round(260 / scale), round(360 / scale)
    ids = segment_ids(height, width, 3)
    other = from_origin(x - 5 * a + shift, y + 5 * a, a * scale, a * scale)
    segments = write_raster(ids[None], "segments.tif", crs="EPSG:32632", transform=other)
    with RasterSource(path) as source:
        found = open_segments(segments, source)(Window(0, 0, 300, 200))
    columns = np.floor((x + (np.arange(300) + 0.5) * a - other.c) / other.a).astype(int)
    rows = np.floor((other.f - (y - (np.arange(200) + 0.5) * a)) / other.a).astype(int)
    expected = ids[rows[:, None], columns]
    assert (np.where(expected == 0, OUTSIDE, expected) == found).mean() > 0.999


@pytest.mark.parametrize("crs", ["EPSG:25832", "EPSG:25832+5783", "+proj=utm +zone=32 +ellps=GRS80 +units=m"])
def test_segments_on_the_grid_of_the_scene_are_not_resampled(crs, tmp_path, write_raster, monkeypatch):
    path = scene_of(write_raster, 60, 80, crs="EPSG:25832", transform=TRANSFORM)
    ids = segment_ids(60, 80)
    segments = write_raster(ids[None], "segments.tif", crs=crs, transform=TRANSFORM)
    monkeypatch.setattr("sgovss.rasters.segments.WarpedVRT", None)
    with RasterSource(path) as source:
        found = open_segments(segments, source)(Window(0, 0, 80, 60))
    assert (found == np.where(ids == 0, OUTSIDE, ids)).all()


def test_of_overlapping_polygons_the_last_counts(tmp_path, write_raster):
    path = scene_of(write_raster, 100, 100, **UTM)
    west, north = TRANSFORM.c, TRANSFORM.f
    squares = [shapely.box(west, north - 3 * k, west + 3 * k, north) for k in (8, 6, 9, 2)]
    with RasterSource(path) as source:
        found = open_segments(write_polygons(tmp_path / "s.fgb", squares, k=[8, 6, 9, 2]), source)
        numbers = found(Window(0, 0, 100, 100))
    layer = {number: int(values["k"]) for number, values in _features(tmp_path / "s.fgb").items()}
    order = [layer[number] for number in sorted(layer)]
    for k in (2, 6, 8, 9):
        corner = numbers[10 * k - 2, 10 * k - 2]  # inside the squares of at least this size
        assert layer[corner] == [other for other in order if other >= k][-1]


def _features(path: Path) -> dict[int, dict]:
    metadata, fids, _, values = pyogrio.raw.read(path, return_fids=True)
    return {fid: dict(zip(metadata["fields"], row, strict=True)) for fid, *row in zip(fids, *values, strict=True)}


@pytest.mark.parametrize("suffix", ["gpkg", "parquet", "fgb", "geojson"])
def test_polygons_keep_their_shapes_and_attributes(suffix, tmp_path, write_raster):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    path = scene_of(write_raster, 100, 150, **UTM)
    west, north = TRANSFORM.c, TRANSFORM.f
    polygons = [shapely.Point(west + 5 + 7 * i, north - 12).buffer(3 + i / 10) for i in range(5)]
    polygons.append(shapely.box(west + 1000, north, west + 1010, north + 10))  # outside
    fields = {
        "owner": ["a", "b", None, "Ä", "e", "f"],
        "class": ["farm"] * 6,
        "ID": [5, 6, 7, 8, 9, 10],
        "size": [1.5, np.nan, 2, 3, 4, 5],
    }
    segments = write_polygons(tmp_path / "parcels.gpkg", polygons, **fields)
    result = run(path, tmp_path / "out" / "scene", segments, polygons=suffix, confidence=True)
    assert result.facts["polygons"] == "5"
    if suffix == "parquet":
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(result.files["polygons"])
        found = {name: table[name].to_pylist() for name in table.column_names if name != "geom"}
        shapes_found = shapely.from_wkb(found.pop("geometry"))
    else:
        metadata, _, geometries, values = pyogrio.raw.read(result.files["polygons"])
        found = {name: list(row) for name, row in zip(metadata["fields"], values, strict=True)}
        shapes_found = shapely.from_wkb(geometries)
    order = np.argsort(found["segment_ID"])
    assert [found["owner"][i] for i in order] == fields["owner"][:5]
    assert set(found["segment_class"]) == {"farm"} and set(found["class"]) <= {"road", "water", "tree"}
    labels, percents = read(result.files["labels"]), read(result.files["labels"], 2)
    for i, polygon in zip(order, polygons[:5], strict=True):
        column, row = ~TRANSFORM * (polygon.centroid.x, polygon.centroid.y)
        at = int(row), int(column)
        assert found["class_id"][i] == labels[at] and found["score"][i] * 100 == pytest.approx(percents[at], abs=0.51)
        assert found["area_m2"][i] == pytest.approx(polygon.area, rel=2e-3)
        if suffix != "geojson":  # which is in degrees
            assert shapely.normalize(shapely.union_all([shapes_found[i]])).equals_exact(
                shapely.normalize(polygon), 1e-6
            )


@pytest.mark.parametrize("simplify", [0, 0.6])
def test_polygons_of_a_raster_are_its_regions(simplify, ids, tmp_path, write_raster):
    ids = ids[:200, 180:380]
    path = scene_of(write_raster, 200, 200, **UTM)
    segments = write_raster(ids[None], "segments.tif", **UTM)
    result = run(path, tmp_path / "out" / "scene", segments, polygons=True, simplify=simplify)
    metadata, _, geometries, values = pyogrio.raw.read(result.files["polygons"])
    found = dict(zip(metadata["fields"], values, strict=True))
    expected = [int(number) for _, number in shapes(ids, mask=ids != 0)]
    assert sorted(found["segment"]) == sorted(expected)
    polygons = shapely.from_wkb(geometries)
    if simplify:
        assert shapely.coverage_is_valid(polygons)
    else:
        assert np.sum(shapely.area(polygons)) == pytest.approx((ids != 0).sum() * 0.09)
    assert not np.isnan(found["score"]).any()


def test_background_and_threshold_count_for_the_mean(ids, tmp_path, write_raster):
    path = scene_of(write_raster, HEIGHT, WIDTH, **UTM)
    segments = write_raster(ids[None], "segments.tif", **UTM)
    scores = scores_of_pixels(path, tmp_path)
    options = {"rejection": Rejection(0.52, ("tree",)), "confidence": True}
    labels = read(run(path, tmp_path / "out" / "s", segments, "road, water", **options).files["labels"])
    clear = 0
    for number in np.unique(ids[ids != 0]):
        means = scores[:, ids == number].mean(axis=1)
        best, second = sorted(means)[:-3:-1]
        if best - second > 0.02 and abs(best - 0.52) > 0.01:
            expected = 2 if means.argmax() == 2 or best < 0.52 else means.argmax()
            assert set(labels[ids == number]) == {expected}
            clear += 1
    assert clear > 5 and {0, 2} <= set(np.unique(labels))


def test_an_area_of_interest_and_no_data_are_left_out_of_the_means(tmp_path, write_raster):
    path = write_raster(np.where(np.arange(200) < 60, 7, np.random.default_rng(0).integers(8, 255, (3, 90, 200)))
                        .astype(np.uint8), nodata=7, **UTM)  # fmt: skip
    west, north = TRANSFORM.c, TRANSFORM.f
    aoi = write_polygons(tmp_path / "aoi.gpkg", [shapely.box(west, north - 27, west + 45, north)], name=["x"])
    ids = np.full((90, 200), 5, np.int32)
    result = run(path, tmp_path / "a", write_raster(ids[None], "s.tif", **UTM), aoi=aoi, confidence=True)
    plain = fake_mapper(FakeModel(), options=SceneOptions(probabilities=True, aoi=aoi))(path, tmp_path / "plain")
    with rasterio.open(plain.files["probabilities"]) as raster:
        scores = raster.read() / 100
    expect_means(result, np.where(scores[0] == 2.55, 0, ids), scores)


def test_parts_in_files_and_an_interrupted_run_give_the_same_map(ids, tmp_path, write_raster):
    path = scene_of(write_raster, HEIGHT, WIDTH, **UTM)
    segments = write_raster(ids[None], "segments.tif", **UTM)
    expected = run(path, tmp_path / "a", segments, confidence=True)
    mapper = fake_mapper(FakeModel(), options=SceneOptions(segments=segments, confidence=True))
    plan = mapper.plan(path, tmp_path / "b")
    begin(plan)
    first, *others = mapper.missing(plan)
    mapper.fill_files(plan, others)  # as other processes do
    mapper.missing(plan)  # moves them into the unfinished outputs
    sums = folder_of(plan.target) / "segments.sums"
    content = bytearray(sums.read_bytes())
    content[5] ^= 1  # of the first unit that was kept
    sums.write_bytes(bytes(content))
    assert len(mapper.missing(plan)) == 2
    mapper.fill_files(plan, [first])
    result = mapper(path, tmp_path / "b")
    for band in (1, 2):
        assert (read(expected.files["labels"], band) == read(result.files["labels"], band)).all()


def test_other_segments_are_another_run(ids, tmp_path, write_raster):
    path = scene_of(write_raster, 100, 100, **UTM)
    run(path, tmp_path / "a", write_raster(ids[None, :100, :100], "s.tif", **UTM))
    other = write_raster(ids[None, 50:150, :100], "other.tif", **UTM)
    mapper = fake_mapper(FakeModel(), options=SceneOptions(segments=other))
    assert mapper.finished(mapper.plan(path, tmp_path / "a")) is None


@pytest.mark.parametrize(
    "names", [["fid"], ["geom"], ["wkb_geometry", "OGC_FID"], ["owner", "Owner", "OWNER"], ["segment", "position"]]
)
def test_names_of_attributes_that_a_geopackage_cannot_hold(names, tmp_path, write_raster):
    path = scene_of(write_raster, 60, 60, **UTM)
    west, north = TRANSFORM.c, TRANSFORM.f
    squares = [shapely.box(west + 6 * k, north - 18, west + 6 * k + 6, north) for k in range(3)]
    values = ["a", "a", "b"]
    segments = write_polygons(tmp_path / "s.geojson", squares, **dict.fromkeys(names, values))
    result = run(path, tmp_path / "out" / "scene", segments, polygons=True)
    metadata, _, _, columns = pyogrio.raw.read(result.files["polygons"])
    found = dict(zip(metadata["fields"], columns, strict=True))
    order = np.argsort(found["segment"])
    assert sum([*found[name][order]] == values for name in found if name not in ("class", "source")) == len(names)


def test_numbers_of_segments_are_the_feature_ids_and_the_last_in_the_file_counts(tmp_path, write_raster):
    path = scene_of(write_raster, 60, 60, **UTM)
    west, north = TRANSFORM.c, TRANSFORM.f
    file = tmp_path / "s.geojson"
    for ids in ([17, 5, 9], [3, 2, 1], [10, 20, 30]):
        squares = [shapely.box(west, north - side, west + side, north) for side in (18, 12, 6)]
        features = [
            {"type": "Feature", "id": i, "properties": {"tags": ["a", str(i)]}, "geometry": shapely.geometry.mapping(s)}
            for i, s in zip(ids, squares, strict=True)
        ]
        crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
        file.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
        with RasterSource(path) as source:
            found = open_segments(file, source)(Window(0, 0, 60, 60))
        assert [found[50, 50], found[30, 30], found[10, 10]] == ids
    result = run(path, tmp_path / "out" / "scene", file, polygons=True)
    metadata, _, _, columns = pyogrio.raw.read(result.files["polygons"])
    values = dict(zip(metadata["fields"], columns, strict=True))
    assert [*values["segment"]] == ids and [json.loads(text) for text in values["tags"]] == [["a", str(i)] for i in ids]


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "fgb"])
def test_polygons_in_degrees_beside_the_antimeridian(suffix, tmp_path, write_raster):
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32760", always_xy=True).transform(180, -17)
    path = scene_of(write_raster, 64, 64, crs="EPSG:32760", transform=from_origin(x - 320, y + 320, 10, 10))
    east, west = shapely.box(179.998, -17.002, 179.9995, -16.998), shapely.box(-179.9995, -17.002, -179.998, -16.998)
    with RasterSource(path) as source:
        found = open_segments(write_polygons(tmp_path / f"s.{suffix}", [east, west], "EPSG:4326", a=[1, 2]), source)
        numbers = found(Window(0, 0, 64, 64))
    assert len({numbers[32, 20], numbers[32, 43], OUTSIDE}) == 3
    assert numbers[32, 31] == numbers[32, 2] == numbers[32, 61] == OUTSIDE


def test_a_raster_of_the_whole_earth(tmp_path, write_raster):
    path = scene_of(write_raster, 40, 60, **UTM)
    earth = from_origin(-180, 90, 1, 1)
    ids = np.arange(1, 180 * 360 + 1, dtype=np.int32).reshape(1, 180, 360)
    segments = write_raster(ids, "s.tif", crs="EPSG:4326", transform=earth)
    with RasterSource(path) as source:
        found = np.unique(open_segments(segments, source)(Window(0, 0, 60, 40)))
    place = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True).transform(TRANSFORM.c + 9, TRANSFORM.f - 6)
    column, row = ~earth @ place
    assert found.tolist() == [ids[0, int(row), int(column)]]


@pytest.mark.parametrize(("scale", "placed"), [(2, True), (1, True), (1, False)])
def test_scenes_without_crs_and_without_georeference(scale, placed, tmp_path, write_raster):
    place = {"transform": TRANSFORM} if placed else {}
    path = scene_of(write_raster, 80, 120, **place)
    ids = np.kron(np.arange(1, 7).reshape(2, 3), np.ones((40, 40), int)).astype(np.int32)
    transform = TRANSFORM @ Affine.scale(scale)
    segments = write_raster(ids[None, ::scale, ::scale], "s.tif", crs="EPSG:32632", transform=transform)
    with RasterSource(path) as source:
        assert (open_segments(segments, source)(Window(0, 0, 120, 80)) == ids).all()


@pytest.mark.parametrize("kind", ["raster", "polygons"])
def test_georeferences_that_do_not_fit_give_one_line(kind, tmp_path, write_raster):
    site = 'LOCAL_CS["site",UNIT["metre",1]]'
    west, north = TRANSFORM.c, TRANSFORM.f
    scene, by_points = scene_of(write_raster, 60, 60, **UTM), tmp_path / "gcps.tif"
    points = [GroundControlPoint(y, x, west + x, north - y) for y in (0, 50) for x in (0, 50)]
    profile = {"driver": "GTiff", "width": 60, "height": 60, "count": 3, "dtype": "uint8", "crs": "EPSG:32632"}
    with rasterio.open(by_points, "w", gcps=points, **profile) as target:
        target.write(np.random.default_rng(0).integers(1, 200, (3, 60, 60)).astype(np.uint8))
    if kind == "raster":
        ids = np.ones((1, 60, 60), np.int32)
        of_site = write_raster(ids, "site.tif", crs=site, transform=TRANSFORM)
        of_earth = write_raster(ids, "s.tif", **UTM)
    else:
        box = [shapely.box(west, north - 9, west + 9, north)]
        of_site = write_polygons(tmp_path / "site.gpkg", box, site, a=[1])
        of_earth = write_polygons(tmp_path / "s.gpkg", box, a=[1])
    for segments, raster, message in ((of_site, scene, "cannot be transformed"), (of_earth, by_points, "--fit-gcps")):
        with pytest.raises(InputError, match=f"--segments .*{message}") as error:
            run(raster, tmp_path / "out", segments)
        assert "\n" not in str(error.value)


def test_sums_of_an_interrupted_end_do_not_count(ids, tmp_path, write_raster):
    path = scene_of(write_raster, HEIGHT, WIDTH, **UTM)
    segments = write_raster(ids[None], "segments.tif", **UTM)
    expected = run(path, tmp_path / "a", segments, confidence=True)
    mapper = fake_mapper(FakeModel(), options=SceneOptions(segments=segments, confidence=True))
    plan = mapper.plan(path, tmp_path / "b")
    begin(plan)
    mapper.fill_files(plan, mapper.missing(plan))
    (folder_of(plan.target) / "segments.table").write_bytes(np.ones(100_000))
    result = mapper.finish(plan)
    for band in (1, 2):
        assert (read(expected.files["labels"], band) == read(result.files["labels"], band)).all()


def wrong_files(tmp_path: Path, write_raster) -> dict[str, tuple[Path | str, str]]:
    far = from_origin(100_000, 5_300_000, 0.3, 0.3)
    small = segment_ids(90, 100)[None]
    box = [shapely.box(TRANSFORM.c, TRANSFORM.f - 9, TRANSFORM.c + 9, TRANSFORM.f)]
    away = [shapely.box(0, 0, 9, 9)]
    several = write_polygons(tmp_path / "several.gpkg", box, a=[1])
    pyogrio.raw.write(several, geometry=shapely.to_wkb(box), field_data=[], fields=[], layer="second",
                      geometry_type="Polygon", crs="EPSG:32632", append=True)  # fmt: skip
    (tmp_path / "text.txt").write_text("hello")
    lines = [shapely.LineString([(0, 0), (1, 1)])]
    pyogrio.raw.write(tmp_path / "lines.gpkg", geometry=shapely.to_wkb(lines), field_data=[], fields=[],
                      geometry_type="LineString", crs="EPSG:32632")  # fmt: skip
    return {
        "no file": (tmp_path / "none.tif", "no such file"),
        "text": (tmp_path / "text.txt", "neither a raster nor a vector file"),
        "size": (write_raster(small, "small.tif"), "has 100 x 90 pixels and .* has 200 x 100; .* make the sizes equal"),
        "place": (write_raster(small, "far.tif", crs="EPSG:32632", transform=far), "does not overlap with"),
        "bands": (write_raster(np.zeros((3, 100, 200), np.uint8), "rgb.tif", **UTM), "holds 3 bands of uint8"),
        "floats": (write_raster(np.zeros((1, 100, 200), np.float32), "f.tif", **UTM), "holds 1 bands of float32"),
        "zeros": (write_raster(np.zeros((1, 100, 200), np.uint8), "z.tif", **UTM), "none of its segments has a pixel"),
        "lines": (tmp_path / "lines.gpkg", "no polygon in this file"),
        "away": (write_polygons(tmp_path / "away.gpkg", away, a=[1]), "does not overlap with"),
        "layers": (several, "has several layers; give one, as"),
        "layer": (f"{several}:third", "no layer 'third' in this file; it has"),
    }


@pytest.mark.parametrize(
    "case",
    ["no file", "text", "size", "place", "bands", "floats", "zeros", "lines", "away", "layers", "layer"],
)
def test_wrong_files_give_one_line(case, tmp_path, write_raster):
    path = scene_of(write_raster, 100, 200, **UTM)
    segments, message = wrong_files(tmp_path, write_raster)[case]
    with pytest.raises(InputError, match=f"--segments.*{message}") as error:
        run(path, tmp_path / "out", segments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--min-area", "5"], "--min-area: segments are not merged"),
        (["--polygons", "--simplify", "1"], "--simplify: the polygons of --segments"),
    ],
)
def test_options_that_would_change_segments_are_refused(flags, line, demo, tmp_path, write_raster):
    path = scene_of(write_raster, 60, 60, **UTM)
    box = shapely.box(TRANSFORM.c, TRANSFORM.f - 9, TRANSFORM.c + 9, TRANSFORM.f)
    segments = write_polygons(tmp_path / "s.gpkg", [box], a=[1])
    status, _, errors = demo(path, "--segments", segments, *flags)
    assert status and line in errors


def test_a_photograph_with_a_label_picture_of_its_size(demo, tmp_path, scene_pixels):
    photo, picture = tmp_path / "photo.jpg", tmp_path / "labels.png"
    Image.fromarray(scene_pixels[:, :120, :160].transpose(1, 2, 0)).save(photo)
    ids = np.kron(np.arange(1, 13).reshape(3, 4), np.ones((40, 40))).astype(np.uint8)
    Image.fromarray(ids).save(picture)
    status, out, errors = demo(photo, "--segments", picture)
    assert status == 0, errors
    labels = read(out / "photo_labels.tif")
    assert all(len(np.unique(labels[ids == number])) == 1 for number in range(1, 13))
    Image.fromarray(ids[:, :-1]).save(picture)
    status, _, errors = demo(photo, "--segments", picture, "--restart")
    assert status == 1 and "make the sizes equal" in errors


@pytest.mark.parametrize(("suffix", "copies"), [("geojson", 1), ("gml", 1), ("gpkg", 0), ("fgb", 0)])
def test_a_file_without_an_index_is_copied_once_for_all_parts(suffix, copies, tmp_path, write_raster, monkeypatch):
    """Each part of a job array, and the writing of the outputs, opens the segments anew."""
    path = scene_of(write_raster, 600, 1100, **UTM)
    west, north = TRANSFORM.c, TRANSFORM.f
    squares = [shapely.box(west + 30 * k, north - 180, west + 30 * k + 30, north) for k in range(11)]
    segments = write_polygons(tmp_path / f"s.{suffix}", squares, k=[*range(11)])
    written, write = [], VectorSegments._write
    monkeypatch.setattr(VectorSegments, "_write", lambda self, copy: (written.append(copy), write(self, copy)))
    mapper = fake_mapper(FakeModel(), options=SceneOptions(segments=segments))
    plan = begin(mapper.plan(path, tmp_path / "out" / "scene"))
    units = [*plan.units.all()]
    assert len(units) > 1
    for unit in units:
        mapper.fill_files(plan, [unit])
    result = mapper.finish(plan)
    assert len(written) == copies
    assert not folder_of(plan.target).exists()
    whole = run(path, tmp_path / "whole" / "scene", segments)
    assert (read(result.files["labels"]) == read(whole.files["labels"])).all()
