"""Limits of 'sgovss app': it writes no files, and refuses requests that would need too much memory."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from importlib import import_module

import numpy as np
import pytest
from PIL import Image

import sgovss
from sgovss.inference.interactive import InteractiveSegmenter
from tests.robustness.cases.labels import huge_png

pytest.importorskip("flask", reason="needs the extra 'app'")
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart


@pytest.fixture(scope="module")
def segmenter() -> InteractiveSegmenter:
    options = ("MODEL.DEVICE", "cpu", "MODEL.CLIP.KEEP_TEXT", "False")  # as in the command
    return InteractiveSegmenter(sgovss.Predictor("sgovss_tiny.yaml", options=options), longest=128)


@pytest.fixture
def client(load_script, segmenter):
    return import_module("sgovss.commands.app").create_app(segmenter, max_megabytes=2).test_client()


_written: list[str] = []
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND


def _watch(event: str, arguments: tuple) -> None:
    """An audit hook, which the interpreter calls for every file that is opened."""
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
        _written.append(str(arguments[0]))


@pytest.fixture(scope="module", autouse=True)
def watch() -> None:
    sys.addaudithook(_watch)  # audit hooks cannot be removed


@pytest.fixture
def written() -> Iterator[list[str]]:
    """Files opened for writing while the test runs."""
    _written.clear()
    yield _written


def noise(side: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_nothing_is_written_not_even_a_large_upload(client, written, tmp_path):
    (tmp_path / "seen").write_text("")
    assert str(tmp_path / "seen") in written, "the audit hook does not see files, so the test proves nothing"
    large = noise(700)
    assert len(large) > 1_000_000  # Flask would write it to a temporary file
    # Encoded here, because the test client would use a temporary file too.
    boundary, form = encode_multipart({"file": FileStorage(io.BytesIO(large), "large.png")})
    written.clear()
    answer = client.post("/image", data=form, content_type=f"multipart/form-data; boundary={boundary}").get_json()
    asked = {"image": answer["image"], "words": "road, water"}
    for address in ("/segment", "/labels", "/files"):
        assert client.post(address, json=asked).status_code == 200
    assert written == []


@pytest.mark.parametrize(
    ("side", "message"),
    [
        (10_000, "black.png: 10000 x 10000 pixels are too many for this page; use 'sgovss segment'"),
        (20_000, "black.png: cannot read this image (more than 178,956,970 pixels; cut it into tiles)"),
    ],
)
def test_few_bytes_of_many_pixels_are_refused(client, tmp_path, side, message):
    huge_png(tmp_path / "black.png", side)
    content = (tmp_path / "black.png").read_bytes()
    assert len(content) < 100_000
    response = client.post("/image", data={"file": (io.BytesIO(content), "black.png")})
    assert (response.status_code, response.get_json()["error"]) == (400, message)


def test_too_many_classes_are_refused(client):
    image = client.post("/image", data={"file": (io.BytesIO(noise(128)), "small.png")}).get_json()["image"]
    words = ", ".join(f"word {number}" for number in range(30_000))
    response = client.post("/segment", json={"image": image, "words": words})
    assert response.status_code == 400
    assert response.get_json()["error"] == "classes: 30000 are too many for this page; give at most 24414"


@pytest.mark.parametrize("kind", ["EPS", "GIF", "PPM", "TGA", "ICO"])
def test_other_decoders_are_out_of_reach(client, kind):
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, kind)
    response = client.post("/image", data={"file": (io.BytesIO(buffer.getvalue()), "picture.png")})
    assert response.status_code == 400
    assert re.search("its content is none of PNG|a GIF; save it|text, not", response.get_json()["error"])


@pytest.mark.parametrize("options", [["--port", "70000"], ["--host", "no.such.host.invalid"]])
def test_an_address_that_cannot_be_listened_at(load_script, segmenter, monkeypatch, capsys, options):
    script = import_module("sgovss.commands.app")
    keeps_text = []
    monkeypatch.setattr(script, "Predictor", lambda *_, options, **__: keeps_text.append(options[-2:]))
    monkeypatch.setattr(script, "InteractiveSegmenter", lambda *_, **__: segmenter)
    assert script.main(["--config-file", "sgovss_tiny.yaml", *options]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: --port ")
    assert set(keeps_text) <= {("MODEL.CLIP.KEEP_TEXT", "False")}
