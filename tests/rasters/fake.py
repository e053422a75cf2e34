"""A model without weights, and scenes that are planned and filled with it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from sgovss.config import load_config
from sgovss.rasters.options import SceneOptions
from sgovss.rasters.plan import ScenePlan
from sgovss.rasters.scene import SceneMapper


class FakeModel:
    """Scores each cell of 4 x 4 pixels by its mean colour, and counts what it is given.

    Args:
        constant: a different constant for each window instead, which is the hardest case for blending.
    """

    size_divisibility, map_cells, device = 32, 8, torch.device("cpu")

    def __init__(self, constant: bool = False) -> None:
        self.constant = constant
        self.shapes: list[tuple[int, ...]] = []

    def score_maps(self, images: torch.Tensor, vocabulary) -> torch.Tensor:
        self.shapes.append(tuple(images.shape))
        cells = torch.nn.functional.avg_pool2d(images.float(), 4) / 255
        maps = torch.stack([cells[:, i % 3] * (1 - i // 3 / 1000) for i in range(len(vocabulary))], dim=1)
        if self.constant:
            seeds = images.flatten(1).long().sum(dim=1)
            values = [np.random.default_rng(int(seed)).random(len(vocabulary)) for seed in seeds]
            maps = torch.tensor(np.array(values), dtype=torch.float32)[..., None, None].expand_as(maps)
        return maps

    @property
    def windows(self) -> int:
        """Number of windows scored so far."""
        return sum(shape[0] for shape in self.shapes)


def fake_mapper(
    model: FakeModel, words: str = "road, water, tree", options: SceneOptions | None = None, **keys: object
) -> SceneMapper:
    """A mapper with windows of 96 pixels, stride 64; ``keys`` are those of TEST.SCENE."""
    scene = {"WINDOW": 96, "STRIDE": 64, **keys}
    cfg = load_config(
        "sgovss_tiny.yaml", [part for key, value in scene.items() for part in (f"TEST.SCENE.{key}", value)]
    )
    return SceneMapper(SimpleNamespace(cfg=cfg, model=model, fingerprint="none"), words, options)


def fill_all(mapper: SceneMapper, plan: ScenePlan, parts) -> dict:
    """Unit -> its pixels, filled part by part."""
    return {unit: pixels for part in parts for band in mapper.fill(plan, part) for unit, pixels in band}


def scene_of(write_raster, height: int, width: int, **options: object) -> Path:
    """A raster of noise that is smooth enough to have regions."""
    rng = np.random.default_rng(height * width)
    coarse = rng.integers(1, 255, (3, -(-height // 16), -(-width // 16)), dtype=np.uint8)
    pixels = np.kron(coarse, np.ones((1, 16, 16), np.uint8))[:, :height, :width]
    return write_raster(pixels, **options)
