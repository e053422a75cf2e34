"""Fixtures: a model, and pictures as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rasterio", reason="needs the extra 'geo'")
import rasterio
from PIL import Image
from rasterio.transform import from_origin

import sgovss
from tests.fixtures.town import town

UTM = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_300_000, 0.3, 0.3)}
WORDS = "house roof, asphalt, meadow, lake, sand"
PIXELS = town()[:90, :120].copy()


@pytest.fixture(scope="session")
def predictor() -> sgovss.Predictor:
    return sgovss.Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photograph of :data:`PIXELS`."""
    Image.fromarray(PIXELS).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def write_scene(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes pixels (H, W, 3) as a GeoTIFF, by default in UTM."""

    def write(pixels: np.ndarray = PIXELS, name: str = "scene.tif", **options: object) -> Path:
        path, (height, width) = tmp_path / name, pixels.shape[:2]
        profile = {"driver": "GTiff", "count": 3, "height": height, "width": width, "dtype": pixels.dtype, **UTM}
        path.parent.mkdir(exist_ok=True)
        with rasterio.open(path, "w", **{**profile, **options}) as target:
            target.write(pixels.transpose(2, 0, 1))
        return path

    return write
