"""Loading of CLIP models: embedded weights, files, tags, and their errors."""

from __future__ import annotations

import json
import logging

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from sgovss.config import load_config
from sgovss.errors import InputError
from sgovss.modeling import open_clip_models
from sgovss.modeling.clip_configuration import ASSETS
from sgovss.modeling.clip_models import load_clip
from sgovss.modeling.clip_settings import activation_of, pixel_statistics
from sgovss.modeling.open_clip_models import (
    create_model,
    create_tokenizer,
    load_weights_file,
)
from tests.modeling.conftest import TEXT, VISION
from tests.modeling.published import bare, openai_archive, small_clip


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_state_dict_file_gives_equal_weights(tmp_path, suffix):
    source, target = small_clip(0), small_clip(1)
    path = tmp_path / f"clip{suffix}"
    state = {key: value.contiguous() for key, value in source.state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    load_weights_file(target, path)
    assert all(torch.equal(value, target.state_dict()[key]) for key, value in state.items())


def test_positional_embeddings_of_another_size_are_interpolated(tmp_path):
    source, target = small_clip(), open_clip.CLIP(32, {**VISION["vit"], "image_size": 96}, TEXT)
    torch.save(source.state_dict(), tmp_path / "clip.pt")
    load_weights_file(target, tmp_path / "clip.pt")
    assert torch.equal(target.visual.positional_embedding[0], source.visual.positional_embedding[0])


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_an_archive_of_openai_gives_equal_weights(tmp_path):
    source, target = openai_archive(tmp_path / "clip.pt"), small_clip()
    load_weights_file(target, tmp_path / "clip.pt")
    for key, value in target.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, source.state_dict()[key].half().float()), key


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_an_archive_of_another_architecture_is_named_with_its_tensors(tmp_path):
    openai_archive(tmp_path / "clip.pt", width=32)
    with pytest.raises(InputError, match=r"clip\.pt: these weights belong to another architecture.*visual\."):
        load_weights_file(small_clip(), tmp_path / "clip.pt")


def test_another_architecture_is_named_with_its_tensors(tmp_path):
    other = open_clip.CLIP(32, {**VISION["vit"], "width": 32}, TEXT)
    torch.save(other.state_dict(), tmp_path / "clip.pt")
    with pytest.raises(InputError, match=r"clip\.pt: these weights belong to another architecture.*visual\.") as caught:
        load_weights_file(small_clip(), tmp_path / "clip.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_truncated_file_is_named(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    state = {key: value.contiguous() for key, value in small_clip().state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match="may be cut short") as caught:
        load_weights_file(small_clip(), path)
    assert "\n" not in str(caught.value)


def test_no_network_says_what_to_fetch_and_where_to_put_it(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(open_clip, "download_pretrained", refuse)
    monkeypatch.setattr(open_clip_models, "create_model", lambda *_, **__: small_clip())
    wanted = r"open_clip_model\.safetensors .*'timm/vit_base_patch16_clip_224\.openai'.*set MODEL\.CLIP\.WEIGHTS to "
    with pytest.raises(InputError, match=wanted + r"the file's path and MODEL\.CLIP\.ACTIVATION to quick_gelu$"):
        load_clip("ViT-B-16", "openai")
    with pytest.raises(InputError, match=r"ACTIVATION to gelu, MODEL\.PIXEL_MEAN to \[127\.5, .* and .*_STD to"):
        load_clip("ViT-L-14", "laion2b_s32b_b82k")


def test_embedded_weights_belong_to_the_embedded_model():
    with pytest.raises(InputError, match="'embedded' belongs to"):
        load_clip("ViT-B-16", "embedded")


def test_embedded_model_is_complete_small_and_normalised_as_its_config_says():
    load_clip("tiny", "embedded")
    assert (ASSETS / "image_tower.safetensors").stat().st_size <= 12e6
    statistics = json.loads((ASSETS / "open_clip_config.json").read_text())["preprocess_cfg"]
    mean, std = pixel_statistics(load_config("sgovss_tiny.yaml"))
    assert [255 * x for x in statistics["mean"]] == pytest.approx(mean)
    assert [255 * x for x in statistics["std"]] == pytest.approx(std)


@torch.no_grad()
def test_embedded_text_tower_knows_what_words_mean():
    model, tokenizer = create_model("tiny").eval(), create_tokenizer("tiny")
    forest, wood, car = model.encode_text(tokenizer(["forest", "woodland", "car"]), normalize=True)
    assert forest @ wood > forest @ car + 0.2


@pytest.mark.parametrize(("activation", "kind"), [("gelu", torch.nn.GELU), ("quick_gelu", open_clip.model.QuickGELU)])
def test_the_activation_may_be_chosen(activation, kind):
    blocks = create_model("ViT-B-32", activation).visual.transformer.resblocks
    assert type(blocks[0].mlp.gelu) is kind


def test_published_files_are_known_by_their_names(tmp_path):
    bare(small_clip(), tmp_path / "RS5M_ViT-B-32.pt")
    assert activation_of("ViT-B-32", str(tmp_path / "RS5M_ViT-B-32.pt")) == "quick_gelu"


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_a_converted_file_says_its_activation(tmp_path, activation):
    path = tmp_path / "clip.safetensors"
    save_file({"weight": torch.zeros(1)}, path, {"activation": activation})
    assert activation_of("ViT-B-32", str(path)) == activation


def test_an_unknown_activation_is_one_line():
    with pytest.raises(InputError, match=r"ACTIVATION: 'relu' is not allowed; use auto, gelu or quick_gelu"):
        load_clip("tiny", "random", "relu")


def test_loading_the_embedded_model_reports_no_unused_weights(capfd, monkeypatch):
    handler, records = logging.Handler(), []
    monkeypatch.setattr(handler, "emit", records.append)
    logger = logging.getLogger("transformers.modeling_utils")
    logger.addHandler(handler)
    try:
        load_clip("tiny", "embedded")
    finally:
        logger.removeHandler(handler)
    written = "".join([*capfd.readouterr(), *(record.getMessage() for record in records)])
    for report in ("UNEXPECTED", "LOAD REPORT", "Loading weights"):
        assert report not in written


@pytest.mark.parametrize(
    ("rows", "silent"),
    [
        (["pooler.dense.bias | UNEXPECTED |", "pooler.dense.weight | UNEXPECTED |"], True),
        (["pooler.dense.bias | UNEXPECTED |", "encoder.weight | MISSING |"], False),
        (["pooler.dense.bias | MISSING |"], False),
        (["encoder.weight | UNEXPECTED |"], False),
        ([], False),
    ],
)
def test_every_other_report_on_loaded_weights_is_shown(rows, silent):
    report = "\n".join(["BertModel LOAD REPORT", "Key | Status |", "---+---+-", *rows, "", "Notes:"])
    record = logging.LogRecord("transformers.modeling_utils", logging.WARNING, "", 0, report, None, None)
    assert open_clip_models._is_not_pooler_report(record) is not silent


def test_the_filter_of_reports_is_gone_after_building_a_model():
    logger = logging.getLogger("transformers.modeling_utils")
    before = list(logger.filters)
    create_model("ViT-B-32")
    assert logger.filters == before
