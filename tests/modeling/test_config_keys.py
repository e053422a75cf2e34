"""Every config key reaches the constructor argument that it is for: no two are swapped, and none is left out."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from torch import nn

from sgovss import load_config
from sgovss.modeling import CLIPImageEncoder, CostVolumeHead, build_model
from sgovss.modeling.compensation import GeneralizationCompensation
from sgovss.modeling.templates import templates_of
from sgovss.modeling.text_embedder import TextEmbedder
from sgovss.modeling.views import Augmented, SlidingWindow, WholeImage, build_view
from sgovss.view_set import ViewSet

SWITCHES = ("BIAS_GUIDANCE", "DECODER", "VISUAL_GUIDANCE", "TEXT_GUIDANCE", "RECOMPUTE_DECODER", "DETACH_LEVELS")
NUMBERS = {
    "HIDDEN_DIM": 48,
    "HEADS": 3,
    "BIAS_TOKENS": 5,
    "TEXT_SHARE": 0.75,
    "DECODER_DIMS": (36, 24, 12),
    "DECODER_KERNEL": 9,
    "GUIDANCE_DIM": 7,
    "LOGIT_SCALE": 11.0,
    "LOGIT_BIAS": -3.5,
}


def config(**changes: object):
    """The config of the embedded model with other values; in the names of keys, ``__`` stands for a dot."""
    options = [str(item) for key, value in changes.items() for item in (key.replace("__", "."), value)]
    return load_config("sgovss_tiny.yaml", options)


def test_numbers_of_the_head():
    changes = {f"MODEL__SGOVSS__{key}": value for key, value in NUMBERS.items()}
    arguments = CostVolumeHead.from_config(config(**changes, TEST__EARLY_REJECTION=3), {})
    assert {key: arguments[key.lower()] for key in NUMBERS} == NUMBERS
    assert arguments["early_rejection"] == 3


@pytest.mark.parametrize("on", SWITCHES)
def test_switches_of_the_head(on):
    arguments = CostVolumeHead.from_config(config(**{f"MODEL__SGOVSS__{key}": key == on for key in SWITCHES}), {})
    assert {key: arguments[key.removesuffix("_DECODER").lower()] for key in SWITCHES} == {
        key: key == on for key in SWITCHES
    }


def test_compensation():
    values = {"WEIGHTS": (0.1, 0.2, 0.3, 0.4), "POOL": 3, "LABELLED": 0.6}
    changes = {f"MODEL__SGOVSS__COMPENSATION__{key}": value for key, value in values.items()}
    arguments = GeneralizationCompensation.from_config(config(**changes, MODEL__SGOVSS__LEAST_SHARE=0.3))
    assert arguments == {key.lower(): value for key, value in values.items()} | {"least_share": 0.3}


def test_losses():
    model = build_model(config(MODEL__SGOVSS__LEAST_SHARE=0.3, MODEL__SGOVSS__STAGE_LOSSES=0.7))
    assert (model.objective.least_share, model.compensation.least_share, model.stage_losses) == (0.3, 0.3, 0.7)


@pytest.mark.parametrize("on", [True, False])
def test_encoders(on):
    cfg = config(MODEL__CLIP__TUNING="attention", MODEL__CLIP__RECOMPUTE=on, MODEL__CLIP__KEEP_TEXT=not on)
    cfg.MODEL.CLIP.SYNONYMS = on
    cfg.MODEL.CLIP.DENSE = "qq+kk"
    visual = nn.Identity()
    expected = {"visual": visual, "tuning": "attention", "dense": "qq+kk", "recompute": on}
    assert CLIPImageEncoder.from_config(cfg, visual) == expected
    cfg.MODEL.CLIP.TEMPLATES = "plain"
    arguments = TextEmbedder.from_config(cfg, SimpleNamespace())
    assert (arguments["templates"], arguments["synonyms"]) == (templates_of("plain"), on)
    assert arguments["keep"] == (not on)


def test_views():
    assert build_view(config()) == WholeImage()
    window = {"ENABLED": True, "WINDOW": 96, "STRIDE": 80, "WORKING_SIZE": 192, "GLOBAL_VIEW": 64, "ANTIALIAS": False}
    changes = {f"TEST__SLIDING_WINDOW__{key}": value for key, value in window.items()}
    expected = SlidingWindow(window=96, stride=80, working_size=192, global_view=64, antialias=False)
    assert build_view(config(**changes)) == expected
    assert build_view(config(TEST__SLIDING_WINDOW__ENABLED=True)).antialias
    for flip in (True, False):
        cfg = config(**changes, TEST__AUG__ENABLED=True, TEST__AUG__MIN_SIZES=(64, 128), TEST__AUG__FLIP=flip)
        assert build_view(cfg) == Augmented(expected, ViewSet(mirror=flip), (64, 128))
    cfg = config(**changes, TEST__VIEWS=["turns", 1, 1.5])
    assert build_view(cfg) == Augmented(expected, ViewSet(turns=True, scales=(1.0, 1.5)))
