"""What is said of known models is so: sizes, dense maps, and that each claim has a test."""

from __future__ import annotations

import ast
from pathlib import Path

import open_clip
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from sgovss.config import load_config
from sgovss.modeling.embedded_clip import EmbeddedClip
from sgovss.modeling.image_encoder import CLIPImageEncoder
from sgovss.modeling.known_models import known_models, list_models
from sgovss.modeling.open_clip_models import create_model

SIDE = 224


@pytest.mark.slow
@pytest.mark.parametrize("name", known_models().architectures)
def test_the_dense_map_and_size_of_an_architecture(name: str) -> None:
    """Without memory for the weights: ViTs of open_clip with fake tensors, towers of timm on the meta device."""
    facts = known_models().architectures[name]
    with FakeTensorMode() if name.startswith("ViT") else torch.device("meta"):
        model = create_model(name)
        dense = CLIPImageEncoder(visual=model.visual, tuning="none").eval()(torch.zeros(1, 3, SIDE, SIDE))["dense"]
    width = open_clip.get_model_config(name)["embed_dim"]
    assert dense.shape == (1, width, SIDE // facts.stride, SIDE // facts.stride)
    assert round(sum(value.numel() for value in model.parameters()) / 1e6, 1) == facts.parameters


def test_the_size_of_the_embedded_model() -> None:
    facts = known_models().embedded
    state = EmbeddedClip(pretrained=False).state_dict()
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    count = sum(value.numel() for key, value in state.items() if not key.endswith(buffers))
    assert round(count / 1e6, 1) == facts.parameters


def test_each_claim_names_an_existing_test(checkout: Path) -> None:
    for check in known_models().checks.values():
        file, _, function = check.test.partition("::")
        tree = ast.parse((checkout / file).read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_a_training_step_is_claimed_for_what_that_test_runs() -> None:
    from tests.modeling.test_full_size import SIZE

    run = {load_config(f"{name}.yaml").MODEL.CLIP.NAME for name in SIZE}
    claimed = {name for name, facts in known_models().architectures.items() if "training step" in facts.checks}
    assert claimed == run


def test_a_layout_is_claimed_for_families_that_its_test_converts() -> None:
    from tests.modeling.published import LAYOUTS

    families = {model.name for model in list_models() if "layout" in model.verified}
    assert families == {"RemoteCLIP", "GeoRSCLIP", "SkyCLIP"}
    begins = {name.split("-")[0].split("_")[0] for name in LAYOUTS}
    assert begins == {"RemoteCLIP", "RS5M", "SkyCLIP"}


def test_every_claim_is_explained_and_every_tag_is_open_clips() -> None:
    for model in list_models():
        assert set(model.verified) <= known_models().checks.keys()
        if model.name == "open_clip":
            assert set(model.weights) == set(open_clip.list_pretrained_tags_by_model(model.architecture))
