"""CLIP weights as people have them: nested, with prefixes, beside other models, in any format and under any name."""

from __future__ import annotations

import json
import logging

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sgovss.errors import InputError
from sgovss.modeling.checkpoint import read_checkpoint
from sgovss.modeling.clip_models import load_clip
from sgovss.modeling.clip_weights import read_weights
from sgovss.modeling.open_clip_models import load_weights_file
from tests.modeling.conftest import TEXT, VISION
from tests.modeling.published import bare, itra, small_clip, transformers_clip

PREFIXES = [
    *("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "_fsdp_wrapped_module."),
    *("model.", "clip.", "clip_model.", "net.encoder.", "model.clip.module."),
]
CONTAINERS = ["state_dict", "model_state_dict", "model", "weights", "net", "model.state_dict"]


def prefixed(prefix: str, clip: nn.Module | None = None) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in (clip or small_clip()).state_dict().items()}


def loads(path) -> bool:
    """Whether a file gives the weights of ``small_clip()``."""
    target = small_clip(7)
    load_weights_file(target, path)
    return all(torch.equal(value, target.state_dict()[key]) for key, value in small_clip().state_dict().items())


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_is_taken_off_and_named(tmp_path, caplog, prefix):
    torch.save(prefixed(prefix), tmp_path / "clip.pt")
    with caplog.at_level(logging.INFO):
        assert loads(tmp_path / "clip.pt")
    assert f"start with '{prefix}'" in caplog.text


@pytest.mark.parametrize("name", CONTAINERS)
def test_weights_are_found_in_a_checkpoint_beside_other_content(tmp_path, name):
    content = prefixed("model.") | {"criterion.scale": torch.ones(1), "n_averaged": torch.tensor(3)}
    for part in reversed(name.split(".")):
        content = {part: content}
    torch.save({"epoch": 3, **content, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}}, tmp_path / "clip.pt")
    assert loads(tmp_path / "clip.pt")
    weights = read_weights(tmp_path / "clip.pt", small_clip())
    assert weights.prefix == f"{name}.model."
    assert {"epoch", "optimizer", f"{name}.criterion", f"{name}.n_averaged"} == set(weights.left_out)


def test_a_classifier_beside_the_encoders_is_left_out(tmp_path):
    torch.save(prefixed("") | {"head.weight": torch.ones(3), "log_variance": torch.ones(1)}, tmp_path / "clip.pt")
    assert loads(tmp_path / "clip.pt")
    assert read_weights(tmp_path / "clip.pt", small_clip()).left_out == ("head", "log_variance")


def test_more_layers_than_the_model_has_are_not_left_out(tmp_path):
    deeper = open_clip.CLIP(32, {**VISION["vit"], "layers": 5}, TEXT)
    torch.save(prefixed("", deeper), tmp_path / "clip.pt")
    with pytest.raises(InputError, match=r"another architecture.*visual\.transformer\.resblocks\.4"):
        load_weights_file(small_clip(), tmp_path / "clip.pt")


@pytest.mark.parametrize("place", ["visual._orig_mod.", "visual.module.", "visual._checkpoint_wrapped_module."])
def test_wrappers_of_a_single_tower_are_taken_off(tmp_path, place):
    torch.save({key.replace("visual.", place): value for key, value in prefixed("").items()}, tmp_path / "clip.pt")
    assert loads(tmp_path / "clip.pt")


@pytest.mark.parametrize("layout", ["itra", "transformers"])
def test_other_layouts_load_straight_and_behind_a_prefix(tmp_path, layout):
    if layout == "itra":
        itra(small_clip(), tmp_path / "clip.pt")
        state = torch.load(tmp_path / "clip.pt")["state_dict"]
    else:
        pytest.importorskip("transformers")
        transformers_clip(tmp_path / "clip.pt")
        state = torch.load(tmp_path / "clip.pt")
    load_weights_file(small_clip(), tmp_path / "clip.pt")
    torch.save({f"model.{key}": value for key, value in state.items()}, tmp_path / "clip.pt")
    load_weights_file(small_clip(), tmp_path / "clip.pt")
    assert read_weights(tmp_path / "clip.pt", small_clip()).layout == layout


def other_clip() -> nn.Module:
    return open_clip.CLIP(32, {**VISION["vit"], "width": 32}, TEXT)


@pytest.mark.parametrize("other", ["", "teacher."])
def test_a_teacher_of_another_architecture_is_left_out(tmp_path, other):
    torch.save(prefixed("model.") | prefixed(other, other_clip()), tmp_path / "clip.pt")
    assert loads(tmp_path / "clip.pt")


def test_half_a_teacher_is_left_out(tmp_path):
    half = {key: value for key, value in prefixed("teacher.").items() if ".visual." in key}
    torch.save(prefixed("") | half, tmp_path / "clip.pt")
    assert loads(tmp_path / "clip.pt")


@pytest.mark.parametrize("other", ["model_ema.", "teacher."])
def test_the_model_is_taken_before_its_average_or_teacher(tmp_path, caplog, other):
    torch.save(prefixed("model.") | prefixed(other, small_clip(3)), tmp_path / "clip.pt")
    with caplog.at_level(logging.INFO):
        assert loads(tmp_path / "clip.pt")
    assert f"'model.', which is taken off; left out: {other[:-1]}" in caplog.text


@pytest.mark.parametrize(("one", "other"), [("", "teacher."), ("student.", "teacher.")])
def test_two_sets_that_fit_are_named_and_one_can_be_chosen(tmp_path, one, other):
    torch.save(prefixed(one) | prefixed(other, small_clip(3)), tmp_path / "clip.pt")
    with pytest.raises(InputError, match="2 CLIP models") as caught:
        load_weights_file(small_clip(), tmp_path / "clip.pt")
    assert f"'{one}'" in str(caught.value) and f"'{other}'" in str(caught.value) and "\n" not in str(caught.value)
    chosen = read_weights(tmp_path / "clip.pt", small_clip(), prefix=one).state
    assert all(torch.equal(value, chosen[key]) for key, value in small_clip().state_dict().items())
    with pytest.raises(InputError, match=r"--prefix: no image tower .* after 'ema\.'"):
        read_weights(tmp_path / "clip.pt", small_clip(), prefix="ema.")


def test_another_architecture_behind_a_prefix_is_still_another(tmp_path):
    torch.save(prefixed("model.", other_clip()), tmp_path / "clip.pt")
    with pytest.raises(InputError, match=r"belong to another architecture.*\(visual\."):
        load_weights_file(small_clip(), tmp_path / "clip.pt")


def test_an_image_tower_alone_is_incomplete(tmp_path):
    bare(small_clip().visual, tmp_path / "clip.pt")
    with pytest.raises(InputError, match="no weights of a whole CLIP model in this file"):
        load_weights_file(small_clip(), tmp_path / "clip.pt")
    state = {key: value for key, value in prefixed("").items() if key.startswith("visual.")}
    torch.save(state, tmp_path / "clip-00001-of-00002.pt")
    with pytest.raises(InputError, match=r"is incomplete: .* give the index"):
        load_weights_file(small_clip(), tmp_path / "clip-00001-of-00002.pt")


def test_a_checkpoint_of_sgovss_is_named(tmp_path):
    torch.save({"kind": "inference", "config": "", "model": prefixed("image_encoder.")}, tmp_path / "model.pth")
    with pytest.raises(InputError, match=r"a checkpoint of sgovss, not CLIP weights; set MODEL\.WEIGHTS"):
        load_weights_file(small_clip(), tmp_path / "model.pth")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "safetensors") for name in ("W.SAFETENSORS", "clip.pt", "clip")),
        ("clip.safetensors", "torch"),
        ("clip.ckpt", "old torch"),
    ],
)
def test_the_format_is_told_by_the_content(tmp_path, name, kind):
    state = {key: value.contiguous() for key, value in prefixed("").items()}
    if kind == "safetensors":
        save_file(state, tmp_path / name)
    else:
        torch.save(state, tmp_path / name, _use_new_zipfile_serialization=kind == "torch")
    assert loads(tmp_path / name)


def test_a_custom_text_tower_takes_old_keys(tmp_path):
    """Such as LAION's first ConvNeXt files, for models whose text tower is a module of its own."""
    torch.save(prefixed("module."), tmp_path / "clip.pt")
    target = open_clip.CustomTextCLIP(32, VISION["vit"], TEXT, init_logit_bias=-10)
    load_weights_file(target, tmp_path / "clip.pt")
    assert torch.equal(target.text.token_embedding.weight, small_clip().token_embedding.weight)
    assert target.logit_bias == 0


def shards(folder, split: bool = True) -> None:
    """The weights in two files with an index, as transformers writes large models."""
    state = {key: value.contiguous() for key, value in prefixed("").items()}
    names = {key: f"model-0000{1 + (key > 'transformer' if split else 0)}-of-00002.safetensors" for key in state}
    for name in set(names.values()):
        save_file({key: value for key, value in state.items() if names[key] == name}, folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))


def test_an_index_is_read_with_its_shards(tmp_path):
    shards(tmp_path)
    assert loads(tmp_path / "model.safetensors.index.json")


@pytest.mark.parametrize("outside", [False, True])
def test_an_index_without_its_shards_names_them(tmp_path, outside):
    shards(tmp_path)
    path = tmp_path / "model.safetensors.index.json"
    if outside:  # files elsewhere are not read
        path.write_text(path.read_text().replace("model-00002", "../" + tmp_path.name + "/model-00002"))
    else:
        (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputError, match=r"index of a model in 2 files, of which 1 are not beside it .*model-00002"):
        load_weights_file(small_clip(), path)


FOREIGN = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 5\n": "pointer of Git LFS.*git lfs pull",
    b"<!DOCTYPE html><html><body>Sign in</body></html>": "a web page.*download",
    b"\xef\xbb\xbf\n<html>": "a web page.*download",
    b"\x08\x0a\x12\x07pytorch\x1a\x05": "an ONNX file.*sgovss segment --onnx",
    b'{"hidden_size": 768}': "a JSON file without weights.*weights file beside it",
    b"\x1f\x8b\x08\x00" + bytes(40): "an archive of other files.*unpack it",
    b"PK\x05\x06" + bytes(18): "unknown format",
    b"\x93NUMPY\x01\x00": "a NumPy file",
    b"GGUF\x03\x00\x00\x00": "a GGUF file",
    b"": "an empty file.*copy it again",
    b"Proxy error": "a text file.*download them again",
    b"MODEL:\n  META_ARCHITECTURE: SGOVSS\n": "a text file.*--config-file",
    "name: Gebäude\r\n".encode(): "a text file.*--config-file",
}


@pytest.mark.parametrize("content", FOREIGN)
def test_files_of_other_formats_are_named(tmp_path, content):
    path = tmp_path / "clip.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=FOREIGN[content]) as caught:
        load_weights_file(small_clip(), path)
    assert "--trust-pickle" not in str(caught.value) and "damaged" not in str(caught.value)


@pytest.mark.parametrize("content", FOREIGN)
def test_the_same_files_are_named_where_a_checkpoint_is_expected(tmp_path, content):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    expected = "damaged.*copy it again" if "unknown format" in FOREIGN[content] else FOREIGN[content]
    with pytest.raises(InputError, match=expected):
        read_checkpoint(path)


@pytest.mark.parametrize("rows", [1 + 3 * 4, 3 * 4, 1, 0])
def test_positions_of_images_that_are_not_square_are_one_line(tmp_path, rows):
    state = prefixed("")
    state["visual.positional_embedding"] = torch.zeros(rows, state["visual.positional_embedding"].shape[1])
    torch.save(state, tmp_path / "clip.pt")
    with pytest.raises(InputError, match=rf"clip\.pt: these weights belong to .*positional_embedding is \({rows}"):
        load_weights_file(small_clip(), tmp_path / "clip.pt")


@pytest.mark.parametrize("key", ["visual.positional_embedding", "positional_embedding"])
@pytest.mark.parametrize("change", [lambda table: table[None], lambda table: table[0]])
def test_positions_of_another_number_of_dimensions_are_one_line(tmp_path, key, change):
    state = prefixed("")
    torch.save(state | {key: change(state[key])}, tmp_path / "clip.pt")
    with pytest.raises(InputError, match=rf"another architecture.*{key} is "):
        load_weights_file(small_clip(), tmp_path / "clip.pt")


def test_a_checkpoint_is_told_before_an_activation_is_asked_for(tmp_path):
    torch.save({"kind": "training", "config": "", "model": prefixed("image_encoder.")}, tmp_path / "model_final.pth")
    with pytest.raises(InputError, match=r"MODEL\.CLIP\.WEIGHTS: .*a checkpoint of sgovss.*set MODEL\.WEIGHTS"):
        load_clip("ViT-B-16", str(tmp_path / "model_final.pth"))


def test_a_folder_is_named_with_the_files_in_it(tmp_path):
    bare(small_clip(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"a folder; give the weights file in it \(pytorch_model\.bin\)"):
        load_weights_file(small_clip(), tmp_path)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("layout", ["open_clip", "transformers", "safetensors", "half", "nested"])
def test_weights_that_are_not_finite_are_one_line(tmp_path, layout, odd):
    path = tmp_path / "clip.pt"
    state = (
        transformers_clip(path).state_dict() if layout == "transformers" else prefixed("model." * (layout == "nested"))
    )
    state = {key: value.clone() for key, value in state.items()}
    key = next(key for key, value in state.items() if value.dim() == 2)
    state[key][0, 1] = odd
    if layout == "half":
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    save_file(state, path) if layout == "safetensors" else torch.save(state, path)
    target = small_clip(7)
    before = target.state_dict()["visual.proj"].clone()
    with pytest.raises(InputError, match=r"WEIGHTS: .*clip\.pt: 1 of \d+ tensors hold NaN or Inf, such as .*copy the"):
        load_weights_file(target, path)
    assert torch.equal(before, target.state_dict()["visual.proj"])


def test_values_beside_the_weights_may_be_anything(tmp_path):
    """The causal mask of old files holds minus infinity, and a loss beside the weights may have failed."""
    extra = {"attn_mask": torch.full((3, 3), -float("inf")), "criterion.scale": torch.tensor(float("nan"))}
    torch.save(prefixed("") | extra, tmp_path / "clip.pt")
    assert loads(tmp_path / "clip.pt")
