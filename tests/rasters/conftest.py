"""Rasters of every kind, and a model that segments them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rasterio", reason="needs the extra 'geo'")
import rasterio
from rasterio.transform import from_origin

import sgovss
from sgovss.data.scenes import generate_scene

UTM = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_300_000, 0.3, 0.3)}


@pytest.fixture(scope="session")
def predictor() -> sgovss.Predictor:
    return sgovss.Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu"))


@pytest.fixture
def write_raster(tmp_path: Path) -> Callable[..., Path]:
    """Writes (bands, H, W) pixels as a GeoTIFF; keyword arguments go to rasterio."""

    def write(pixels: np.ndarray, name: str = "scene.tif", mask: np.ndarray | None = None, **options: object) -> Path:
        path = tmp_path / name
        count, height, width = pixels.shape
        profile = {
            "driver": "GTiff",
            "count": count,
            "height": height,
            "width": width,
            "dtype": pixels.dtype,
            **options,
        }
        with rasterio.open(path, "w", **profile) as target:
            target.write(pixels)
            if mask is not None:
                target.write_mask(mask)
        return path

    return write


@pytest.fixture(scope="session")
def scene_pixels() -> np.ndarray:
    """(3, 200, 260) uint8 of a generated scene."""
    return generate_scene(70001, 512, "b").image.transpose(2, 0, 1)[:, 100:300, 100:360]
