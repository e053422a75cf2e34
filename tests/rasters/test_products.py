"""Outputs of scenes that other programs open: cloud-optimized GeoTIFFs, attribute tables, polygons in all formats."""

from __future__ import annotations

import json
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
import rasterio.shutil
import shapely
from affine import Affine
from rasterio.enums import ColorInterp, Resampling

from sgovss.errors import InputError
from sgovss.rasters.coverage import Tolerance
from sgovss.rasters.georeference import RasterGeoreference
from sgovss.rasters.geotiff import create_labels, nodata_value, with_overviews, write_cog
from sgovss.rasters.options import SceneOptions
from sgovss.rasters.style import write_attributes
from sgovss.rasters.vectors import rows_at_once, write_polygons
from sgovss.vocabulary import Vocabulary

from .conftest import UTM
from .fake import FakeModel, fake_mapper, scene_of
from .test_polygons import RASTERS, spiral

LEGEND = Vocabulary.of("road, water, tree")


def cog(tmp_path, ids: np.ndarray, legend=LEGEND, percents: np.ndarray | None = None, **place: object):
    """Labels as a Cloud-Optimized GeoTIFF."""
    place = {"crs": None, "transform": Affine.identity(), **place}
    georeference = RasterGeoreference(place["crs"], place["transform"])
    source = SimpleNamespace(height=len(ids), width=ids.shape[1], nodata=None, georeference=georeference, **place)
    plain, path = tmp_path / "plain.tif", tmp_path / "out" / "scene_labels.tif"
    create_labels(plain, source, legend, percents is not None)
    with rasterio.open(plain, "r+") as target:
        target.write(ids, 1)
        if percents is not None:
            target.write(percents, 2)
    before = plain.read_bytes()
    write_cog(with_overviews(plain, Resampling.mode), path)
    assert plain.read_bytes() == before
    return path


def valid_cog(path) -> bool:
    cogeo = pytest.importorskip("rio_cogeo.cogeo")
    return cogeo.cog_validate(path, strict=True, quiet=True) == (True, [], [])


MANY = Vocabulary.of(", ".join(f"thing {i}" for i in range(300)))
RNG = np.random.default_rng(0)
CASES = {
    "small": (RNG.integers(0, 3, (40, 70)).astype(np.uint8), LEGEND),
    "large": (np.kron(RNG.integers(0, 3, (70, 90)), np.ones((16, 16))).astype(np.uint8), LEGEND),
    "a strip": (RNG.integers(0, 3, (30, 2100)).astype(np.uint8), LEGEND),
    "no data": (np.full((600, 700), 255, np.uint8), LEGEND),
    "300 classes": (RNG.integers(0, 300, (520, 530)).astype(np.uint16), MANY),
}


@pytest.mark.parametrize("confidence", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_labels_are_a_cloud_optimized_geotiff(tmp_path, case, confidence):
    ids, legend = CASES[case]
    percents = (np.indices(ids.shape).sum(0) % 101).astype(ids.dtype) if confidence else None
    path = cog(tmp_path, ids, legend, percents, **UTM)
    assert valid_cog(path)
    with rasterio.open(path) as raster:
        assert (raster.read(1) == ids).all()
        assert (raster.crs, raster.transform) == (rasterio.CRS.from_string(UTM["crs"]), UTM["transform"])
        assert raster.tags()["CLASS_2"] == legend.names[2] and raster.nodata == np.iinfo(ids.dtype).max
        if ids.dtype == np.uint8:
            assert raster.colormap(1)[1][:3] == tuple(legend.colors()[1])
            assert raster.colorinterp[0] == ColorInterp.palette
        if case != "no data":
            assert float(raster.tags(1)["STATISTICS_MEAN"]) == pytest.approx(ids.mean())
        if confidence:
            assert (raster.read(2) == percents).all()
            assert raster.colorinterp[1] == ColorInterp.undefined  # not alpha
            assert raster.descriptions == ("class", "confidence (percent)")
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("of_source", "classes", "expected"),
    [
        (None, 3, 255),
        # Neither a class, nor a percentage, and within the data type.
        (101, 3, 101),
        (100, 3, 255),
        (2, 3, 255),
        (254, 3, 254),
        (255, 3, 255),
        (256, 3, 255),
        (-9999, 3, 255),
        (299, 300, 65535),
        (300, 300, 300),
        (65536.0, 300, 65535),
        # No whole number.
        (120.5, 3, 255),
        (float("nan"), 3, 255),
        (float("inf"), 3, 255),
        (-float("inf"), 3, 255),
        (-3.4028235e38, 3, 255),
    ],
)
def test_the_no_data_value_of_a_scene_is_kept_where_labels_can_have_it(of_source, classes, expected):
    assert nodata_value(of_source, Vocabulary.of(", ".join(f"thing {i}" for i in range(classes)))) == expected


@pytest.mark.parametrize("block", [3, 7, 16])
def test_overviews_hold_the_most_frequent_class(tmp_path, block):
    ids = np.kron(RNG.integers(0, 3, (2048 // block + 1,) * 2), np.ones((block, block))).astype(np.uint8)[:2048, :2048]
    path = cog(tmp_path, ids)
    with rasterio.open(path) as raster:
        assert raster.overviews(1) == [2, 4]
    for level, factor in enumerate((2, 4)):
        with rasterio.open(path, overview_level=level) as raster:
            found = raster.read(1)
        blocks = ids.reshape(2048 // factor, factor, 2048 // factor, factor)
        counts = np.stack([(blocks == i).sum(axis=(1, 3)) for i in range(3)])
        assert (np.take_along_axis(counts, found[None].astype(int), 0)[0] == counts.max(axis=0)).all()


@pytest.mark.parametrize("words", ["road, water", "a & b, <c>, Straße|Weg, 森", "one"])
def test_gdal_reads_the_attribute_table(tmp_path, words):
    legend = Vocabulary.of(words)
    path = cog(tmp_path, np.zeros((20, 30), np.uint8), legend)
    write_attributes(path.with_name(f"{path.name}.aux.xml"), legend)
    rasterio.shutil.copy(path, tmp_path / "copy.tif", driver="GTiff")  # GDAL writes what it has read
    table = ElementTree.parse(tmp_path / "copy.tif.aux.xml").find(".//GDALRasterAttributeTable")
    rows = [[field.text for field in row] for row in table.iter("Row")]
    colors = legend.colors().tolist()
    assert rows == [[str(i), name, *map(str, colors[i])] for i, name in enumerate(legend.names)]
    assert [usage.text for usage in table.iter("Usage")] == ["5", "2", "6", "7", "8"]


def test_a_scene_with_all_products(tmp_path, write_raster):
    path = scene_of(write_raster, 700, 600, **UTM)
    options = SceneOptions(confidence=True, probabilities=True, polygons="fgb", simplify=0.6, min_area=2)
    result = fake_mapper(FakeModel(), options=options)(path, tmp_path / "out" / "scene")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(
        file.name for file in result.files.values()
    )
    assert result.files["attributes"].name == "scene_labels.tif.aux.xml"
    for kind in ("labels", "probabilities"):
        assert valid_cog(result.files[kind])
    with rasterio.open(result.files["probabilities"]) as raster:
        assert ColorInterp.red not in raster.colorinterp
    _, _, geometries, _ = pyogrio.raw.read(result.files["polygons"])
    assert len(geometries) > 9 and shapely.coverage_is_valid(shapely.from_wkb(geometries))
    again = fake_mapper(FakeModel(), options=SceneOptions(polygons="fgb", simplify=1.2))
    assert again.finished(again.plan(path, tmp_path / "out" / "scene")) is None


@pytest.mark.parametrize("flags", [["--polygons"], ["--polygons", "geojson"], ["--polygons", "fgb", "--simplify", "1"]])
def test_the_command_writes_polygons_in_the_wanted_format(demo, write_raster, scene_pixels, flags):
    status, out, errors = demo(write_raster(scene_pixels[:, :90, :90], **UTM), *flags)
    assert status == 0, errors
    assert [file.suffix for file in out.glob("*_polygons*")] == [f".{[*flags, 'gpkg'][1]}"]


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--simplify", "1"], "--simplify: is for polygons, which are not written; give --polygons too"),
        (["--polygons", "x.shp"], "'x.shp' is not a format; choose from gpkg, parquet, fgb, geojson"),
    ],
)
def test_the_command_refuses_in_one_line(demo, write_raster, scene_pixels, flags, line):
    status, _, errors = demo(write_raster(scene_pixels, **UTM), *flags)
    assert status != 0 and line in errors and "Traceback" not in errors


def read_polygons(path) -> tuple[dict, list, dict]:
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        table = parquet.read_table(path)
        fields = {name: np.array(table[name].to_pylist()) for name in table.column_names if name != "geometry"}
        column = json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]
        crs = column["crs"] and pyproj.CRS.from_json_dict(column["crs"])
        return {"crs": crs}, list(shapely.from_wkb(table["geometry"].to_pylist())), fields
    metadata, _, geometries, fields = pyogrio.raw.read(path)
    return metadata, list(shapely.from_wkb(geometries)), dict(zip(metadata["fields"], fields, strict=True))


@pytest.mark.parametrize("suffix", ["gpkg", "parquet", "fgb", "geojson"])
@pytest.mark.parametrize("place", [UTM, {}], ids=["projected", "no coordinates"])
def test_every_format_holds_the_same_polygons(tmp_path, suffix, place):
    ids = spiral(64)
    ids[:5] = 255
    percents = np.where(ids == 255, 255, np.indices(ids.shape).sum(0) % 90).astype(np.uint8)
    labels = cog(tmp_path, ids, percents=percents, **place)
    path = tmp_path / f"regions.{suffix}"
    count = write_polygons(path, labels, LEGEND, "county.tif", rows=16)
    metadata, polygons, fields = read_polygons(path)
    assert len(polygons) == count == len(set(fields["id"].tolist()))
    assert set(fields["source"]) == {"county.tif"}
    assert {file.name for file in tmp_path.iterdir()} == {"out", "plain.tif", path.name}
    degrees = suffix == "geojson" and place
    expected = None if not place else "EPSG:4326" if degrees else "EPSG:32632"
    if place:
        assert pyproj.CRS.from_user_input(metadata["crs"]) == pyproj.CRS.from_user_input(expected)
    for label in (0, 1):
        of_label = fields["class_id"] == label
        assert set(fields["class"][of_label]) == {LEGEND.names[label]}
        flat = sum(polygon.area for polygon, wanted in zip(polygons, of_label, strict=True) if wanted)
        if not degrees:
            assert flat == pytest.approx((ids == label).sum() * (0.09 if place else 1))
    if place:
        weights = fields["area_m2"] / fields["area_m2"].sum()
        assert (fields["score"] * weights).sum() == pytest.approx(percents[ids != 255].mean() / 100, rel=1e-3)
    else:
        assert all(area is None or np.isnan(area) for area in fields["area_m2"])


@pytest.mark.parametrize("rows", [7, 64])
def test_the_score_of_a_region_is_the_mean_of_its_pixels(tmp_path, rows):
    ids = np.kron(np.array([[0, 1], [2, 0]]), np.ones((20, 25))).astype(np.uint8)
    percents = RNG.integers(0, 101, ids.shape).astype(np.uint8)
    percents[:3] = 255  # merged pixels
    path = tmp_path / "regions.gpkg"
    labels = cog(tmp_path, ids, percents=percents)
    write_polygons(path, labels, LEGEND, "x", rows=rows)
    _, polygons, fields = read_polygons(path)
    for polygon, score in zip(polygons, fields["score"], strict=True):
        left, top, right, bottom = map(int, polygon.bounds)
        inside = percents[top:bottom, left:right]
        assert score == pytest.approx(inside[inside != 255].mean() / 100)


@pytest.mark.parametrize("rows", [7, 100])
@pytest.mark.parametrize("tolerance", [None, Tolerance(1.5), Tolerance(1.5, 0.97)], ids=str)
@pytest.mark.parametrize("kind", ["a ring", "spiral", "noise"])
def test_holes_are_taken_off_the_areas(tmp_path, kind, tolerance, rows):
    ids = RASTERS[kind]
    path = tmp_path / "regions.gpkg"
    write_polygons(path, cog(tmp_path, ids, **UTM), LEGEND, tolerance=tolerance, rows=rows)
    _, polygons, fields = read_polygons(path)
    flat = np.array([polygon.area for polygon in polygons])
    assert fields["area_m2"] == pytest.approx(flat * fields["area_m2"].sum() / flat.sum(), rel=1e-3)
    assert fields["area_m2"].sum() == pytest.approx(ids.size * 0.09, rel=2e-3)
    assert shapely.is_valid(polygons).all()


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32633", "EPSG:3035"])
@pytest.mark.parametrize("latitude", [0.0, 60.0])
@pytest.mark.parametrize("degrees", [0.01, 2.0])
def test_areas_are_those_of_the_ellipsoid(tmp_path, crs, latitude, degrees):
    """The reference divides all sides at the corners of pixels, and adds up geodesic areas."""
    if crs == "EPSG:3035" and not latitude:
        pytest.skip("a projection of Europe")
    to = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    (left, right), (bottom, top) = to.transform([15 - degrees, 15 + degrees], [latitude, latitude + degrees])
    ids = spiral(64)
    transform = Affine((right - left) / 64, 0, left, 0, (bottom - top) / 64, top)
    path = tmp_path / "regions.gpkg"
    labels = cog(tmp_path, ids, crs=rasterio.CRS.from_string(crs), transform=transform)
    write_polygons(path, labels, LEGEND, "x")
    _, polygons, fields = read_polygons(path)
    back = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform
    for polygon, area in zip(polygons, fields["area_m2"], strict=True):
        dense = shapely.segmentize(polygon, min(abs(transform.a), abs(transform.e)) / 4)
        on_earth = shapely.transform(dense, back, interleaved=False)
        expected = abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(on_earth)[0])
        assert area == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"polygons": "shp"}, "'shp' is not a format; choose from gpkg, parquet, fgb, geojson"),
        ({"polygons": "out.fgb"}, "is not a format"),
        ({"simplify": 1.0}, "is for polygons, which are not written; give --polygons too"),
        ({"polygons": True, "simplify": -1.0}, "is not a distance; give metres, such as 0.5"),
        ({"polygons": True, "simplify": float("nan")}, "is not a distance"),
    ],
)
def test_wrong_options_give_one_line(options, message):
    with pytest.raises(InputError, match=message):
        SceneOptions(**options)


def test_metres_need_a_georeference_before_the_scene_is_segmented(tmp_path, write_raster):
    mapper = fake_mapper(FakeModel(), options=SceneOptions(polygons=True, simplify=1.0))
    with pytest.raises(InputError, match=r"--simplify: .*scene\.tif is not georeferenced"):
        mapper.plan(scene_of(write_raster, 100, 100), tmp_path / "out" / "scene")


@pytest.mark.parametrize(("width", "rows"), [(10, 2048), (10_000, 1536), (100_000, 512), (10**6, 512)])
def test_rows_at_once_are_whole_tiles_and_few_for_wide_scenes(width, rows):
    assert rows_at_once(width) == rows
