"""'sgovss app': the requests of the page, and its use in a browser if one is installed."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Iterator
from importlib import import_module

import numpy as np
import pytest
from PIL import Image

import sgovss
from sgovss.errors import InputError
from sgovss.inference.interactive import InteractiveSegmenter
from sgovss.inference.rejection import Rejection
from sgovss.synthetic import generate_image
from sgovss.vocabulary import Vocabulary

pytest.importorskip("flask", reason="needs the extra 'app'")

WORDS = "building, road, tree|forest, water"


@pytest.fixture(scope="module")
def predictor():
    return sgovss.Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu"))


@pytest.fixture
def segmenter(predictor):
    return InteractiveSegmenter(predictor, longest=256, kept=2)


@pytest.fixture
def client(load_script, segmenter):
    return import_module("sgovss.commands.app").create_app(segmenter, max_megabytes=1).test_client()


def scene(seed: int = 5, size: int = 96) -> np.ndarray:
    return generate_image(seed, size, "b").image


def upload(client, pixels: np.ndarray, **headers: str):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    buffer.seek(0)
    return client.post("/image", data={"file": (buffer, "scene.png")}, headers=headers)


def test_results_equal_those_of_the_predictor(predictor, segmenter):
    name = segmenter.add(scene())
    answer = segmenter.segment(name, Vocabulary.from_string(WORDS), Rejection())
    expected = predictor(scene(), WORDS)
    assert (answer.labels == expected.labels).all()
    np.testing.assert_allclose(answer.scores, expected.scores, atol=1e-6)


def test_other_classes_do_not_encode_again(predictor, segmenter, monkeypatch):
    calls = []
    forward = predictor.model.image_encoder.forward
    monkeypatch.setattr(predictor.model.image_encoder, "forward", lambda images: calls.append(1) or forward(images))
    name = segmenter.add(scene())
    for words in (WORDS, "car, grass", "ship"):
        segmenter.segment(name, Vocabulary.from_string(words), Rejection(0.1))
    assert segmenter.add(scene()) == name
    assert len(calls) == 1


def test_large_images_are_shrunk_and_results_have_their_size(segmenter):
    pixels = np.repeat(np.repeat(scene(size=160), 2, axis=0), 3, axis=1)
    answer = segmenter.segment(segmenter.add(pixels), Vocabulary.from_string(WORDS), Rejection())
    assert answer.labels.shape == answer.scores.shape == (320, 480)


def test_only_the_last_images_are_kept(segmenter):
    names = [segmenter.add(scene(seed)) for seed in (1, 2, 3)]
    with pytest.raises(InputError, match="no longer in memory; drop it again"):
        segmenter.image(names[0])
    assert (segmenter.image(names[2]) == scene(3)).all()


def test_requests_one_after_the_other(client, predictor):
    page = client.get("/")
    assert page.status_code == 200 and b"Drop an image here" in page.data
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    answer = upload(client, scene()).get_json()
    assert (answer["width"], answer["height"]) == (96, 96)
    asked = {"image": answer["image"], "words": WORDS, "threshold": "0", "alpha": "0.4"}
    result = client.post("/segment", json=asked).get_json()
    assert result["overlay"].startswith("data:image/jpeg;base64,")
    assert sum(row["share"] for row in result["legend"]) == pytest.approx(1)
    assert {row["name"] for row in result["legend"]} == {"building", "road", "tree", "water"}
    assert all(0 <= row["confidence"] <= 1 for row in result["legend"] if row["share"])
    labels = client.post("/labels", json=asked)
    assert labels.headers["Content-Disposition"] == "attachment; filename=labels.png"
    assert (np.asarray(Image.open(io.BytesIO(labels.data))) == predictor(scene(), WORDS).labels).all()


@pytest.mark.parametrize(
    ("words", "threshold", "notes"),
    [
        ("building, road", "0", []),
        ("building road", "0", ["one class, 'building road': every pixel will be it"]),
        ("building\nroad", "0", []),
        ("building and road", "0.5", ["one class, 'building and road'; commas separate classes"]),
    ],
)
def test_readings_that_may_not_be_meant_are_told(client, words, threshold, notes):
    image = upload(client, scene()).get_json()["image"]
    answer = client.post("/segment", json={"image": image, "words": words, "threshold": threshold}).get_json()
    assert [note[: len(start)] for note, start in zip(answer["notes"], notes, strict=True)] == notes


def test_rejection(client):
    asked = {"image": upload(client, scene()).get_json()["image"], "words": WORDS, "threshold": 1}
    legend = client.post("/segment", json=asked).get_json()["legend"]
    assert (legend[0]["name"], legend[0]["share"]) == ("other", 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": ""}, "no class names"),
        ({"words": "road, Road"}, "stands twice"),
        ({"words": 5}, "the request has no words"),
        ({"image": "nowhere"}, "no longer in memory"),
        ({"threshold": "much"}, "threshold: 'much' is not a number"),
        ({"threshold": 2}, "is not from 0 to 1"),
        ({"background": "road"}, "stands twice"),
    ],
)
def test_wrong_requests_are_reported_in_one_line(client, changes, message):
    asked = {"image": upload(client, scene()).get_json()["image"], "words": WORDS, **changes}
    response = client.post("/segment", json=asked)
    assert response.status_code == 400
    assert message in response.get_json()["error"]
    assert "\n" not in response.get_json()["error"]


def test_files_that_are_not_images(client):
    response = client.post("/image", data={"file": (io.BytesIO(b"text"), "notes.txt")})
    assert response.status_code == 400
    assert response.get_json()["error"].startswith("notes.txt: cannot read this image")
    assert client.post("/image").get_json()["error"] == "no image in the request"
    for body in ({"data": "no json"}, {"json": [1, 2]}, {"json": "words"}):
        assert client.post("/segment", **body).status_code == 400


def test_large_uploads_are_refused(client):
    response = client.post("/image", data={"file": (io.BytesIO(bytes(2**20 + 1)), "large.png")})
    assert response.status_code == 413
    assert "larger than 1 MB" in response.get_json()["error"]


def test_an_ipv6_address_is_served(segmenter):
    app = import_module("sgovss.commands.app").create_app(segmenter, host="::1")
    assert app.test_client().get("/", headers={"Host": "[::1]:8501"}).status_code == 200
    for other in ("[::2]:8501", "[::1"):
        assert app.test_client().get("/", headers={"Host": other}).status_code == 403


def test_other_sites_are_refused(client):
    assert upload(client, scene(), Origin="https://elsewhere.example").status_code == 403
    assert upload(client, scene(), Origin="http://localhost").status_code == 200
    # A site that resolves its own name to this machine.
    named = {"Host": "evil.example:8501", "Origin": "http://evil.example:8501"}
    assert upload(client, scene(), **named).status_code == 403


def test_the_page_listens_at_this_machine_only(load_script, predictor, monkeypatch):
    script, listening = import_module("sgovss.commands.app"), []

    def make_server(host, port, app, threaded):
        listening.append(host)
        raise OSError("taken")

    monkeypatch.setattr(script, "Predictor", lambda *_, **__: predictor)
    monkeypatch.setattr("werkzeug.serving.make_server", make_server)
    assert script.main(["--config-file", "sgovss_tiny.yaml"]) == 2
    assert listening == ["127.0.0.1"]


@pytest.fixture
def address(load_script, segmenter) -> Iterator[str]:
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, import_module("sgovss.commands.app").create_app(segmenter), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/"
    server.shutdown()
    thread.join()


@pytest.mark.slow
def test_the_page_in_a_browser(address, tmp_path):
    """Choose an image, segment it, change the class names, download, in a headless Chromium."""
    sync = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs a Chromium (Debian: apt install chromium)")
    Image.fromarray(scene(70001, 512)).save(tmp_path / "scene.png")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 760})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        assert page.locator("#segment").is_disabled()
        page.set_input_files("#file", tmp_path / "scene.png")
        page.get_by_text("512 x 512 pixels, encoded in").wait_for()
        page.click("#segment")
        page.get_by_text("segmented in").wait_for()
        assert page.locator("#legend tbody tr").count() == 6
        assert page.locator("#drop img").get_attribute("src").startswith("data:image/jpeg")
        page.screenshot(path=tmp_path / "segmented.png")
        page.fill("#words", "building, <b>tennis court</b>")
        page.click("#segment")
        page.get_by_text("<b>tennis court</b>", exact=True).wait_for()
        assert page.locator("#legend tbody tr").count() == 2
        with page.expect_download() as download:
            page.click("#download")
        labels = np.asarray(Image.open(download.value.path()))
        assert labels.shape == (512, 512) and set(np.unique(labels)) <= {0, 1}
        page.fill("#words", "road, road")
        page.click("#segment")
        page.get_by_text("stands twice").wait_for()
        assert page.locator("#message").get_attribute("class") == "error"
        browser.close()
    assert problems == []
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
    with Image.open(tmp_path / "segmented.png") as picture:
        colors = {color for _, color in picture.convert("RGB").getcolors(10**6)}
    assert (200, 65, 55) in colors  # the swatch of building
