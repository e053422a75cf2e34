"""Activation and pixel statistics: found in the source of the weights, stored, compared, never guessed in silence."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import open_clip
import pytest
import torch
from detectron2.modeling import build_model
from safetensors.torch import save_file

import sgovss.modeling.registration  # noqa: F401
from sgovss.config import load_config
from sgovss.errors import InputError
from sgovss.modeling.clip_models import load_clip
from sgovss.modeling.clip_settings import activation_of, keep_trained, pixel_statistics, resolve_clip
from sgovss.modeling.open_clip_models import create_model
from tests.modeling.published import bare, openai_archive, small_clip

OPENAI = ([122.7709, 116.746, 104.0937], [68.5005, 66.6322, 70.3232])
HALF = ([127.5] * 3, [127.5] * 3)

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")


def config(name: str = "ViT-B-16", weights: str = "openai", *options: str):
    return load_config("base.yaml", ["MODEL.CLIP.NAME", name, "MODEL.CLIP.WEIGHTS", weights, *options])


def settings(cfg) -> tuple:
    return cfg.MODEL.CLIP.ACTIVATION, cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD


def weights_in(folder: Path, name: str = "open_clip_model.safetensors") -> str:
    """A file of some weights in a new folder; its content does not matter here."""
    folder.mkdir(parents=True)
    save_file({"weight": torch.zeros(1)}, folder / name)
    return str(folder / name)


@pytest.mark.parametrize(
    ("name", "weights", "activation"),
    [
        ("ViT-B-16", "openai", "quick_gelu"),
        ("ViT-B-16", "laion2b_s34b_b88k", "gelu"),
        ("ViT-L-14-quickgelu", "random", "quick_gelu"),
        ("ViT-L-14", "random", "gelu"),
        ("convnext_large_d_320", "laion2b_s29b_b131k_ft_soup", "gelu"),
        ("tiny", "embedded", "gelu"),
    ],
)
def test_tags_and_configurations_tell_the_activation(name, weights, activation):
    assert activation_of(name, weights) == activation


@pytest.mark.parametrize("name", ["clip.pt", "remoteclip.pt", "RemoteCLIP-ViT-B-32-finetuned.pt", "epoch_3.pt"])
def test_a_state_dict_of_unknown_origin_is_refused(tmp_path, name):
    bare(small_clip(), tmp_path / name)
    with pytest.raises(InputError, match=r"MODEL\.CLIP\.ACTIVATION: .*set quick_gelu if .*OpenAI's, gelu if") as caught:
        load_clip("ViT-S-32-alt", str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_the_activation_given_by_the_user_is_taken(tmp_path):
    torch.save(create_model("ViT-S-32-alt").state_dict(), tmp_path / "clip.pt")
    clip = load_clip("ViT-S-32-alt", str(tmp_path / "clip.pt"), "quick_gelu")
    assert type(clip.visual.transformer.resblocks[0].mlp.gelu) is open_clip.model.QuickGELU


@pytest.mark.parametrize(
    ("name", "activation"), [("ViT-B-16-quickgelu", "quick_gelu"), ("convnext_base_w", "gelu"), ("tiny", "gelu")]
)
def test_some_architectures_leave_no_choice(tmp_path, name, activation):
    bare(small_clip(), tmp_path / "mine.pt")
    assert activation_of(name, str(tmp_path / "mine.pt")) == activation


@pytest.mark.parametrize(
    ("folder", "name", "activation"),
    [
        ("timm/vit_base_patch16_clip_224.openai", "ViT-B-16", "quick_gelu"),
        ("vit_large_patch14_clip_336.openai", "ViT-L-14-336", "quick_gelu"),
        ("models--timm--vit_base_patch32_clip_224.openai/snapshots/0a1b", "ViT-B-32", "quick_gelu"),
        ("CLIP-ViT-B-16-laion2B-s34B-b88K", "ViT-B-16", "gelu"),
        ("models--laion--CLIP-ViT-L-14-laion2B-s32B-b82K/snapshots/0a1b", "ViT-L-14", "gelu"),
        ("apple/DFN2B-CLIP-ViT-B-16", "ViT-B-16", "quick_gelu"),
        ("openai/clip-vit-base-patch32", "ViT-B-32", "quick_gelu"),
        ("models--openai--clip-vit-large-patch14-336/snapshots/0a1b", "ViT-L-14-336", "quick_gelu"),
    ],
)
def test_files_in_a_repository_of_open_clip_or_openai_are_known(tmp_path, folder, name, activation):
    assert activation_of(name, weights_in(tmp_path / folder)) == activation


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
@pytest.mark.parametrize("writer", ["open_clip", "transformers"])
def test_a_config_beside_the_file_tells_the_activation(tmp_path, writer, activation):
    path = weights_in(tmp_path / "mine")
    if writer == "open_clip":
        content = {"model_cfg": {"embed_dim": 512, "quick_gelu": activation == "quick_gelu"}}
    else:
        content = {
            "model_type": "clip",
            **{f"{tower}_config": {"hidden_act": activation} for tower in ("text", "vision")},
        }
    name = "open_clip_config.json" if writer == "open_clip" else "config.json"
    Path(path).with_name(name).write_text(json.dumps(content))
    assert activation_of("ViT-B-16", path) == activation


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model_type": "vit", "hidden_act": "gelu"}'])
def test_other_configs_beside_the_file_tell_nothing(tmp_path, content):
    path = weights_in(tmp_path / "mine")
    for name in ("open_clip_config.json", "config.json", "preprocessor_config.json"):
        Path(path).with_name(name).write_text(content)
    with pytest.raises(InputError, match="ACTIVATION"):
        activation_of("ViT-B-16", path)


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("ViT-B-16", "openai", OPENAI),
        ("ViT-L-14", "laion2b_s32b_b82k", HALF),
        ("MobileCLIP-S1", "datacompdr", ([0.0] * 3, [255.0] * 3)),
        ("tiny", "embedded", ([127.0] * 3, [128.0] * 3)),
        ("tiny", "random", ([127.0] * 3, [128.0] * 3)),
        ("tiny", "mine/finetuned.pt", ([127.0] * 3, [128.0] * 3)),
        ("ViT-B-16", "random", OPENAI),
        ("ViT-B-16", "mine/RemoteCLIP-ViT-B-32.pt", OPENAI),
        ("MobileCLIP-S1", "mine/finetuned.pt", ([0.0] * 3, [255.0] * 3)),
        ("ViT-L-14", "mine/finetuned.pt", OPENAI),
        ("ViT-L-14", "CLIP-ViT-L-14-laion2B-s32B-b82K/open_clip_pytorch_model.bin", HALF),
    ],
)
def test_pixel_statistics_are_those_of_the_weights(name, weights, expected):
    assert pixel_statistics(config(name, weights)) == expected


@pytest.mark.parametrize("source", ["metadata", "open_clip", "transformers"])
def test_pixel_statistics_of_a_file_stand_in_it_or_beside_it(tmp_path, source):
    path = tmp_path / "mine.safetensors"
    metadata = {"mean": "[0.5, 0.5, 0.5]", "std": "[0.5, 0.5, 0.5]"} if source == "metadata" else None
    save_file({"weight": torch.zeros(1)}, path, metadata)
    if source == "open_clip":
        content = {"preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
        path.with_name("open_clip_config.json").write_text(json.dumps(content))
    elif source == "transformers":
        content = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        path.with_name("preprocessor_config.json").write_text(json.dumps(content))
    assert pixel_statistics(config("ViT-L-14", str(path))) == HALF


def warnings_about(caplog, cfg) -> list[str]:
    with caplog.at_level(logging.WARNING):
        pixel_statistics(cfg)
        pixel_statistics(cfg)
    return [record.getMessage() for record in caplog.records if "PIXEL_MEAN" in record.getMessage()]


def test_other_statistics_than_the_weights_own_are_told_once(caplog):
    options = ("MODEL.PIXEL_MEAN", "[122.77, 116.75, 104.09]", "MODEL.PIXEL_STD", "[68.5, 66.63, 70.32]")
    (message,) = warnings_about(caplog, config("ViT-L-14", "laion2b_s32b_b82k", *options))
    assert "[122.77, 116.75, 104.09]" in message and "[127.5, 127.5, 127.5]" in message
    caplog.clear()
    assert not warnings_about(caplog, config("ViT-B-16", "openai", *options))  # equal but for rounding
    assert not warnings_about(caplog, config("ViT-B-16", "random", *options))
    assert not warnings_about(caplog, config("tiny", "random", *options))  # such as a checkpoint's
    trained = ("MODEL.WEIGHTS", "model_final.pth")  # the statistics are those of its training
    assert not warnings_about(caplog, config("ViT-L-14", "laion2b_s32b_b82k", *options, *trained))


def test_a_model_that_detectron2_builds_has_the_statistics_of_its_weights():
    model = build_model(load_config("sgovss_tiny.yaml", ["MODEL.DEVICE", "cpu"]))
    assert model.pixel_mean.flatten().tolist() == [127.0] * 3
    assert model.pixel_std.flatten().tolist() == [128.0] * 3


def test_a_resolved_config_holds_the_values():
    cfg = config("ViT-L-14", "laion2b_s32b_b82k")
    resolve_clip(cfg)
    assert settings(cfg) == ("gelu", *HALF)


def test_a_checkpoint_keeps_the_settings_it_was_trained_with():
    saved = {"CLIP": {"ACTIVATION": "quick_gelu", "NAME": "ViT-B-16", "WEIGHTS": "x.pt"}}
    saved |= dict(zip(("PIXEL_MEAN", "PIXEL_STD"), HALF, strict=True))
    cfg = config("ViT-B-16", "laion2b_s34b_b88k")
    keep_trained(cfg, saved)
    assert settings(cfg) == ("quick_gelu", *HALF)
    cfg = config("ViT-B-16", "openai", "MODEL.PIXEL_MEAN", "[1.0,2.0,3.0]")
    keep_trained(cfg, saved)
    assert settings(cfg) == ("quick_gelu", [1.0, 2.0, 3.0], HALF[1])


def test_another_activation_in_the_config_than_in_the_checkpoint_is_one_line():
    saved = {"CLIP": {"ACTIVATION": "quick_gelu", "NAME": "ViT-B-16", "WEIGHTS": "x.pt"}}
    with pytest.raises(
        InputError, match="ACTIVATION: gelu, but the checkpoint was trained with quick_gelu; set quick_gelu"
    ):
        keep_trained(config("ViT-B-16", "openai", "MODEL.CLIP.ACTIVATION", "gelu"), saved)


def test_a_checkpoint_of_an_older_version_has_the_activation_of_its_configuration():
    """It left the activation at auto for weights of unknown origin."""
    for name, expected in (("ViT-B-16", "gelu"), ("ViT-B-16-quickgelu", "quick_gelu")):
        cfg = config("ViT-B-16", "mine.pt")
        keep_trained(cfg, {"CLIP": {"ACTIVATION": "auto", "NAME": name, "WEIGHTS": "mine.pt"}})
        assert expected == cfg.MODEL.CLIP.ACTIVATION


def test_an_archive_of_openai_is_told_by_its_format(tmp_path):
    openai_archive(tmp_path / "clip.bin")
    assert activation_of("ViT-B-16", str(tmp_path / "clip.bin")) == "quick_gelu"
