"""What a model is given when a raster is segmented."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sgovss.vocabulary import Vocabulary
from tests.config_effects.row import Case

SMALL = ("TEST.SCENE.WINDOW", 96, "TEST.SCENE.STRIDE", 64)


def windows(case: Case) -> list[tuple[int, ...]]:
    """The shapes (B, 3, H, W) of the batches, for a raster of 100 x 180 pixels of 0.3 m."""
    rasterio = pytest.importorskip("rasterio", reason="needs the extra 'geo'")
    from sgovss.rasters.options import SceneOptions
    from sgovss.rasters.scene import SceneMapper

    shapes = []

    def scores(images: torch.Tensor, vocabulary: Vocabulary) -> torch.Tensor:
        shapes.append(tuple(images.shape))
        return torch.rand(len(images), len(vocabulary), *images.shape[-2:])

    path = case.folder / "scene.tif"
    transform = rasterio.transform.from_origin(500_000, 5_300_000, 0.3, 0.3)
    form = {"driver": "GTiff", "height": 100, "width": 180, "count": 3, "dtype": "uint8", "crs": "EPSG:32632"}
    with rasterio.open(path, "w", **form, transform=transform) as raster:
        raster.write(np.random.default_rng(0).integers(1, 255, (3, 100, 180), dtype=np.uint8))
    cfg = Case((*map(str, SMALL), *case.options), case.folder, ()).cfg
    model = SimpleNamespace(scores=scores, device=torch.device("cpu"))
    predictor = SimpleNamespace(cfg=cfg, model=model, fingerprint="none")
    SceneMapper(predictor, Vocabulary.from_string("road, water"), SceneOptions())(path, case.folder / "out")
    return shapes
