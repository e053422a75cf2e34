"""Fixtures of the tests of the page: one model, one server and one browser for all."""

from __future__ import annotations

import functools
import io
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

import sgovss
from sgovss.inference.interactive import InteractiveSegmenter
from sgovss.synthetic import generate_image

WORDS = "building, road, tree|forest, water"
"""Classes of the tests."""


_drawn = functools.cache(generate_image)


def scene(seed: int = 5, size: int = 96) -> np.ndarray:
    """A drawn image, (size, size, 3) uint8 RGB."""
    return _drawn(seed, size, "b").image.copy()


def png(pixels: np.ndarray) -> bytes:
    """The content of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


class Unpacked(NamedTuple):
    """An answer of /segment, read by its description in View.packed."""

    header: dict[str, Any]
    labels: np.ndarray
    runners_up: np.ndarray
    scores: np.ndarray
    leads: np.ndarray


def unpack(content: bytes) -> Unpacked:
    """Read an answer of /segment."""
    length = int.from_bytes(content[:4], "little")
    header = json.loads(content[4 : 4 + length])
    arrays = np.frombuffer(content[4 + length :], "<u2").reshape(4, header["height"], header["width"])
    return Unpacked(header, *arrays[:2].astype(int), *arrays[2:] / 65535)


@pytest.fixture(scope="package")
def predictor() -> sgovss.Predictor:
    """The embedded model, with the options of the command."""
    return sgovss.Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu", "MODEL.CLIP.KEEP_TEXT", "False"))


@pytest.fixture
def segmenter(predictor: sgovss.Predictor) -> InteractiveSegmenter:
    """Keeps two photographs."""
    return InteractiveSegmenter(predictor, longest=256, kept=2)


@pytest.fixture(scope="package")
def address(predictor: sgovss.Predictor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that takes files of 4 MB."""
    pytest.importorskip("flask", reason="needs the extra 'app'")
    pytest.importorskip("rasterio", reason="needs the extra 'geo'")
    from werkzeug.serving import make_server

    from sgovss.page.scenes import SceneDesk
    from sgovss.page.server import create_app

    lock = threading.Lock()
    scenes = SceneDesk(predictor, tmp_path_factory.mktemp("scenes"), lock)
    app = create_app(InteractiveSegmenter(predictor, lock=lock), 4, scenes=scenes)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/"
    server.shutdown()
    thread.join()


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    sync = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs a Chromium (Debian: apt install chromium)")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """A function that opens the page; after the test, no script must have failed and no other site been asked."""
    problems: list[str] = []
    requests: list[str] = []
    contexts = []

    def open_it(**options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 760}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text) if "Content Security" in said.text else None)
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert problems == []
    assert [url for url in requests if not url.startswith((address, f"blob:{address}"))] == []


@pytest.fixture
def geotiff(tmp_path: Path) -> Path:
    """A 16-bit GeoTIFF of 160 x 120 pixels of 0.5 m, with a corner without data."""
    rasterio = pytest.importorskip("rasterio", reason="needs the extra 'geo'")
    pixels = scene(7, 160)[:120].astype(np.uint16).transpose(2, 0, 1) * 200 + 1
    pixels[:, :30, :40] = 0
    transform = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint16", "crs": "EPSG:32632", "nodata": 0}
    with rasterio.open(tmp_path / "plot 1.tif", "w", height=120, width=160, transform=transform, **profile) as raster:
        raster.write(pixels)
    return tmp_path / "plot 1.tif"
