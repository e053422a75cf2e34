"""Fixtures: rasters, and a model that segments them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

pytest.importorskip("rasterio", reason="needs the extra 'geo'")
import rasterio
from rasterio.transform import from_origin

import sgovss
from sgovss.fingerprint import fingerprint
from sgovss.inference.predictor import Predictor
from sgovss.vocabulary import Vocabulary
from tests.fixtures.town import town

from .servers import Server

MOST_KEPT = 500
UTM = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_300_000, 0.3, 0.3)}


@pytest.fixture(scope="session")
def predictor() -> sgovss.Predictor:
    """The embedded model. Many tests segment the same windows, whose scores it keeps."""
    predictor = sgovss.Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu"))
    model, kept = predictor.model, {}
    compute = model.score_maps

    def score_maps(images: torch.Tensor, vocabulary: Vocabulary) -> torch.Tensor:
        content = hashlib.blake2b(images.contiguous().numpy()).digest()
        key = (content, images.shape, images.dtype, vocabulary, model.precision)
        if key not in kept:
            if len(kept) == MOST_KEPT:
                kept.clear()
            kept[key] = compute(images, vocabulary)
        return kept[key].clone()

    model.score_maps = score_maps
    return predictor


@pytest.fixture
def write_raster(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes (bands, H, W) pixels as a GeoTIFF; keyword arguments go to rasterio."""
    return functools.partial(write_below, tmp_path)


def write_below(
    folder: Path, pixels: np.ndarray, name: str = "scene.tif", mask: np.ndarray | None = None, **options: object
) -> Path:
    """See the fixture ``write_raster``."""
    path = folder / name
    count, height, width = pixels.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": pixels.dtype, **options}
    with rasterio.open(path, "w", **profile) as target:
        target.write(pixels)
        if mask is not None:
            target.write_mask(mask)
    return path


@pytest.fixture(scope="session")
def scene_pixels() -> np.ndarray:
    """(3, 200, 260) uint8 of a generated scene."""
    return town().transpose(2, 0, 1)[:, 100:300, 100:360].copy()


@pytest.fixture
def server(monkeypatch, tmp_path) -> Iterator[Server]:
    """A server on loopback. GDAL asks it again quickly."""
    for key, value in (("GDAL_HTTP_RETRY_DELAY", "0.01"), ("GDAL_HTTP_MAX_RETRY", "3"), ("GDAL_HTTP_TIMEOUT", "5")):
        monkeypatch.setenv(key, value)
    (tmp_path / "served").mkdir()
    running = Server(tmp_path / "served")
    yield running
    running.stop()


WORDS = "building, road, tree|forest, water"
SMALL = ["TEST.SCENE.WINDOW", "96", "TEST.SCENE.STRIDE", "64"]


def with_options(predictor: Predictor, options: Sequence[str]) -> Predictor:
    """A predictor with other config options and the same model, which is not built again."""
    with patch("sgovss.inference.predictor._build", lambda cfg: predictor.model):
        return Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu", *options))


@pytest.fixture(scope="session")
def digest_of_weights(predictor: Predictor) -> str:
    """Of the model that all commands share; each would compute it again."""
    return fingerprint(predictor.model.image_encoder, predictor.model.head)


@pytest.fixture
def demo(load_script, predictor, digest_of_weights, monkeypatch, tmp_path, capsys):
    """A function that runs 'sgovss segment' with a model that is loaded once.

    It returns status, output folder and errors.
    """
    script = import_module("sgovss.commands.segment")

    def build(config, options=(), precision=None):
        return with_options(predictor, options)  # in float32, whatever the machine computes fast in

    monkeypatch.setattr("sgovss.mapping.segmenter.Predictor", build)
    monkeypatch.setattr("sgovss.inference.predictor.fingerprint", lambda *parts: digest_of_weights)

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
