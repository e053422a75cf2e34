"""The requests of the page, without a browser."""

from __future__ import annotations

import csv
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from sgovss.errors import InputError
from sgovss.inference.rejection import Rejection
from sgovss.page import examples, routes
from sgovss.page.server import create_app
from sgovss.vocabulary import Vocabulary
from tests.page.conftest import WORDS, png, scene, unpack

pytest.importorskip("flask", reason="needs the extra 'app'")


@pytest.fixture
def client(segmenter):
    return create_app(segmenter, max_megabytes=1).test_client()


def upload(client, pixels: np.ndarray, **headers: str):
    return client.post("/image", data={"file": (io.BytesIO(png(pixels)), "scene.png")}, headers=headers)


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
    assert page.status_code == 200 and b"Drop a picture here" in page.data
    answer = upload(client, scene()).get_json()
    assert (answer["width"], answer["height"], answer["title"], answer["scene"]) == (96, 96, "scene.png", False)
    preview = client.get(f"/preview/{answer['image']}")
    assert preview.content_type == "image/jpeg" and Image.open(io.BytesIO(preview.data)).size == (96, 96)
    asked = {"image": answer["image"], "words": WORDS, "threshold": "0"}
    view = unpack(client.post("/segment", json=asked).data)
    expected = predictor(scene(), WORDS)
    assert [entry["name"] for entry in view.header["classes"]] == ["building", "road", "tree", "water"]
    assert sum(entry["share"] for entry in view.header["classes"]) == pytest.approx(1)
    assert (view.labels == expected.labels).all() and (view.runners_up != view.labels).all()
    np.testing.assert_allclose(view.scores, expected.scores, atol=1e-5)
    assert (view.leads >= 0).all() and view.leads.max() <= 1
    labels = client.post("/labels", json=asked)
    assert labels.headers["Content-Disposition"] == "attachment; filename=labels.png"
    assert (np.asarray(Image.open(io.BytesIO(labels.data))) == expected.labels).all()


@pytest.mark.parametrize("words", [WORDS, "grass", "car, <b>court</b>, plane|jet"])
@pytest.mark.parametrize("threshold", [0, 0.05])
def test_the_zip_has_labels_overlay_and_shares(client, predictor, words, threshold):
    asked = {"image": upload(client, scene()).get_json()["image"], "words": words, "threshold": threshold}
    archive = zipfile.ZipFile(io.BytesIO(client.post("/files", json=asked).data))
    assert sorted(archive.namelist()) == ["labels.png", "overlay.png", "shares.csv", "shares.json"]
    expected = predictor(scene(), words, Rejection(threshold))
    labels = np.asarray(Image.open(io.BytesIO(archive.read("labels.png"))))
    assert (labels == expected.labels).all()
    table = [*csv.reader(io.StringIO(archive.read("shares.csv").decode()))]
    assert table[0] == ["class", "share"]
    shares = {name: float(share) for name, share in table[1:]}
    assert shares == json.loads(archive.read("shares.json"))["shares"] == pytest.approx(expected.shares)


def test_the_threshold_is_left_to_the_page(client):
    asked = {"image": upload(client, scene()).get_json()["image"], "words": WORDS}
    answers = [client.post("/segment", json={**asked, "threshold": t}).data for t in (0, 0.3, 1)]
    assert [(unpack(answer).labels == unpack(answers[0]).labels).all() for answer in answers] == [True] * 3


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
    answer = client.post("/segment", json={"image": image, "words": words, "threshold": threshold})
    told = unpack(answer.data).header["notes"]
    assert [note[: len(start)] for note, start in zip(told, notes, strict=True)] == notes


def test_background_becomes_other(client, predictor):
    asked = {"image": upload(client, scene()).get_json()["image"], "words": "water, ship", "background": "ground|road"}
    view = unpack(client.post("/segment", json=asked).data)
    expected = predictor(scene(), "water, ship", Rejection(background=("ground", "road")))
    assert [entry["name"] for entry in view.header["classes"]] == ["water", "ship", "other"]
    assert (view.labels == expected.labels).all() and (expected.labels == 2).any()


def test_large_photographs_have_a_small_view(client):
    pixels = np.repeat(np.repeat(scene(size=160), 4, axis=0), 16, axis=1)
    answer = upload(client, pixels).get_json()
    assert (answer["width"], answer["height"]) == (2560, 640)
    assert Image.open(io.BytesIO(client.get(f"/preview/{answer['image']}").data)).size == (2048, 512)
    view = unpack(client.post("/segment", json={"image": answer["image"], "words": WORDS}).data)
    assert (view.header["width"], view.header["height"]) == (256, 64)


def test_examples_are_drawn_and_differ(client, monkeypatch):
    monkeypatch.setattr(routes, "draw_example", lambda number: examples.draw_example(number, 96))
    names = {client.post("/example", json={"number": number}).get_json()["image"] for number in range(8)}
    assert len(names) == examples.EXAMPLES == 4
    first = client.post("/example").get_json()
    assert first["title"].startswith("example: ") and first["image"] in names
    for number in (-1, "a", 1.5, 2**40):
        assert client.post("/example", json={"number": number}).status_code == 400


def test_only_the_files_of_the_page_are_served(client):
    for path in ("/", "/main.js", "/style.css", "/icon.svg"):
        answer = client.get(path)
        assert answer.status_code == 200
        for forbidden in ("unsafe", "http:", "*"):
            assert forbidden not in answer.headers["Content-Security-Policy"]
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert client.get("/main.js").content_type.startswith("text/javascript")
    for path in ("/index.html/..", "/../setup.py", "/%2e%2e/detectron2.txt", "/etc/passwd", "/preview/../main.js"):
        assert client.get(path).status_code in (400, 404)
    assert client.get("/preview/nowhere").status_code == 400


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere(client):
    page = client.get("/").data.decode()
    assert "<style" not in page and "style=" not in page and " onclick" not in page
    assert "<script>" not in page
    for path in ("/", "/main.js", "/server.js", "/stage.js", "/painting.js", "/legend.js", "/recent.js", "/style.css"):
        assert "http" not in client.get(path).data.decode()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": ""}, "no class names"),
        ({"words": "road, Road"}, "stands twice"),
        ({"words": 5}, "the request has no words"),
        ({"image": "nowhere"}, "no longer in memory"),
        ({"threshold": "much"}, "threshold: 'much' is not a number"),
        ({"threshold": 2}, "is not from 0 to 1"),
        ({"gsd": "fine"}, "gsd: 'fine' is not a number"),
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
    assert client.post("/image").get_json()["error"] == "no image in the request; send it as the file 'file' of a form"
    for body in ({"data": "no json"}, {"json": [1, 2]}, {"json": "words"}):
        assert client.post("/segment", **body).status_code == 400


def test_large_uploads_are_refused(client):
    response = client.post("/image", data={"file": (io.BytesIO(bytes(2**20 + 1)), "large.png")})
    assert response.status_code == 413
    assert "larger than 1 MB" in response.get_json()["error"]


def test_an_ipv6_address_is_served(segmenter):
    app = create_app(segmenter, host="::1")
    assert app.test_client().get("/", headers={"Host": "[::1]:8501"}).status_code == 200
    for other in ("[::2]:8501", "[::1"):
        assert app.test_client().get("/", headers={"Host": other}).status_code == 403


def test_other_sites_are_refused(client):
    assert upload(client, scene(), Origin="https://elsewhere.example").status_code == 403
    assert upload(client, scene(), Origin="http://localhost").status_code == 200
    # A site that resolves its own name to this machine.
    named = {"Host": "evil.example:8501", "Origin": "http://evil.example:8501"}
    assert upload(client, scene(), **named).status_code == 403
