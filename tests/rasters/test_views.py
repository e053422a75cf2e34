"""Views of a scene's windows: quarter turns, mirror images, scales."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import rasterio
import torch

from sgovss.errors import InputError
from sgovss.rasters.options import SceneOptions
from sgovss.rasters.scene import SceneMapper

WORDS = "car, pavement, lawn, roof, tree"
SIDE = 96  # one window, so that a turned scene has the same windows


@pytest.fixture
def labels(predictor, write_raster, tmp_path):
    """A function that segments (3, H, W) pixels in some views, and returns labels and percents."""

    def segment(pixels: np.ndarray, views: list[str], name: str = "a", **options: object) -> np.ndarray:
        cfg = predictor.cfg.clone()
        cfg.defrost()
        cfg.merge_from_list(["TEST.VIEWS", views, "TEST.SCENE.WINDOW", SIDE, "TEST.SCENE.STRIDE", SIDE])
        with patch.object(predictor, "cfg", cfg):
            mapper = SceneMapper(predictor, WORDS, SceneOptions(confidence=True, **options))
            path = tmp_path / f"{name}.tif"
            path = path if path.exists() else write_raster(np.ascontiguousarray(pixels), path.name)
            mapper(path, tmp_path / name)
        with rasterio.open(tmp_path / f"{name}_labels.tif") as raster:
            return raster.read()

    return segment


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_scene_gives_the_turned_map(labels, scene_pixels, turns):
    scene = scene_pixels[:, :SIDE, :SIDE]
    upright = labels(scene, ["turns"], "upright")
    turned = labels(np.rot90(scene, turns, (1, 2)), ["turns"], "turned")
    same = turned == np.rot90(upright, turns, (1, 2))
    assert same[0].mean() > 0.999 and same[1].mean() > 0.99  # scores are rounded to percents
    one_view = labels(np.rot90(scene, turns, (1, 2)), [], "one_view")
    assert (one_view[1] != np.rot90(labels(scene, [], "one_upright"), turns, (1, 2))[1]).mean() > 0.1


def test_views_change_the_map_and_are_kept_by_name(labels, scene_pixels, predictor, tmp_path):
    scene, cache = scene_pixels[:, :SIDE, :SIDE], tmp_path / "cache"
    plain = labels(scene, ["mirror", "1.5"], "plain")
    encode, calls = predictor.model.encode, []

    def counted(images: torch.Tensor):
        calls.append(images.shape)
        return encode(images)

    with patch.object(predictor.model, "encode", counted):
        first = labels(scene, ["mirror", "1.5"], "first", cache=cache)
        assert len(calls) == 2
        again = labels(scene, ["mirror", "1.5"], "first", cache=cache, restart=True)
        assert len(calls) == 2
        labels(scene, ["1.5"], "first", cache=cache, restart=True)
        assert len(calls) == 2  # of the views that are kept already
    assert (first == plain).all() and (again == plain).all()


def test_an_unfinished_run_goes_on_with_the_same_views_only(labels, scene_pixels):
    scene = scene_pixels[:, :SIDE, :SIDE]
    with patch("sgovss.rasters.scene.Finisher", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        labels(scene, ["turns"], "kept")
    with pytest.raises(InputError, match="other settings"):
        labels(scene, [], "kept")
