"""What a model is given when a raster is segmented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from sgovss.vocabulary import Vocabulary
from tests.config_effects.row import Case

if TYPE_CHECKING:
    from sgovss.rasters.scene import SceneMapper

SMALL = ("TEST.SCENE.WINDOW", 96, "TEST.SCENE.STRIDE", 64)


def windows(case: Case) -> list[tuple[int, ...]]:
    """The shapes (B, 3, H, W) of the batches, for a raster of 100 x 180 pixels of 0.3 m."""
    shapes = []

    def score_maps(images: torch.Tensor, vocabulary: Vocabulary) -> torch.Tensor:
        shapes.append(tuple(images.shape))
        return torch.rand(len(images), len(vocabulary), *(side // 4 for side in images.shape[-2:]))

    mapper, path = _mapper(case, score_maps), _scene(case, 180)
    mapper(path, case.folder / "out")
    return shapes


def unit_columns(case: Case) -> int:
    """Width of the units of work, for a raster of 100 x 4000 pixels."""
    return _mapper(case, None).plan(_scene(case, 4000), case.folder / "out").units.columns


def _scene(case: Case, width: int) -> Path:
    rasterio = pytest.importorskip("rasterio", reason="needs the extra 'geo'")
    path = case.folder / "scene.tif"
    transform = rasterio.transform.from_origin(500_000, 5_300_000, 0.3, 0.3)
    form = {"driver": "GTiff", "height": 100, "width": width, "count": 3, "dtype": "uint8", "crs": "EPSG:32632"}
    with rasterio.open(path, "w", **form, transform=transform) as raster:
        raster.write(np.random.default_rng(0).integers(1, 255, (3, 100, width), dtype=np.uint8))
    return path


def _mapper(case: Case, score_maps: Callable | None) -> SceneMapper:
    from sgovss.rasters.scene import SceneMapper

    cfg = Case((*map(str, SMALL), *case.options), case.folder, ()).cfg
    model = SimpleNamespace(score_maps=score_maps, device=torch.device("cpu"), size_divisibility=32, map_cells=8)
    predictor = SimpleNamespace(cfg=cfg, model=model, fingerprint="none")
    return SceneMapper(predictor, Vocabulary.from_string("road, water"))
