"""One picture, one view: a photograph is seen as the same pixels in a raster without georeference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import sgovss
from sgovss.modeling.views import SlidingWindow, WholeImage, build_native_view
from sgovss.rasters.options import SceneOptions
from sgovss.rasters.scene import SceneMapper
from tests.fixtures.town import town
from tests.rasters.conftest import with_options

SMALL = ("MODEL.DEVICE", "cpu", "TEST.SCENE.WINDOW", "128", "TEST.SCENE.STRIDE", "96")
PIXELS = town()
WORDS = "house roof, asphalt, meadow, lake, sand"


def agreement(predictor, pixels, write_raster, folder) -> float:
    """Share of the pixels that get the same class in a photograph and in a GeoTIFF."""
    photograph = predictor(pixels, WORDS).labels
    assert np.bincount(photograph.ravel()).max() < 0.9 * photograph.size  # else equal labels would mean little
    scene = SceneMapper(predictor, WORDS, SceneOptions(no_data="none"))
    return (photograph == scene(write_raster(pixels.transpose(2, 0, 1)), folder / "out").labels).mean()


@pytest.mark.parametrize("size", [(200, 261), (97, 300), (310, 130), (120, 125), (43, 41)])
def test_a_photograph_is_seen_as_a_raster(predictor, write_raster, tmp_path, size):
    pixels = np.ascontiguousarray(PIXELS[: size[0], : size[1]])
    assert agreement(with_options(predictor, SMALL[2:]), pixels, write_raster, tmp_path) >= 0.998


@pytest.mark.parametrize("views", ["['turns']", "['mirror',1.5]"])
def test_views_are_those_of_each_window(predictor, write_raster, tmp_path, views):
    views = with_options(predictor, (*SMALL[2:], "TEST.VIEWS", views))
    assert agreement(views, np.ascontiguousarray(PIXELS[:150, :200]), write_raster, tmp_path) >= 0.995


def test_a_vision_transformer_sees_every_pixel_too(write_raster, tmp_path):
    """Its config shrinks images to a square for benchmarks."""
    options = (*SMALL, "MODEL.CLIP.NAME", "ViT-B-32", "MODEL.CLIP.WEIGHTS", "random")
    predictor, pixels = sgovss.Predictor("sgovss_vitb16_384.yaml", options=options), PIXELS[:120, :201].copy()
    assert agreement(predictor, pixels, write_raster, tmp_path) >= 0.998
    seen = []
    image = torch.from_numpy(pixels.transpose(2, 0, 1).copy())

    def record(images):
        seen.append(tuple(images.shape[-2:]))
        raise KeyboardInterrupt

    for view in (predictor.view, predictor.model.view):
        with pytest.raises(KeyboardInterrupt):
            view(record, image)
    assert seen == [(120, 128), (384, 384)]  # the second is cut out of the image as a square of 640


def test_an_evaluation_keeps_the_view_of_the_config(predictor):
    """The predictor takes it on request only."""
    options = (*SMALL, "TEST.SLIDING_WINDOW.ENABLED", "True", "TEST.SLIDING_WINDOW.WORKING_SIZE", "96")
    own, benchmark = (sgovss.Predictor("sgovss_tiny.yaml", options=options, benchmark_view=b) for b in (False, True))
    assert isinstance(own.model.view, SlidingWindow) and own.model.view == benchmark.view != own.view
    pixels = PIXELS[:200, :260].copy()
    entry = {"image": torch.from_numpy(pixels.transpose(2, 0, 1).copy()), "vocabulary": own(pixels, WORDS).legend}
    expected = own.model([entry])[0]["sem_seg"].argmax(dim=0).numpy()
    assert np.array_equal(benchmark(pixels, WORDS).labels, expected)
    assert not np.array_equal(own(pixels, WORDS).labels, expected)


def test_an_image_of_one_window_is_seen_whole(predictor):
    image = torch.from_numpy(PIXELS[:120, :126].transpose(2, 0, 1).copy())
    view = build_native_view(predictor.cfg, predictor.model.size_divisibility, predictor.model.map_cells)
    vocabulary = sgovss.Vocabulary.from_string(WORDS)
    own = predictor.model.score_image(image, vocabulary, view).all()
    assert torch.equal(own, predictor.model.score_image(image, vocabulary, WholeImage()).all())


def test_the_command_sees_a_photograph_as_a_raster(demo, tmp_path):
    pixels = PIXELS[:210, :300]
    for suffix in ("png", "tif"):
        Image.fromarray(pixels).save(tmp_path / f"same_{suffix}.{suffix}")
        assert demo(tmp_path / f"same_{suffix}.{suffix}", "--no-data", "none", words=WORDS)[0] == 0
    labels = [np.asarray(Image.open(tmp_path / "out" / f"same_{suffix}_labels.{suffix}")) for suffix in ("png", "tif")]
    assert (labels[0] == labels[1]).mean() >= 0.998
