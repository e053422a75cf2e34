"""demo/demo.py on rasters, run as its command: georeference, words, areas, interruptions, errors."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
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
from sgovss.rasters import scene as scene_module

from .conftest import UTM

WORDS = "building, road, tree|forest, water"
SMALL = ["TEST.SCENE.WINDOW", "96", "TEST.SCENE.STRIDE", "64"]


@pytest.fixture
def demo(load_script, predictor, monkeypatch, tmp_path, capsys):
    """Runs the command with a model that is loaded once; returns status, output folder and errors."""
    script = load_script("demo/demo.py")

    def build(config, options=()):
        changed = predictor.cfg.clone()
        changed.defrost()
        changed.merge_from_list(list(options))
        twin = object.__new__(Predictor)
        twin.__dict__ = {**predictor.__dict__, "cfg": changed}
        return twin

    monkeypatch.setattr(script, "Predictor", build)

    def run(path: Path, *options: object, words: str = WORDS, opts: list[str] = SMALL) -> tuple[int, Path, str]:
        argv = [
            "--config-file",
            "sgovss_tiny.yaml",
            "--input",
            path,
            "--output",
            tmp_path / "out",
            "--vocabulary",
            words,
        ]
        status = script.main([*map(str, [*argv, *options]), "--opts", *opts])
        return status, tmp_path / "out", capsys.readouterr().err

    return run


def read(path: Path, band: int = 1) -> np.ndarray:
    with rasterio.open(path) as raster:
        return raster.read(band)


def test_a_scene_in_one_window_equals_the_untiled_result(demo, predictor, write_raster, scene_pixels):
    status, out, _ = demo(write_raster(scene_pixels, **UTM), "--confidence", opts=["TEST.SCENE.WINDOW", "512"])
    assert status == 0
    expected = predictor(np.ascontiguousarray(scene_pixels.transpose(1, 2, 0)), WORDS)
    assert (read(out / "scene_labels.tif") == expected.labels).all()
    percent = read(out / "scene_labels.tif", 2)
    assert np.abs(percent - expected.scores * 100).max() <= 0.51


def test_windows_agree_with_the_whole_but_for_little(demo, predictor, write_raster, scene_pixels):
    status, out, _ = demo(write_raster(scene_pixels, **UTM))
    expected = predictor(np.ascontiguousarray(scene_pixels.transpose(1, 2, 0)), WORDS).labels
    assert status == 0
    # Far from the borders of windows the model has nearly the same view.
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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_the_map_lies_where_the_scene_lies(demo, write_raster, scene_pixels, place, kind):
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


def test_more_than_255_words(demo, write_raster, scene_pixels):
    words = ", ".join(f"thing {i}" for i in range(256))
    status, out, _ = demo(write_raster(scene_pixels[:, :64, :64], **UTM), "--confidence", words=words)
    assert status == 0
    with rasterio.open(out / "scene_labels.tif") as raster:
        assert (raster.dtypes, raster.nodata) == (("uint16", "uint16"), 65535)
        assert raster.read(1).max() < 256 and raster.read(2).max() <= 100


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32633"])
def test_areas_are_right_at_60_degrees_north(demo, write_raster, scene_pixels, crs):
    """A square of known geodesic area, in coordinates that stretch it and in such that do not."""
    import pyproj

    to = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    (left, right), (bottom, top) = to.transform([15.0, 15.004], [60.0, 60.002])
    transform = Affine((right - left) / 120, 0, left, 0, (bottom - top) / 100, top)
    _, out, _ = demo(write_raster(scene_pixels[:, :100, :120], crs=crs, transform=transform))
    square = pyproj.Geod(ellps="WGS84").polygon_area_perimeter([15, 15.004, 15.004, 15], [60, 60, 60.002, 60.002])[0]
    content = json.loads((out / "scene_shares.json").read_text())
    assert sum(content["square_metres"].values()) == pytest.approx(abs(square), rel=0.01)
    for name, share in content["shares"].items():
        assert content["square_metres"][name] == pytest.approx(share * abs(square), rel=0.01)


def test_polygons_hold_the_classes_with_their_areas(demo, write_raster, scene_pixels):
    _, out, _ = demo(write_raster(scene_pixels, **UTM), "--polygons")
    metadata, _, geometries, (names, ids, areas) = pyogrio.raw.read(out / "scene_polygons.gpkg")
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
    # A pixel counts where its centre is inside; the borders fall between pixels 33 and 34 after projection.
    assert (labels != 255).sum() == pytest.approx(expected.sum(), rel=0.03)
    assert ((labels != 255) == expected).mean() > 0.99


def test_a_scene_is_seen_at_the_models_distance(demo, write_raster, scene_pixels, caplog):
    path = write_raster(scene_pixels, crs="EPSG:32632", transform=from_origin(500_000, 5_300_000, 0.6, 0.6))
    _, out, _ = demo(path)  # the model's 0.3 m
    report = (out / "report.html").read_text()
    assert "0.6 m, 0.3 m a pixel to the model" in report
    coarse = read(out / "scene_labels.tif")
    _, out, _ = demo(path, "--gsd", "0.6")
    assert "0.6 m, 0.6 m a pixel to the model" in (out / "report.html").read_text()
    assert (read(out / "scene_labels.tif") != coarse).any()
    assert "own resolution" not in caplog.text
    demo(write_raster(scene_pixels, name="photo.tif"))
    assert "taken at its own resolution, as it is not georeferenced" in caplog.text


def test_rejected_pixels_are_a_class_of_their_own(demo, write_raster, scene_pixels):
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


def test_other_words_do_not_encode_again(demo, predictor, write_raster, scene_pixels, tmp_path, monkeypatch):
    path = write_raster(scene_pixels, **UTM)
    _, out, _ = demo(path)
    uncached = read(out / "scene_labels.tif")
    encoded = []
    encode = predictor.model.image_encoder.forward
    monkeypatch.setattr(predictor.model.image_encoder, "forward", lambda images: encoded.append(1) or encode(images))
    _, out, _ = demo(path, "--cache", tmp_path / "cache")
    first = len(encoded)
    assert first > 1
    assert (read(out / "scene_labels.tif") == uncached).all()
    demo(path, "--cache", tmp_path / "cache", words="car, grass")
    assert len(encoded) == first
    demo(path, "--cache", tmp_path / "cache", "--gsd", "0.5")
    assert len(encoded) > first
    _, out, _ = demo(path, "--cache", tmp_path / "several", opts=[*SMALL, "TEST.SCENE.BATCH", "3"])
    assert (read(out / "scene_labels.tif") == uncached).mean() > 0.999
    damaged = next((tmp_path / "cache").rglob("*.safetensors"))
    damaged.write_bytes(damaged.read_bytes()[:50])
    assert demo(path, "--cache", tmp_path / "cache")[0] == 0


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


def test_overviews_are_built(demo, write_raster, scene_pixels):
    large = np.tile(scene_pixels, (1, 6, 5))
    _, out, _ = demo(write_raster(large, **UTM), opts=["TEST.SCENE.WINDOW", "512", "TEST.SCENE.STRIDE", "512"])
    with rasterio.open(out / "scene_labels.tif") as raster:
        assert raster.overviews(1) == [2, 4]
        assert raster.profile["tiled"] and raster.profile["compress"] == "deflate"


def test_an_interrupted_scene_goes_on(demo, write_raster, scene_pixels, monkeypatch):
    path = write_raster(scene_pixels, **UTM)
    opts = [*SMALL, "TEST.SCENE.MEMORY", "0"]  # several strips
    _, out, _ = demo(path, "--confidence", opts=opts)
    whole = (out / "scene_labels.tif").read_bytes()
    (out / "scene_labels.tif").unlink()
    save = scene_module.ChunkStore.save
    left = iter(range(3))

    def until(self, chunk, **arrays):
        if next(left, None) is None:
            raise KeyboardInterrupt
        save(self, chunk, **arrays)

    monkeypatch.setattr(scene_module.ChunkStore, "save", until)
    with pytest.raises(KeyboardInterrupt):
        demo(path, "--confidence", opts=opts)
    assert not (out / "scene_labels.tif").exists()
    saved = []
    monkeypatch.setattr(
        scene_module.ChunkStore, "save", lambda self, chunk, **a: saved.append(chunk) or save(self, chunk, **a)
    )
    assert demo(path, "--confidence", "--resume", opts=opts)[0] == 0
    assert (out / "scene_labels.tif").read_bytes() == whole
    chunks = len(saved)
    demo(path, "--confidence", opts=opts)
    assert len(saved) - chunks == chunks + 3
    assert not (out / "scene.parts").exists()
    # A finished scene is not begun again, unless something else is asked for.
    count, report = len(saved), (out / "report.html").read_text()
    assert demo(path, "--confidence", "--resume", opts=opts)[0] == 0
    assert len(saved) == count
    assert (out / "report.html").read_text().count("<td") == report.count("<td")
    demo(path, "--confidence", "--resume", "--polygons", opts=opts)
    assert len(saved) > count


def test_other_settings_are_not_resumed(demo, write_raster, scene_pixels, monkeypatch):
    path = write_raster(scene_pixels, **UTM)
    monkeypatch.setattr(
        scene_module, "write_labels", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    status, out, errors = demo(path)
    assert status == 1
    assert "cannot write (No space left on device); what is finished is kept, go on with --resume" in errors
    status, _, errors = demo(path, "--resume", words="car, tree")
    assert status == 1
    assert "--resume: " in errors and "was begun with other settings (legend)" in errors
    # Scored alike, but what was background would be a class now.
    demo(path, "--background", "grass")
    _, _, errors = demo(path, "--resume", words=f"{WORDS}, grass")
    assert "was begun with other settings (legend)" in errors
    assert list(out.glob("scene_labels.tif")) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bands", "1,2,7"], "has 3 bands, band 7 is asked for"),
        (["--bands", "red"], "--bands: 'red' is not 3 numbers with commas, such as 4,3,2"),
        (["--stretch", "98,2"], "--stretch: '98,2' must rise, from 0 to 100"),
        (["--min-area", "some"], "--min-area: 'some' is neither square metres"),
        (["--threshold", "30"], "--threshold: 30 is not from 0 to 1"),
        (["--aoi", "nowhere.gpkg"], "--aoi nowhere.gpkg: no such file"),
        (["--background", "road"], "'road' stands twice"),
        (["--gsd", "100"], "that is too far apart, give another --gsd"),
        (["--gsd", "-1"], "--gsd: -1 is no distance"),
    ],
)
def test_wrong_options_are_told_in_one_line(demo, write_raster, scene_pixels, options, message):
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
    assert "lies outside of" in demo(good, "--aoi", tmp_path / "far.geojson")[2]
    assert "--aoi" in demo(good, "--aoi", tmp_path / "text.tif")[2]
    assert "not georeferenced; give pixels" in demo(write_raster(scene_pixels, name="p.tif"), "--min-area", "50")[2]
    assert [path.name for path in out.glob("*labels*")] == []


def test_a_damaged_part_is_removed_and_made_again(demo, write_raster, scene_pixels, monkeypatch):
    path = write_raster(scene_pixels, **UTM)
    save = scene_module.ChunkStore.save

    def damaging(self, chunk, **arrays):
        save(self, chunk, **arrays)
        if chunk.row == 1:
            file = self._path(chunk)
            file.write_bytes(file.read_bytes()[:100])

    monkeypatch.setattr(scene_module.ChunkStore, "save", damaging)
    status, _, errors = demo(path)
    assert status == 1 and "was damaged and is removed; go on with --resume" in errors
    monkeypatch.setattr(scene_module.ChunkStore, "save", save)
    assert demo(path, "--resume")[0] == 0


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
def test_odd_coordinates_end_in_a_map_all_the_same(demo, write_raster, scene_pixels, place):
    opts = [*SMALL, "INPUT.GROUND_SAMPLE_DISTANCE", "0.0"]
    status, out, errors = demo(write_raster(scene_pixels, **place), "--polygons", opts=opts)
    assert status == 0, errors
    areas = json.loads((out / "scene_shares.json").read_text())["square_metres"]
    assert areas is None or all(area >= 0 for area in areas.values())


def test_outputs_are_no_inputs(demo, write_raster, scene_pixels, tmp_path):
    write_raster(scene_pixels, **UTM)
    (tmp_path / "out").mkdir()
    for _ in range(2):
        assert demo(tmp_path)[0] == 0
    assert [path.name for path in (tmp_path / "out").glob("*_labels.tif")] == ["scene_labels.tif"]


def test_an_odd_failure_is_that_images_alone(demo, write_raster, scene_pixels, tmp_path, monkeypatch):
    for name in ("a.tif", "b.tif"):
        write_raster(scene_pixels, name=name, **UTM)
    call = scene_module.SceneMapper.__call__

    def failing(self, path, target):
        if path.name == "a.tif":
            raise RuntimeError("out of the ordinary")
        return call(self, path, target)

    monkeypatch.setattr(scene_module.SceneMapper, "__call__", failing)
    status, out, errors = demo(tmp_path)
    assert status == 1 and "RuntimeError: out of the ordinary" in errors
    assert (out / "b_labels.tif").is_file() and "out of the ordinary" in (out / "report.html").read_text()


def test_a_checkpoint_says_what_distance_it_was_trained_at(predictor, tmp_path):
    cfg = predictor.cfg.clone()
    cfg.defrost()
    cfg.INPUT.GROUND_SAMPLE_DISTANCE = 0.25
    save_inference_checkpoint(predictor.model, cfg, tmp_path / "model.pth")
    options = ("MODEL.DEVICE", "cpu", "INPUT.GROUND_SAMPLE_DISTANCE", "0.0")
    loaded = Predictor("sgovss_tiny.yaml", weights=tmp_path / "model.pth", options=options)
    assert loaded.cfg.INPUT.GROUND_SAMPLE_DISTANCE == 0.25


@pytest.mark.slow
def test_killed_and_resumed_as_a_real_process(write_raster, scene_pixels, tmp_path, checkout):
    path = write_raster(np.tile(scene_pixels, (1, 4, 3)), **UTM)

    def command(out: str, *more: str) -> list[str]:
        argv = ["--config-file", "sgovss_tiny.yaml", "--input", path, "--vocabulary", WORDS, "--output", tmp_path / out]
        return [
            sys.executable,
            str(checkout / "demo/demo.py"),
            *map(str, [*argv, *more]),
            "--opts",
            "MODEL.DEVICE",
            "cpu",
            *SMALL,
        ]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert subprocess.run(command("whole"), env=environment, capture_output=True, check=False).returncode == 0
    process = subprocess.Popen(command("killed"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    parts = tmp_path / "killed/scene.parts"
    deadline = time.monotonic() + 120
    while len(list(parts.glob("[0-9]*.npz"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(parts.glob("[0-9]*.npz"))) >= 3
    assert not (tmp_path / "killed/scene_labels.tif").exists()
    done = subprocess.run(command("killed", "--resume"), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "killed/scene_labels.tif").read_bytes() == (tmp_path / "whole/scene_labels.tif").read_bytes()


@pytest.fixture
def folder(write_raster, scene_pixels, tmp_path) -> Path:
    """Three scenes and a file that is none."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    for name in "abc":
        write_raster(scene_pixels[:, : 100 + ord(name) % 5], name=f"{name}.tif", **UTM).rename(folder / f"{name}.tif")
    (folder / "broken.tif").write_text("no raster")
    return folder


def start(checkout: Path, folder: Path, output: Path, *more: str) -> subprocess.Popen:
    argv = ["--config-file", "sgovss_tiny.yaml", "--input", folder, "--vocabulary", WORDS, "--output", output, *more]
    return subprocess.Popen(
        [sys.executable, str(checkout / "demo/demo.py"), *map(str, argv), "--opts", "MODEL.DEVICE", "cpu"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("machines", [1, 2])
def test_a_folder_is_shared_over_processes(folder, tmp_path, checkout, machines):
    """Two processes, on one machine or one on each of two: every scene is finished by just one of them."""
    several = [["--processes", "2"]]
    if machines == 2:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        several = [["--num-machines", "2", "--machine-rank", rank, "--dist-url", url] for rank in "01"]
    processes = [start(checkout, folder, tmp_path / "out", *more) for more in several]
    outputs = [process.communicate(timeout=240) for process in processes]
    assert processes[0].returncode == 1, outputs[0][1][-2000:]
    said = "".join(out + error for out, error in outputs)
    assert "broken.tif: not a raster that can be read" in said and "1 of 4 images failed" in said
    summary = json.loads((tmp_path / "out/run.json").read_text())
    assert sorted(Path(image).name for image in summary["images"]) == ["a.tif", "b.tif", "c.tif"]
    for name in "abc":
        assert said.count(f"{name}_overlay.png") == 1
    assert (tmp_path / "out/report.html").read_text().count("<h2>") == 3


@pytest.mark.slow
def test_a_full_disk(write_raster, scene_pixels, tmp_path, checkout):
    """On a real file system of a few kilobytes: one line, and nothing half-written under a final name."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48k", "none", disk], capture_output=True, check=False
    ).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        path = write_raster(np.tile(scene_pixels, (1, 3, 3)), **UTM)
        process = start(checkout, path, disk / "out")
        _, error = process.communicate(timeout=240)
        assert process.returncode == 1, error[-2000:]
        assert "No space left on device" in error
        for file in disk.rglob("*_labels.tif"):
            assert read(file).shape == (600, 780), "half-written under its final name"
    finally:
        subprocess.run(["umount", disk], check=False)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_scene(load_script, tmp_path):
    """Peak memory of the whole command within 10 %, at seven times the pixels."""
    tool = load_script("tools/benchmark.py")
    opts = ["MODEL.CLIP.WEIGHTS", "random", "MODEL.DEVICE", "cpu", "TEST.SCENE.STRIDE", "512"]
    argv = [
        "scenes",
        "--sizes",
        "3000",
        "8000",
        "--classes",
        "10",
        "--json",
        str(tmp_path / "figures.json"),
        "--opts",
        *opts,
    ]
    assert tool.main(argv) == 0
    small, large = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert large["peak MB"] <= 1.1 * small["peak MB"]
