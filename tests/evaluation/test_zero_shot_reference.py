"""The protocol for plain CLIP, from end to end: a small random ViT on a generated set in place of a published one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from sgovss.commands.train import main
from sgovss.config import load_config
from sgovss.data.specification_file import find_specification
from sgovss.modeling.open_clip_models import create_model, create_tokenizer
from sgovss.modeling.templates import templates_of

NAME = "small-vit"
SMALL = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 224, "layers": 3, "width": 48, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
CONFIG = "protocols/zero_shot_reference.yaml"


@pytest.fixture
def clip(monkeypatch):
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, NAME, SMALL)
    torch.manual_seed(0)
    clip = create_model(NAME).eval()
    for parameter in clip.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return clip


@torch.no_grad()
def plain_clip(clip, image: Image.Image, words: list[tuple[str, ...]], dense: str) -> np.ndarray:
    """The protocol in its own words, for one image: (H, W) ids of the best class."""
    statistics = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    mean, std = (255 * torch.tensor(values).view(3, 1, 1) for values in statistics)
    factor = 448 / max(image.size)
    small = image.resize([round(side * factor) for side in image.size], Image.Resampling.BILINEAR)
    pixels = (torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1) - mean) / std
    tokenizer = create_tokenizer(NAME)
    text = []
    for word in (word for names in words for word in names):
        prompts = tokenizer([template.format(word) for template in templates_of("imagenet")])
        text.append(F.normalize(clip.encode_text(prompts, normalize=True).mean(dim=0), dim=0))
    height, width = pixels.shape[1:]
    total, count = torch.zeros(len(words), height, width), torch.zeros(height, width)
    for top in range(0, height - 223, 112):
        for left in range(0, width - 223, 112):
            window = pixels[None, :, top : top + 224, left : left + 224]
            cosine = F.normalize(dense_map(clip.visual, window, dense), dim=-1) @ torch.stack(text).T
            best = torch.stack([part.amax(dim=1) for part in cosine.split([len(names) for names in words], dim=1)])
            large = F.interpolate(best.view(1, -1, 14, 14), size=(224, 224), mode="bilinear", align_corners=False)
            total[:, top : top + 224, left : left + 224] += large[0]
            count[top : top + 224, left : left + 224] += 1
    scores = F.interpolate((total / count)[None], size=image.size[::-1], mode="bilinear", align_corners=False)[0]
    return scores.argmax(dim=0).numpy().astype(np.uint8)


def dense_map(visual, window: torch.Tensor, dense: str) -> torch.Tensor:
    """MaskCLIP's or ClearCLIP's dense map (14 * 14, D) of one window, with open_clip's own modules."""
    x = visual._embeds(window)
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        x = block(x)
    q, _, v = F.linear(last.ln_1(x)[0], last.attn.in_proj_weight, last.attn.in_proj_bias).chunk(3, dim=-1)
    if dense == "qq":
        heads = zip(q.split(16, dim=-1), v.split(16, dim=-1), strict=True)
        v = torch.cat([(q @ q.T / math.sqrt(16)).softmax(dim=-1) @ v for q, v in heads], dim=-1)
    return (visual.ln_post(last.attn.out_proj(v)) @ visual.proj)[1:]


@pytest.mark.parametrize("dense", ["value", "qq"])
def test_plain_clip_beside_the_published_rows(clip, dense, monkeypatch, tmp_path: Path, capsys):
    spec = find_specification("vdd")
    folder = tmp_path / "data" / spec.name / "test"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    blocks = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    Image.fromarray(blocks).resize((240, 180), Image.Resampling.NEAREST).save(folder / "images" / "a.jpg")
    words = [(entry.name, *entry.synonyms) for entry in spec.classes]
    labels = plain_clip(clip, Image.open(folder / "images" / "a.jpg"), words, dense)
    assert len(np.unique(labels)) >= 3
    Image.fromarray(labels).save(folder / "labels" / "a.png")
    torch.save(clip.state_dict(), tmp_path / "clip.pt")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))
    small = ["MODEL.CLIP.NAME", NAME, "MODEL.CLIP.WEIGHTS", str(tmp_path / "clip.pt"), "MODEL.CLIP.ACTIVATION", "gelu"]
    place = ["MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0", "OUTPUT_DIR", str(tmp_path / "output")]
    assert main(["--eval-only", "--config-file", CONFIG, *small, *place, "MODEL.CLIP.DENSE", dense]) == 0
    scores = json.loads((tmp_path / "output/evaluation/vdd_test.json").read_text())
    assert scores["pACC"] > 99.9  # the labels are what plain CLIP says; close calls may turn
    out = capsys.readouterr().out
    assert "left out: loveda_val is not in" in out
    table = {line.split("|")[1].strip(): line.split("|")[-3].strip() for line in out.splitlines() if "| " in line}
    assert (table["MaskCLIP [1] †"], table["ClearCLIP [1] †"]) == ("32.90", "39.30")
    assert table["**sgovss, this run**"] == f"{scores['mIoU']:.2f}"
    assert "[1] ReAttnCLIP, CVPR 2026, as quoted in a third party's public reading notes" in out
    assert f"templates 'imagenet', activation 'gelu', dense '{dense}'" in out
    (deviation,) = [line for line in out.splitlines() if "more than two points" in line]
    assert all(word in deviation for word in ("PIXEL_MEAN", "ACTIVATION", "TEMPLATES", "DENSE"))


def test_nothing_is_trained_and_nothing_is_added_to_clip():
    cfg = load_config(CONFIG)
    node = cfg.MODEL.SGOVSS
    assert (cfg.MODEL.CLIP.NAME, cfg.MODEL.CLIP.WEIGHTS, cfg.MODEL.CLIP.TUNING) == ("ViT-B-16", "openai", "none")
    assert (node.BIAS_GUIDANCE, node.DECODER, node.COMPENSATION.ENABLED, cfg.DATASETS.TRAIN) == (
        False,
        False,
        False,
        (),
    )
