"""Every model name of open_clip is built, or refused in one line."""

from __future__ import annotations

import open_clip
import pytest
import torch

from sgovss.errors import InputError
from sgovss.modeling.clip_models import load_clip
from sgovss.modeling.image_encoder import CLIPImageEncoder
from sgovss.modeling.open_clip_models import create_model, create_tokenizer

CHOSEN = [
    *("coca_ViT-B-32", "roberta-ViT-B-32", "nllb-clip-base", "swin_base_patch4_window7_224", "RN50", "EVA02-B-16"),
    *("ViT-B-16-SigLIP", "ViT-L-14-CLIPA", "hf-hub:laion/CLIP-ViT-B-16-laion2B-s34B-b88K", "hf-hub:", "local-dir:"),
    *("local-dir:/nowhere", "ViT-B-17", ""),
]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Transformers and the hub read the variables at import, so that their constants have to be set as well."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def refusal(name: str) -> str:
    """The line that refuses a model, its image encoder or its tokenizer; empty if all are built."""
    try:
        with torch.device("meta"):
            CLIPImageEncoder(visual=create_model(name).visual, tuning="none")
        create_tokenizer(name)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", CHOSEN)
def test_a_model_that_cannot_be_used_is_refused_in_one_line(name):
    line = refusal(name)
    assert line.startswith("MODEL.CLIP.NAME: ") and "\n" not in line
    assert "use " in line


@pytest.mark.parametrize("name", ["ViT-B-16", "convnext_base_w", "MobileCLIP-S1"])
def test_a_model_that_can_be_used_is_built(name):
    assert refusal(name) == ""


def test_weights_of_a_model_that_cannot_be_built_are_not_looked_for():
    with pytest.raises(InputError, match=r"MODEL\.CLIP\.NAME: 'coca_ViT-L-14' is a CoCa"):
        load_clip("coca_ViT-L-14", "random")


def test_a_folder_with_a_configuration_of_something_else_is_refused(tmp_path):
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": {"layers": 3}}')
    assert "is not open_clip's" in refusal(f"local-dir:{tmp_path}")


@pytest.mark.slow
def test_every_name_of_open_clip_is_built_or_refused_in_one_line():
    lines = {name: refusal(name) for name in open_clip.list_models()}
    built = [name for name, line in lines.items() if not line]
    assert {"ViT-B-16", "ViT-L-14-336", "convnext_large_d_320", "convnext_base_w_320"} <= set(built)
    wrong = {name: line for name, line in lines.items() if line and (not line.startswith("MODEL.") or "\n" in line)}
    assert not wrong
