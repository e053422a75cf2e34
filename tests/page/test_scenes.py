"""GeoTIFFs and other scenes on the page, without a browser."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("flask", reason="needs the extra 'app'")
pytest.importorskip("rasterio", reason="needs the extra 'geo'")
pytest.importorskip("pyogrio", reason="needs the extra 'geo'")
import numpy as np
import pyogrio
import rasterio
from PIL import Image

from sgovss.page.scenes import SceneDesk
from sgovss.page.server import create_app
from sgovss.page.uploads import is_scene
from tests.page.conftest import WORDS, png, scene, unpack


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "scenes").mkdir()
    return tmp_path / "scenes"


@pytest.fixture
def client(predictor, segmenter, folder):
    desk = SceneDesk(predictor, folder, threading.Lock())
    return create_app(segmenter, max_megabytes=1, scenes=desk).test_client()


def upload(client, content: bytes, name: str = "scene.tif"):
    return client.post("/image", data={"file": (io.BytesIO(content), name)})


def raster(path: Path, driver: str, **options: object) -> bytes:
    """A drawn image in a format of GDAL."""
    pixels = scene(3, 64).astype(options.get("dtype", "uint8")).transpose(2, 0, 1)
    with rasterio.open(path, "w", driver=driver, height=64, width=64, count=3, **{"dtype": "uint8", **options}) as file:
        file.write(pixels)
    return path.read_bytes()


def test_a_geotiff_from_upload_to_products(client, geotiff, tmp_path):
    answer = upload(client, geotiff.read_bytes(), "plot 1.tif").get_json()
    assert (answer["width"], answer["height"], answer["scene"], answer["note"]) == (160, 120, True, "EPSG:32632")
    assert Image.open(io.BytesIO(client.get(f"/preview/{answer['image']}").data)).size == (160, 120)
    asked = {"image": answer["image"], "words": WORDS}
    view = unpack(client.post("/segment", json=asked).data)
    assert (view.labels[:30, :40] == 65535).all() and (view.labels[30:, 40:] < 4).all()
    assert sum(entry["area"] for entry in view.header["classes"]) == pytest.approx((160 * 120 - 1200) / 4, rel=2e-3)
    archive = zipfile.ZipFile(io.BytesIO(client.post("/files", json=asked).data))
    expected = ["labels.qml", "labels.tif", "overlay.png", "polygons.gpkg", "shares.csv", "shares.json"]
    assert sorted(archive.namelist()) == expected
    with rasterio.open(geotiff) as source, rasterio.MemoryFile(archive.read("labels.tif")) as file, file.open() as made:
        assert (made.crs, made.transform, made.shape) == (source.crs, source.transform, source.shape)
        labels = np.where(made.read_masks(1) > 0, made.read(1).astype(int), 65535)
    assert (labels == view.labels).all()
    polygons = Path(archive.extract("polygons.gpkg", tmp_path))
    assert pyogrio.read_info(polygons)["crs"] == "EPSG:32632"
    shares = json.loads(archive.read("shares.json"))
    assert shares["shares"] == {entry["name"]: entry["share"] for entry in view.header["classes"]}
    assert archive.read("shares.csv").decode().splitlines()[0] == "class,share,square_metres"
    labels_alone = client.post("/labels", json=asked)
    assert labels_alone.headers["Content-Disposition"] == "attachment; filename=labels.tif"
    assert labels_alone.data == archive.read("labels.tif")


def test_the_threshold_and_the_background_are_in_the_products(client, geotiff):
    image = upload(client, geotiff.read_bytes()).get_json()["image"]
    asked = {"image": image, "words": "water, ship", "background": "ground", "threshold": 1}
    with rasterio.MemoryFile(client.post("/labels", json=asked).data) as file, file.open() as made:
        assert set(np.unique(made.read(1)[30:, 40:])) == {2}
    assert [c["name"] for c in unpack(client.post("/segment", json=asked).data).header["classes"]][-1] == "other"


@pytest.mark.parametrize("metres", [0.001, 20, 70_000])
def test_a_scene_far_from_the_models_resolution_gets_a_remedy_that_works(client, tmp_path, metres):
    transform = rasterio.Affine(metres, 0, 300_000, 0, -metres, 5_000_000)
    content = raster(tmp_path / "far.tif", "GTiff", crs="EPSG:32632", transform=transform)
    asked = {"image": upload(client, content, "far.tif").get_json()["image"], "words": WORDS}
    error = client.post("/segment", json=asked).get_json()["error"]
    assert error.startswith("far.tif: has ") and error.endswith("give other metres per pixel under More")
    assert client.post("/segment", json={**asked, "gsd": str(metres)}).status_code == 200


@pytest.mark.parametrize("height", [100, 1100, 1600])
def test_progress_of_a_scene(predictor, client, tmp_path, monkeypatch, height):
    pixels = np.tile(scene(3, 64).transpose(2, 0, 1), (1, 25, 1))[:, :height]
    with rasterio.open(
        tmp_path / "tall.tif", "w", driver="GTiff", height=height, width=64, count=3, dtype="uint8"
    ) as file:
        file.write(pixels)
    image, seen = upload(client, (tmp_path / "tall.tif").read_bytes()).get_json()["image"], []
    forward, other = predictor.model.image_encoder.forward, client.application.test_client()

    def ask() -> float | None:
        return other.get(f"/progress/{image}").get_json()["filled"]

    monkeypatch.setattr(predictor.model.image_encoder, "forward", lambda images: seen.append(ask()) or forward(images))
    assert ask() is None
    assert client.post("/segment", json={"image": image, "words": WORDS}).status_code == 200
    units = -(-height // 512)
    known = [filled for filled in seen if filled is not None]
    assert known == sorted(known)  # the last part is filled after the last encoded window, or the last two
    assert {i / units for i in range(1, units - 1)} <= set(known) <= {i / units for i in range(1, units)}
    assert ask() is None


def test_other_classes_do_not_encode_again(predictor, client, geotiff, monkeypatch):
    calls = []
    forward = predictor.model.image_encoder.forward
    monkeypatch.setattr(predictor.model.image_encoder, "forward", lambda images: calls.append(1) or forward(images))
    image = upload(client, geotiff.read_bytes()).get_json()["image"]
    for words in (WORDS, "car, grass", WORDS):
        assert client.post("/segment", json={"image": image, "words": words}).status_code == 200
        if words == WORDS and len(calls):
            first = len(calls)
    assert len(calls) == first


def test_products_of_many_sets_of_classes_do_not_fill_the_disk(client, geotiff, folder, monkeypatch):
    image = upload(client, geotiff.read_bytes()).get_json()["image"]

    def ask(words: str) -> bytes:
        return client.post("/labels", json={"image": image, "words": words}).data

    monkeypatch.setattr("sgovss.page.scenes._MOST_ANSWERS", 2)
    first, kept = ask("water, road"), []
    for number in range(4):
        ask(f"water, road, car, place {number}")
        assert ask("water, road") == first
        kept.append(sum(path.is_dir() for path in (folder / image).iterdir()))
    assert kept[-1] == kept[-2] == kept[-3] < 5
    assert ask("water, road, car, place 0")  # made again


@pytest.mark.parametrize(
    ("driver", "options"),
    [("GTiff", {"dtype": "float32"}), ("GTiff", {"BIGTIFF": "YES"}), ("JP2OpenJPEG", {}), ("PNG", {"dtype": "uint16"})],
)
def test_kinds_of_scenes(client, tmp_path, driver, options):
    content = raster(tmp_path / "made", driver, **options)
    assert is_scene(content)
    answer = upload(client, content, "made").get_json()
    assert (answer["scene"], answer["note"]) == (True, "not georeferenced")
    view = unpack(client.post("/segment", json={"image": answer["image"], "words": WORDS}).data)
    assert view.labels.shape == (64, 64) and view.labels.max() < 4
    assert {entry["area"] for entry in view.header["classes"]} == {None}


def test_photographs_are_no_scenes(tmp_path):
    jpeg = io.BytesIO()
    Image.fromarray(scene()).save(jpeg, "JPEG")
    assert not any(is_scene(content) for content in (png(scene()), jpeg.getvalue(), b"", b"II", b"<VRTDataset>"))


@pytest.mark.parametrize(("size", "kind"), [((200, 300), "JPEG"), ((260, 180), "PNG")])
def test_every_pixel_of_a_large_photograph_is_seen(predictor, client, size, kind):
    """In this test a photograph of more than 256 pixels would be shrunk without the scene engine."""
    buffer = io.BytesIO()
    Image.fromarray(scene(3, 512)[: size[0], : size[1]]).save(buffer, kind)
    answer = upload(client, buffer.getvalue(), f"photo.{kind.lower()}").get_json()
    assert (answer["height"], answer["width"], answer["scene"]) == (*size, True)
    asked = {"image": answer["image"], "words": WORDS}
    with rasterio.MemoryFile(client.post("/labels", json=asked).data) as file, file.open() as made:
        labels = made.read(1)
    with Image.open(buffer) as photograph:
        assert (labels == predictor(photograph, WORDS).labels).mean() > 0.99


def bordered(colour: int, height: int = 300, width: int = 320) -> np.ndarray:
    """A drawn image with a border of one colour: a night sky, snow, or a collar."""
    pixels = scene(3, 512)[:height, :width].copy()
    pixels[:90], pixels[:, :60] = colour, colour
    return pixels


@pytest.mark.parametrize(("colour", "kind"), [(0, "JPEG"), (255, "PNG")])
def test_the_sky_of_a_large_photograph_is_no_collar(client, colour, kind):
    buffer = io.BytesIO()
    Image.fromarray(bordered(colour)).save(buffer, kind)
    answer = upload(client, buffer.getvalue(), f"photo.{kind.lower()}").get_json()
    view = unpack(client.post("/segment", json={"image": answer["image"], "words": WORDS}).data)
    assert answer["scene"] and answer["note"] == "not georeferenced"
    assert (view.labels < 4).all()


@pytest.mark.parametrize("colour", [0, 255])
def test_the_collar_of_a_scene_is_left_out_and_told(client, colour, tmp_path):
    path = tmp_path / "collar.tif"
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_300_000)}
    with rasterio.open(path, "w", driver="GTiff", height=300, width=320, count=3, dtype="uint8", **place) as file:
        file.write(bordered(colour).transpose(2, 0, 1))
    answer = upload(client, path.read_bytes(), "collar.tif").get_json()
    told = f"EPSG:32632; a constant area ({colour}, {colour}, {colour}) at the border, 43 % of the pixels, is left out"
    assert answer["note"].startswith(told) and "--" not in answer["note"]
    view = unpack(client.post("/segment", json={"image": answer["image"], "words": WORDS}).data)
    assert (view.labels[:80, :50] == 65535).all() and (view.labels[100:, 70:] < 4).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"II*\0", "a/b.tif: cannot read this scene; copy it again, it may be damaged or cut off"),
        (b"MM\0*" + bytes(500), "a/b.tif: cannot read this scene; copy it again, it may be damaged or cut off"),
        (
            b"\0\0\0\x0cjP  \r\n\x87\n" + b"x" * 500,
            "a/b.tif: cannot read this scene; copy it again, it may be damaged or cut off",
        ),
        (b"<VRTDataset rasterXSize='9' rasterYSize='9'></VRTDataset>", "a/b.tif: cannot read this image ("),
    ],
)
def test_wrong_scenes_get_one_line_and_leave_nothing(client, folder, content, message):
    response = upload(client, content, "a/b.tif")
    assert response.status_code == 400
    assert response.get_json()["error"].startswith(message) and "\n" not in response.get_json()["error"]
    assert list(folder.iterdir()) == []


def test_no_message_names_a_path_of_the_server(client, folder, tmp_path):
    empty = tmp_path / "empty.tif"
    with rasterio.open(empty, "w", driver="GTiff", height=64, width=64, count=1, dtype="uint16", nodata=0) as file:
        file.write(np.zeros((1, 64, 64), "uint16"))
    error = upload(client, empty.read_bytes(), "empty.tif").get_json()["error"]
    assert error.startswith("empty.tif: no pixel with data") and error.endswith("use 'sgovss segment --no-data none'")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("side", [9_000, 30_000])
def test_few_bytes_of_many_pixels_are_refused(client, folder, tmp_path, side):
    path = tmp_path / "large.tif"
    options = {"height": side, "width": side, "count": 1, "dtype": "uint8", "tiled": True, "SPARSE_OK": "TRUE"}
    rasterio.open(path, "w", driver="GTiff", compress="deflate", **options).close()
    response = upload(client, path.read_bytes(), "large.tif")
    message = f"large.tif: {side} x {side} pixels are too many for this page; use 'sgovss segment'"
    assert (response.status_code, response.get_json()["error"]) == (400, message)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("bands", "side"), [(1200, 1024), (4000, 600)])
def test_few_bytes_of_large_blocks_are_refused(client, folder, tmp_path, bands, side):
    path = tmp_path / "deep.tif"
    options = {"height": side, "width": side, "count": bands, "dtype": "uint8", "SPARSE_OK": "TRUE"}
    options |= {"interleave": "pixel", "blockysize": side, "compress": "deflate"}
    rasterio.open(path, "w", driver="GTiff", **options).close()
    response = upload(client, path.read_bytes(), "deep.tif")
    remedy = "keep three bands in tiles, with 'gdal_translate -b 1 -b 2 -b 3 -co TILED=YES'"
    message = f"deep.tif: its blocks are too large for this page; {remedy}"
    assert (response.status_code, response.get_json()["error"]) == (400, message)


def test_a_full_disk_is_one_line(client, folder, geotiff, monkeypatch):
    def write_bytes(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    content = geotiff.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    error = upload(client, content, "plot.tif").get_json()["error"]
    assert error == f"plot.tif: cannot write it to {folder} (No space left on device); make room, or set TMPDIR"
    assert list(folder.iterdir()) == []


def test_only_the_last_scenes_are_kept(client, folder, tmp_path):
    names = [upload(client, raster(tmp_path / f"{i}", "GTiff", nodata=i)).get_json()["image"] for i in range(3)]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names[1:])
    response = client.post("/segment", json={"image": names[0], "words": WORDS})
    assert response.get_json()["error"] == "the image is no longer in memory; drop it again"


def test_too_many_classes_are_refused(client, geotiff, monkeypatch):
    monkeypatch.setattr("sgovss.page.scenes._MOST_SCORES", 1_000_000)
    image = upload(client, geotiff.read_bytes()).get_json()["image"]
    words = ", ".join(f"word {number}" for number in range(60))
    response = client.post("/segment", json={"image": image, "words": words})
    assert response.get_json()["error"] == "classes: 60 are too many for this scene; give at most 52"


def test_without_the_extra_geo_tiffs_are_photographs(segmenter):
    buffer = io.BytesIO()
    Image.fromarray(scene()).save(buffer, "TIFF")
    answer = upload(create_app(segmenter).test_client(), buffer.getvalue()).get_json()
    assert (answer["scene"], answer["width"]) == (False, 96)
