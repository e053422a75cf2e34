"""'sgovss segment' on rasters: georeference, classes, areas, outputs."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.transform import from_origin

from sgovss.engine.checkpoint import save_inference_checkpoint
from sgovss.inference.predictor import Predictor
from sgovss.rasters.options import SceneOptions

from .conftest import SMALL, UTM, WORDS, read
from .fake import FakeModel, fake_mapper


def test_a_scene_in_one_window_equals_the_untiled_result(demo, predictor, write_raster, scene_pixels):
    status, out, _ = demo(write_raster(scene_pixels, **UTM), "--confidence", opts=["TEST.SCENE.WINDOW", "512"])
    assert status == 0
    expected = predictor(np.ascontiguousarray(scene_pixels.transpose(1, 2, 0)), WORDS)
    # Scores are interpolated here, and logits there.
    assert (read(out / "scene_labels.tif") == expected.labels).mean() > 0.998
    percent = read(out / "scene_labels.tif", 2)
    assert np.abs(percent - expected.scores * 100).max() <= 1


def test_windows_nearly_agree_with_the_whole(demo, predictor, write_raster, scene_pixels):
    status, out, _ = demo(write_raster(scene_pixels, **UTM))
    expected = predictor(np.ascontiguousarray(scene_pixels.transpose(1, 2, 0)), WORDS).labels
    assert status == 0
    # Far from the borders of windows the model sees nearly the same pixels.
    assert (read(out / "scene_labels.tif") == expected).mean() > 0.75


COS, SIN = 0.3 * np.cos(0.5), 0.3 * np.sin(0.5)
ROTATED = Affine(COS, SIN, 500_000, SIN, -COS, 5_300_000)
PLACES = {
    "projected": UTM,
    "rotated": {"crs": "EPSG:32632", "transform": ROTATED},
    "geographic": {"crs": "EPSG:4326", "transform": from_origin(11, 48, 3e-6, 3e-6)},
    "no coordinates": {},
}
KINDS = {
    "colours": lambda pixels: pixels,
    "grey": lambda pixels: pixels[:1],
    "four bands": lambda pixels: np.concatenate([pixels, pixels[:1] // 2]),
    "16 bits": lambda pixels: pixels.astype(np.uint16) * 40 + 300,
    "floats": lambda pixels: pixels.astype(np.float32) / 255 - 0.2,
}


@pytest.mark.parametrize(
    ("place", "kind"),
    [*(("projected", kind) for kind in KINDS), *((place, "colours") for place in PLACES if place != "projected")],
)
def test_the_label_map_has_the_georeference_of_the_scene(demo, write_raster, scene_pixels, place, kind):
    pixels = KINDS[kind](scene_pixels[:, :90, :120])
    mask = np.full(pixels.shape[1:], 255, np.uint8)
    mask[:, :15] = 0
    path = write_raster(pixels, mask=mask, **PLACES[place])
    status, out, _ = demo(path)
    assert status == 0
    with rasterio.open(path) as source, rasterio.open(out / "scene_labels.tif") as target:
        assert (target.crs, target.transform, target.shape) == (source.crs, source.transform, source.shape)
        assert (target.nodata, target.dtypes) == (255, ("uint8",))
        labels = target.read(1)
        assert target.tags()["CLASS_2"] == "tree"
        assert len(target.colormap(1)) == 256
    assert (labels[:, :15] == 255).all()
    assert labels[:, 15:].max() < 4
    shares = json.loads((out / "scene_shares.json").read_text())
    assert shares["segmented"] == pytest.approx(105 / 120)
    assert (shares["square_metres"] is None) == (place == "no coordinates")


@pytest.mark.parametrize(("nodata", "expected"), [(0, 255), (200, 200), (3, 255)])
def test_nodata_value_of_the_source_is_kept_unless_it_is_a_class(demo, write_raster, scene_pixels, nodata, expected):
    pixels = np.where(scene_pixels == nodata, nodata + 1, scene_pixels).astype(np.uint8)
    pixels[:, :50] = nodata
    _, out, _ = demo(write_raster(pixels, nodata=nodata, **UTM), "--confidence")
    with rasterio.open(out / "scene_labels.tif") as raster:
        assert raster.nodata == expected
        for band in raster.read():
            assert (band[:50] == expected).all()
            assert (band[50:] <= 100).all()
    assert json.loads((out / "scene_shares.json").read_text())["segmented"] == pytest.approx(0.75)


def test_more_than_255_classes(write_raster, scene_pixels, tmp_path):
    words = ", ".join(f"thing {i}" for i in range(256))
    mapper = fake_mapper(FakeModel(constant=True), words, SceneOptions(confidence=True))
    found = mapper(write_raster(scene_pixels[:, :64, :64], **UTM), tmp_path / "out/scene")
    with rasterio.open(found.files["labels"]) as raster:
        assert (raster.dtypes, raster.nodata) == (("uint16", "uint16"), 65535)
        assert raster.read(1).max() < 256 and raster.read(2).max() <= 100


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32633"])
def test_areas_are_right_at_60_degrees_north(demo, write_raster, scene_pixels, crs):
    """A square of known geodesic area, in coordinates that distort areas and in others."""
    import pyproj

    to = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    (left, right), (bottom, top) = to.transform([15.0, 15.004], [60.0, 60.002])
    transform = Affine((right - left) / 120, 0, left, 0, (bottom - top) / 100, top)
    path = write_raster(scene_pixels[:, :100, :120], crs=crs, transform=transform)
    _, out, _ = demo(path, opts=[*SMALL, "INPUT.GROUND_SAMPLE_DISTANCE", "0.0"])
    square = pyproj.Geod(ellps="WGS84").polygon_area_perimeter([15, 15.004, 15.004, 15], [60, 60, 60.002, 60.002])[0]
    content = json.loads((out / "scene_shares.json").read_text())
    assert sum(content["square_metres"].values()) == pytest.approx(abs(square), rel=1e-3)
    for name, share in content["shares"].items():
        assert content["square_metres"][name] == pytest.approx(share * abs(square), rel=1e-3)


def test_polygons_hold_the_classes_with_their_areas(demo, write_raster, scene_pixels):
    _, out, _ = demo(write_raster(scene_pixels, **UTM), "--polygons")
    metadata, _, geometries, (_, names, ids, areas, *_) = pyogrio.raw.read(out / "scene_polygons.gpkg")
    assert metadata["crs"] == "EPSG:32632"
    labels = read(out / "scene_labels.tif")
    shares = json.loads((out / "scene_shares.json").read_text())
    flat = np.array([polygon.area for polygon in shapely.from_wkb(geometries)])
    for i, name in enumerate(shares["shares"]):
        assert flat[ids == i].sum() == pytest.approx((labels == i).sum() * 0.09)
        assert areas[ids == i].sum() == pytest.approx(shares["square_metres"][name], rel=1e-3, abs=1e-3)
        assert set(names[ids == i]) <= {name}


def test_small_regions_join_their_neighbours(demo, write_raster, scene_pixels):
    path = write_raster(scene_pixels, **UTM)
    demo(path, "--polygons", "--min-area", "300px")
    _, out, _ = demo(path, "--polygons", "--min-area", "27")  # 300 pixels of 0.3 m
    _, _, geometries, _ = pyogrio.raw.read(out / "scene_polygons.gpkg")
    assert min(polygon.area for polygon in shapely.from_wkb(geometries)) >= 27 - 1e-6


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326"])
def test_only_the_area_of_interest_is_segmented(demo, write_raster, scene_pixels, tmp_path, crs):
    import pyproj

    inside = shapely.Polygon([(500_010, 5_299_990), (500_040, 5_299_990), (500_040, 5_299_960), (500_010, 5_299_960)])
    across = pyproj.Transformer.from_crs("EPSG:32632", crs, always_xy=True)
    polygon = shapely.transform(inside, across.transform, interleaved=False)
    pyogrio.raw.write(
        tmp_path / "field.gpkg",
        geometry=shapely.to_wkb(np.array([polygon], object)),
        field_data=[],
        fields=[],
        geometry_type="Polygon",
        crs=crs,
        driver="GPKG",
    )
    status, out, _ = demo(write_raster(scene_pixels, **UTM), "--aoi", tmp_path / "field.gpkg")
    labels = read(out / "scene_labels.tif")
    assert status == 0
    expected = np.zeros(labels.shape, bool)
    expected[33:133, 33:133] = True
    # A pixel counts if its centre is inside; the borders fall between pixels 33 and 34 after projection.
    assert (labels != 255).sum() == pytest.approx(expected.sum(), rel=0.03)
    assert ((labels != 255) == expected).mean() > 0.99


def test_a_scene_is_resampled_to_the_models_ground_sample_distance(demo, write_raster, scene_pixels, caplog):
    path = write_raster(scene_pixels, crs="EPSG:32632", transform=from_origin(500_000, 5_300_000, 0.6, 0.6))
    _, out, _ = demo(path)  # the model was trained at 0.3 m
    report = (out / "report.html").read_text()
    assert "0.6 m, resampled to 0.3 m for the model" in report
    coarse = read(out / "scene_labels.tif")
    _, out, _ = demo(path, "--gsd", "0.6")
    assert "0.6 m, resampled to 0.6 m for the model" in (out / "report.html").read_text()
    assert (read(out / "scene_labels.tif") != coarse).any()
    assert "own resolution" not in caplog.text
    demo(write_raster(scene_pixels, name="photo.tif"))
    assert "segmented at its own resolution, because it is not georeferenced" in caplog.text


def test_rejected_pixels_are_a_separate_class(demo, write_raster, scene_pixels):
    path = write_raster(scene_pixels, **UTM)
    _, out, _ = demo(path, "--confidence")
    percent = read(out / "scene_labels.tif", 2)
    kept = read(out / "scene_labels.tif")
    threshold = float(np.median(percent) + 0.5) / 100
    _, out, _ = demo(path, "--threshold", threshold)
    labels = read(out / "scene_labels.tif")
    assert (labels[percent + 1 < threshold * 100] == 4).all()
    clear = percent - 1 > threshold * 100
    assert (labels[clear] == kept[clear]).all()
    assert list(json.loads((out / "scene_shares.json").read_text())["shares"])[-1] == "other"
    _, out, _ = demo(path, "--background", "grass|bare soil")
    labels = read(out / "scene_labels.tif")
    assert (labels == 4).any()
    assert (labels[labels < 4] == kept[labels < 4]).all()


def test_probabilities_of_every_class(demo, write_raster, scene_pixels):
    _, out, _ = demo(write_raster(scene_pixels, **UTM), "--probabilities")
    with rasterio.open(out / "scene_probabilities.tif") as raster:
        assert raster.descriptions == ("building", "road", "tree", "water")
        percent = raster.read().astype(int)
    labels = read(out / "scene_labels.tif")
    assert (np.take_along_axis(percent, labels[None].astype(int), 0)[0] >= percent.max(axis=0)).all()


def test_another_vocabulary_does_not_encode_again(demo, predictor, write_raster, scene_pixels, tmp_path, monkeypatch):
    path = write_raster(scene_pixels, **UTM)
    _, out, _ = demo(path)
    uncached = read(out / "scene_labels.tif")
    encoded = []
    encode = predictor.model.image_encoder.forward
    monkeypatch.setattr(predictor.model.image_encoder, "forward", lambda images: encoded.append(1) or encode(images))
    _, out, _ = demo(path, "--cache", tmp_path / "cache", "--restart")
    first = len(encoded)
    assert first > 1
    assert (read(out / "scene_labels.tif") == uncached).all()
    demo(path, "--cache", tmp_path / "cache", words="car, grass")
    assert len(encoded) == first
    demo(path, "--cache", tmp_path / "cache", "--gsd", "0.5")
    assert len(encoded) > first
    _, out, _ = demo(path, "--cache", tmp_path / "several", "--restart", opts=[*SMALL, "TEST.SCENE.BATCH", "3"])
    assert (read(out / "scene_labels.tif") == uncached).mean() > 0.999
    damaged = next((tmp_path / "cache").rglob("*.safetensors"))
    damaged.write_bytes(damaged.read_bytes()[:50])
    assert demo(path, "--cache", tmp_path / "cache", "--restart")[0] == 0


def test_the_style_names_and_colours_every_class(demo, write_raster, scene_pixels):
    _, out, _ = demo(write_raster(scene_pixels, **UTM))
    entries = ElementTree.parse(out / "scene_labels.qml").findall(".//paletteEntry")
    with rasterio.open(out / "scene_labels.tif") as raster:
        colors = raster.colormap(1)
    assert [entry.get("label") for entry in entries] == ["building", "road", "tree", "water"]
    for entry in entries:
        assert entry.get("color") == "#{:02x}{:02x}{:02x}".format(*colors[int(entry.get("value"))][:3])


def test_the_report_is_one_page_that_needs_no_network(demo, write_raster, scene_pixels):
    words = "<b>bold</b>, road"
    status, out, _ = demo(write_raster(scene_pixels, **UTM), words=words)
    assert status == 0
    page = (out / "report.html").read_text()
    assert "&lt;b&gt;bold&lt;/b&gt;" in page and "<b>bold</b>" not in page
    assert page.count("src=") == page.count('src="data:image/jpeg;base64,') == 1
    assert "http" not in page.replace("data:image", "")[: page.index("base64")]
    shares = json.loads((out / "scene_shares.json").read_text())
    assert f"{100 * shares['shares']['road']:.2f} %" in page
    assert f"{shares['square_metres']['road'] / 1e4:,.2f}" in page
    for fact in ("260 x 200 pixels", "EPSG:32632", "peak memory", "megapixels a second"):
        assert fact in page


def test_overviews_are_built(write_raster, scene_pixels, tmp_path):
    large = np.tile(scene_pixels, (1, 6, 5))
    found = fake_mapper(FakeModel(), WINDOW=512, STRIDE=512)(write_raster(large, **UTM), tmp_path / "out/scene")
    with rasterio.open(found.files["labels"]) as raster:
        assert raster.overviews(1) == [2, 4]
        assert raster.profile["tiled"] and raster.profile["compress"] == "deflate"


LOCAL = 'LOCAL_CS["a building site",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'


@pytest.mark.parametrize(
    "place",
    [
        {"crs": LOCAL, "transform": from_origin(0, 0, 0.3, 0.3)},
        {"crs": "ESRI:54009", "transform": from_origin(-20_000_000, 9_500_000, 150_000, 95_000)},
        {"crs": "EPSG:4326", "transform": from_origin(-180.5, 90.5, 1.4, 0.91)},
        {"transform": from_origin(500_000, 5_300_000, 0.3, 0.3)},
    ],
    ids=["coordinates of its own", "beyond the edge of the world", "pixel-centred globe", "no coordinate system"],
)
def test_unusual_coordinates_give_a_label_map_too(demo, write_raster, scene_pixels, place):
    opts = [*SMALL, "INPUT.GROUND_SAMPLE_DISTANCE", "0.0"]
    status, out, errors = demo(write_raster(scene_pixels, **place), "--polygons", opts=opts)
    assert status == 0, errors
    areas = json.loads((out / "scene_shares.json").read_text())["square_metres"]
    assert areas is None or all(area >= 0 for area in areas.values())


def test_a_checkpoint_holds_the_ground_sample_distance_of_training(predictor, tmp_path):
    cfg = predictor.cfg.clone()
    cfg.defrost()
    cfg.INPUT.GROUND_SAMPLE_DISTANCE = 0.25
    save_inference_checkpoint(predictor.model, cfg, tmp_path / "model.pth")
    options = ("MODEL.DEVICE", "cpu", "INPUT.GROUND_SAMPLE_DISTANCE", "0.0")
    loaded = Predictor("sgovss_tiny.yaml", weights=tmp_path / "model.pth", options=options)
    assert loaded.cfg.INPUT.GROUND_SAMPLE_DISTANCE == 0.25
