"""Tests of ``sgovss convert``."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from importlib import import_module

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

import sgovss
from sgovss.config import load_config
from sgovss.modeling.clip_models import load_clip
from sgovss.modeling.clip_settings import activation_of, pixel_statistics
from sgovss.modeling.known_weights import weights_metadata
from sgovss.modeling.vit_tower import ViTTower
from sgovss.synthetic import generate_image
from tests.modeling.published import LAYOUTS, SMALL, bare, openai_archive, small_clip, transformers_clip

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")

RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
MODELS = {
    **dict.fromkeys(("ViT-B-32", "ViT-L-14", "small"), SMALL),
    "small-quickgelu": {**SMALL, "quick_gelu": True},
    "wide": {**SMALL, "vision_cfg": {**SMALL["vision_cfg"], "width": 64}},
    "deep": {**SMALL, "text_cfg": {**SMALL["text_cfg"], "layers": 2}},
    "large": {**SMALL, "vision_cfg": {**SMALL["vision_cfg"], "image_size": 96}},
    "RN50": {**SMALL, "vision_cfg": RESNET},
}


@pytest.fixture(autouse=True)
def small_models(monkeypatch):
    """Make open_clip's names stand for small architectures."""
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: json.loads(json.dumps(MODELS[name])))


@pytest.fixture
def convert(load_script, tmp_path, capsys):
    """A function that runs the command and returns its exit status, and its output or error."""
    tool = import_module("sgovss.commands.convert")

    def run(source, *options, output="converted.safetensors"):
        status = tool.main([str(source), "--output", str(tmp_path / output), *options])
        printed = capsys.readouterr()
        return status, printed.err.strip() if status else printed.out

    return run


@torch.no_grad()
@pytest.mark.parametrize("name", LAYOUTS)
def test_image_and_text_features_are_the_same_before_and_after(tmp_path, convert, name):
    clip = small_clip(quick_gelu=True)
    source = tmp_path / name
    source.parent.mkdir(exist_ok=True)
    LAYOUTS[name](clip, source)
    status, _ = convert(source)
    assert status == 0
    converted = load_clip("ViT-B-32", str(tmp_path / "converted.safetensors")).eval()
    images, texts = torch.rand(2, 3, 64, 64), torch.randint(1, 49000, (2, 16))
    assert torch.equal(converted.encode_image(images), clip.encode_image(images))
    assert torch.equal(converted.encode_text(texts), clip.encode_text(texts))


@torch.no_grad()
def test_an_archive_of_openai_converts_to_what_it_held(tmp_path, convert):
    clip = openai_archive(tmp_path / "ViT-B-32.pt")
    assert convert(tmp_path / "ViT-B-32.pt", "--model", "small")[0] == 0
    state = load_file(tmp_path / "converted.safetensors")
    assert all(torch.equal(value, clip.state_dict()[key].half().float()) for key, value in state.items())
    assert activation_of("small", str(tmp_path / "converted.safetensors")) == "quick_gelu"


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_weights_of_transformers_have_the_activation_of_their_config(tmp_path, convert, activation):
    pytest.importorskip("transformers")
    transformers_clip(tmp_path / "pytorch_model.bin", activation)
    status, report = convert(tmp_path / "pytorch_model.bin", "--model", "small")
    assert (status, f"activation {activation} (hidden_act of config.json)" in report) == (0, True)


def test_the_file_says_what_it_came_from(tmp_path, convert):
    bare(small_clip(), tmp_path / "mine.pt")
    status, report = convert(tmp_path / "mine.pt", "--model", "small", "--activation", "gelu")
    digest = hashlib.sha256((tmp_path / "mine.pt").read_bytes()).hexdigest()
    metadata = weights_metadata(tmp_path / "converted.safetensors")
    assert status == 0
    assert (metadata["source"], metadata["source_sha256"], metadata["model"]) == ("mine.pt", digest, "small")
    assert (metadata["activation"], metadata["source_layout"]) == ("gelu", "open_clip")
    assert digest in report
    assert f"MODEL.CLIP.NAME small MODEL.CLIP.WEIGHTS {tmp_path / 'converted.safetensors'}" in report


def test_pixel_statistics_are_written_and_read_again(tmp_path, convert):
    bare(small_clip(), tmp_path / "mine.pt")
    given = {"preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(given))
    _, report = convert(tmp_path / "mine.pt", "--model", "small", "--activation", "gelu")
    (tmp_path / "open_clip_config.json").unlink()
    assert "pixel statistics: mean [0.5, 0.5, 0.5], standard deviation [0.25, 0.25, 0.25]" in report
    cfg = load_config("base.yaml", ["MODEL.CLIP.NAME", "small"])
    cfg.MODEL.CLIP.WEIGHTS = str(tmp_path / "converted.safetensors")
    assert pixel_statistics(cfg) == ([127.5] * 3, [63.75] * 3)


def test_one_of_two_models_in_a_file_is_chosen_by_its_prefix(tmp_path, convert):
    state = {
        f"{name}.{key}": value for name in ("a", "b") for key, value in small_clip(name == "b").state_dict().items()
    }
    torch.save(state, tmp_path / "RemoteCLIP-ViT-B-32.pt")
    status, error = convert(tmp_path / "RemoteCLIP-ViT-B-32.pt")
    assert (status, "under 'a.' and 'b.'" in error, "--prefix" in error) == (2, True, True)
    status, report = convert(tmp_path / "RemoteCLIP-ViT-B-32.pt", "--prefix", "b.")
    assert (status, "taken off the names: b." in report, "left out: a" in report) == (0, True, True)
    found = load_file(tmp_path / "converted.safetensors")
    assert all(torch.equal(value, found[key]) for key, value in small_clip(1).state_dict().items())


def test_half_precision_halves_the_file_and_loads_into_single(tmp_path, convert):
    clip = small_clip()
    bare(clip, tmp_path / "RemoteCLIP-ViT-B-32.pt")
    convert(tmp_path / "RemoteCLIP-ViT-B-32.pt")
    convert(tmp_path / "RemoteCLIP-ViT-B-32.pt", "--half", output="half.safetensors")
    sizes = [(tmp_path / name).stat().st_size for name in ("half.safetensors", "converted.safetensors")]
    assert sizes[0] < 0.51 * sizes[1]
    modes = {(tmp_path / name).stat().st_mode for name in ("half.safetensors", "RemoteCLIP-ViT-B-32.pt")}
    assert len(modes) == 1  # the permissions of the source
    state = load_clip("small", str(tmp_path / "half.safetensors")).state_dict()
    assert all(torch.equal(value, clip.state_dict()[key].half().float()) for key, value in state.items())


def test_a_converted_file_converts_again_with_its_activation(tmp_path, convert):
    bare(small_clip(), tmp_path / "mine.pt")
    convert(tmp_path / "mine.pt", "--model", "small", "--activation", "quick_gelu")
    status, report = convert(tmp_path / "converted.safetensors", "--model", "small", output="again.safetensors")
    assert (status, "activation quick_gelu (--activation)" in report) == (0, True)


@torch.no_grad()
def test_resized_positions_are_those_of_open_clip(tmp_path, convert):
    bare(small_clip(), tmp_path / "RemoteCLIP-ViT-B-32.pt")
    status, report = convert(tmp_path / "RemoteCLIP-ViT-B-32.pt", "--image-size", "96")
    assert (status, "resized from 64 to 96 px" in report) == (0, True)
    expected = small_clip(image_size=96)
    open_clip.load_checkpoint(expected, str(tmp_path / "RemoteCLIP-ViT-B-32.pt"))
    found = load_file(tmp_path / "converted.safetensors")
    assert all(torch.equal(found[key], value) for key, value in expected.state_dict().items())


@torch.no_grad()
def test_the_tower_at_another_size_sees_what_resized_weights_show(tmp_path, convert):
    """sgovss resizes positions at run time, so a file needs no resizing."""
    bare(small_clip(), tmp_path / "RemoteCLIP-ViT-B-32.pt")
    convert(tmp_path / "RemoteCLIP-ViT-B-32.pt", "--image-size", "96")
    resized = load_clip("large", str(tmp_path / "converted.safetensors"))
    plain = load_clip("small", str(tmp_path / "RemoteCLIP-ViT-B-32.pt"))
    assert resized.visual.positional_embedding.shape != plain.visual.positional_embedding.shape
    images = torch.rand(1, 3, 96, 96)
    found, expected = ViTTower(plain.visual)(images), ViTTower(resized.visual)(images)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("rows", [1 + 3 * 4, 3 * 4, 0])
def test_positions_of_images_that_are_not_square_are_one_line(tmp_path, convert, rows):
    state = small_clip().state_dict()
    state["visual.positional_embedding"] = torch.zeros(rows, state["visual.positional_embedding"].shape[1])
    torch.save(state, tmp_path / "clip.pt")
    status, error = convert(tmp_path / "clip.pt", "--model", "small", "--activation", "gelu")
    assert status == 2
    assert f"clip.pt: the positional embedding is ({rows}, " in error and "not that of square images" in error


def test_positions_of_another_size_are_not_resized_unasked(tmp_path, convert):
    bare(small_clip(image_size=96), tmp_path / "RemoteCLIP-ViT-B-32.pt")
    status, error = convert(tmp_path / "RemoteCLIP-ViT-B-32.pt")
    assert status == 2
    assert "the positional embedding is for images of 96 px, that of ViT-B-32 for 64" in error
    assert convert(tmp_path / "RemoteCLIP-ViT-B-32.pt", "--image-size", "64")[0] == 0


MISTAKES = {
    "wide": (("--model", "wide"), r"mine\.pt is not wide: \d+ tensors of another shape, 0 unknown.* is \(.*--model"),
    "deep": (("--model", "deep"), r"mine\.pt is incomplete: 12 tensors are missing, the first transf"),
    "resnet": (("--model", "RN50"), r"a ModifiedResNet has no dense map"),
    "unnamed": ((), r"mine\.pt: the file name is not one of a known architecture \(see --list\); give it with --model"),
    "patch": (("--model", "small", "--image-size", "65"), r"--image-size: 65 is not a positive multiple of .* 16"),
    "zero": (("--model", "small", "--image-size", "0"), r"--image-size: 0 is not a positive multiple"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_wrong_architecture_is_one_line(tmp_path, convert, case):
    options, expected = MISTAKES[case]
    bare(small_clip(), tmp_path / "mine.pt")
    status, error = convert(tmp_path / "mine.pt", "--activation", "gelu", *options)
    assert status == 2
    assert "\n" not in error
    assert re.search(expected, error), error
    assert not (tmp_path / "converted.safetensors").exists()


def test_an_unknown_activation_has_to_be_named(tmp_path, convert):
    bare(small_clip(), tmp_path / "mine.pt")
    status, error = convert(tmp_path / "mine.pt", "--model", "small")
    assert (status, "give --activation quick_gelu if they are fine-tuned from OpenAI's weights" in error) == (2, True)
    status, report = convert(tmp_path / "mine.pt", "--model", "small-quickgelu")
    assert (status, "activation quick_gelu (open_clip's configuration" in report) == (0, True)


def test_half_a_model_is_named_as_such(tmp_path, convert):
    state = {key: value for key, value in small_clip().state_dict().items() if key.startswith("visual.")}
    save_file(state, tmp_path / "image.safetensors")
    status, error = convert(tmp_path / "image.safetensors", "--model", "small", "--activation", "gelu")
    assert (status, "is incomplete" in error, "weights of the image and the text encoder" in error) == (2, True, True)


@pytest.mark.parametrize(
    ("value", "options", "expected"), [(float("nan"), (), "is damaged"), (1e6, ("--half",), "leave")]
)
def test_values_that_cannot_be_right_are_refused(tmp_path, convert, value, options, expected):
    clip = small_clip()
    clip.visual.proj.data[0, 0] = value
    bare(clip, tmp_path / "RemoteCLIP-ViT-B-32.pt")
    status, error = convert(tmp_path / "RemoteCLIP-ViT-B-32.pt", *options)
    assert (status, expected in error, "visual.proj" in error) == (2, True, True)


def test_python_objects_are_read_only_if_trusted(tmp_path, convert):
    """Such as the arguments of a training run, saved with the weights."""
    clip = small_clip()
    content = {"state_dict": clip.state_dict(), "args": argparse.Namespace(lr=1e-4)}
    torch.save(content, tmp_path / "RemoteCLIP-ViT-B-32.pt")
    status, error = convert(tmp_path / "RemoteCLIP-ViT-B-32.pt")
    assert (status, "if you trust them, give --trust-pickle" in error) == (2, True)
    assert not (tmp_path / "converted.safetensors").exists()
    status, report = convert(tmp_path / "RemoteCLIP-ViT-B-32.pt", "--trust-pickle")
    assert (status, "left out: args" in report) == (0, True)
    converted = load_file(tmp_path / "converted.safetensors")
    assert all(torch.equal(converted[key], value) for key, value in clip.state_dict().items())


def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path, convert):
    bare(small_clip(), tmp_path / "RemoteCLIP-ViT-B-32.pt")
    (tmp_path / "converted.safetensors").write_text("mine")
    status, error = convert(tmp_path / "RemoteCLIP-ViT-B-32.pt")
    assert (status, "exists already; give another name or --overwrite" in error) == (2, True)
    assert (tmp_path / "converted.safetensors").read_text() == "mine"
    assert convert(tmp_path / "RemoteCLIP-ViT-B-32.pt", "--overwrite")[0] == 0
    assert activation_of("small", str(tmp_path / "converted.safetensors")) == "quick_gelu"


def test_the_output_has_to_be_safetensors(tmp_path, convert):
    bare(small_clip(), tmp_path / "RemoteCLIP-ViT-B-32.pt")
    status, error = convert(tmp_path / "RemoteCLIP-ViT-B-32.pt", output="converted.pt")
    assert (status, "must end in .safetensors" in error) == (2, True)


def test_known_files_are_listed_with_their_reasons(load_script, capsys):
    assert import_module("sgovss.commands.convert").main(["--list"]) == 0
    printed = capsys.readouterr().out
    assert "RemoteCLIP-ViT-B-32.pt: ViT-B-32, quick_gelu, inferred" in printed
    assert "RS5M_ViT-H-14.pt: ViT-H-14, gelu, stated" in printed


def folder_of(tmp_path):
    return sgovss.Predictor.from_pretrained(tmp_path / "model", options=("MODEL.DEVICE", "cpu"))


@torch.no_grad()
@pytest.mark.parametrize("name", ["RemoteCLIP-ViT-B-32.pt", "SkyCLIP_ViT_L14_top30pct/epoch_20.pt"])
def test_a_folder_from_clip_weights_is_clip(tmp_path, convert, monkeypatch, name):
    """Its dense map and text embeddings are those of the weights, and it names their file and digest."""
    short = open_clip.SimpleTokenizer(context_length=SMALL["text_cfg"]["context_length"])
    monkeypatch.setattr(open_clip, "get_tokenizer", lambda name: short)
    clip = small_clip(quick_gelu=True)
    source = tmp_path / name
    source.parent.mkdir(exist_ok=True)
    LAYOUTS[name](clip, source)
    status, printed = convert(source, "--licence", "mit", output="model")
    assert (status, "README.md, config.yaml, mlm.json, model.safetensors" in printed) == (0, True)
    source_sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    model = "ViT-B-32" if "B-32" in name else "ViT-L-14"
    ours = folder_of(tmp_path)
    options = ("MODEL.CLIP.NAME", model, "MODEL.CLIP.WEIGHTS", str(source), "MODEL.DEVICE", "cpu")
    direct = sgovss.Predictor("base.yaml", options=options)
    image = generate_image(3, size=64, style="b").image
    assert (ours(image, "road, water").scores == direct(image, "road, water").scores).all()
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"{source.name} (SHA-256 {source_sha256}), text encoder SHA-256 " in card
    assert "nothing: CLIP without fine-tuning" in card and "\nlicense: mit\n" in card
    assert str(tmp_path) not in "".join(path.read_text() for path in (tmp_path / "model").glob("*.[!s]*"))

    # A folder of the folder says the same.
    assert convert(tmp_path / "model", output="again")[0] == 0
    assert f"{source.name} (SHA-256 {source_sha256})" in (tmp_path / "again" / "README.md").read_text()
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == weights


@torch.no_grad()
@pytest.mark.parametrize("output", ["converted.safetensors", "model"])
def test_clip_weights_of_the_hub(tmp_path, convert, fake_hub, output):
    """In the layout of transformers, whose architecture and activation are known by the repository's name."""
    clip = transformers_clip(tmp_path / "whole.bin")
    save_file({key: value.contiguous() for key, value in clip.state_dict().items()}, tmp_path / "weights")
    weights = {"model.safetensors": (tmp_path / "weights").read_bytes()}
    fake_hub.add("openai/clip-vit-base-patch32", weights)
    fake_hub.add("me/another", weights)
    status, printed = convert("openai/clip-vit-base-patch32", output=output)
    assert status == 0 and "architecture ViT-B-32" in printed
    if output == "model":
        digest = hashlib.sha256(weights["model.safetensors"]).hexdigest()
        card = (tmp_path / "model" / "README.md").read_text()
        assert f"openai/clip-vit-base-patch32/model.safetensors (SHA-256 {digest})" in card
    status, error = convert("me/another", output="other" + output)
    assert status == 2 and "give it with --model" in error
    status, error = convert("me/nowhere", output="other" + output)
    assert status == 2 and "me/nowhere: no file or folder here, and no such model on http://127" in error


@pytest.mark.parametrize(
    ("options", "output", "told"),
    [
        (["--half"], "model", "--half belongs to an --output that ends in .safetensors; leave it out"),
        (["--image-size", "96"], "model", "--image-size belongs to an --output that ends in .safetensors"),
        (["--licence", "mit"], "x.safetensors", "--licence belongs to a model folder; leave it out, or give --format"),
        (["--config-file", "base.yaml"], "x.safetensors", "--config-file belongs to a model folder"),
        ([], "model.v1", "must end in .safetensors; for a model folder give a name without ending"),
        (["--format", "file"], "model", "must end in .safetensors; for a model folder give a name without ending"),
        (["--scores", "nowhere"], "model", r"--scores nowhere: no nowhere/evaluation/\*.json"),
    ],
)
def test_options_of_the_other_format_are_one_line(tmp_path, convert, options, output, told):
    LAYOUTS["RemoteCLIP-ViT-B-32.pt"](small_clip(quick_gelu=True), tmp_path / "RemoteCLIP-ViT-B-32.pt")
    status, error = convert(tmp_path / "RemoteCLIP-ViT-B-32.pt", *options, output=output)
    assert status == 2 and re.search(told, error) and "\n" not in error


def test_a_folder_with_a_model_is_kept(tmp_path, convert):
    LAYOUTS["RemoteCLIP-ViT-B-32.pt"](small_clip(quick_gelu=True), tmp_path / "RemoteCLIP-ViT-B-32.pt")
    (tmp_path / "model.v1").mkdir()
    (tmp_path / "model.v1" / "model.safetensors").write_text("mine")
    status, error = convert(tmp_path / "RemoteCLIP-ViT-B-32.pt", "--format", "folder", output="model.v1")
    assert (status, "has a model already; give another name or --overwrite" in error) == (2, True)
    assert (tmp_path / "model.v1" / "model.safetensors").read_text() == "mine"
    replaced = convert(tmp_path / "RemoteCLIP-ViT-B-32.pt", "--format", "folder", "--overwrite", output="model.v1")
    assert replaced[0] == 0 and (tmp_path / "model.v1" / "config.yaml").is_file()


def test_what_is_not_there_or_damaged_is_named(tmp_path, convert):
    """And not the architecture, which is not the problem."""
    for name in ("cut", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "cut" / "model.safetensors").write_bytes(b"x")
    (tmp_path / "cut" / "config.yaml").write_text("MODEL: {}")
    told = {
        "none.pth": r"no file .*none\.pth; give a file of CLIP weights",
        "none/model.safetensors": "no file .*model.safetensors; give a file of CLIP weights",
        "empty": "empty: a folder; give the weights file in it",
    }
    for output in ("folder", "file.safetensors"):
        for name, message in told.items():
            status, error = convert(tmp_path / name, output=output)
            assert status == 2 and re.search(message, error), error
    status, error = convert(tmp_path / "cut", output="folder")
    assert status == 2 and re.search(r"cut/model\.safetensors is damaged .*; copy it again", error)


def test_a_folder_from_clip_weights_leaves_out_weights_that_the_config_names(tmp_path, convert):
    LAYOUTS["RemoteCLIP-ViT-B-32.pt"](small_clip(quick_gelu=True), tmp_path / "RemoteCLIP-ViT-B-32.pt")
    (tmp_path / "tuned.yaml").write_text("MODEL:\n  WEIGHTS: tuned.pth\n")
    config = ("--config-file", str(tmp_path / "tuned.yaml"))
    assert convert(tmp_path / "RemoteCLIP-ViT-B-32.pt", *config, output="model")[0] == 0
    assert "nothing: CLIP without fine-tuning" in (tmp_path / "model" / "README.md").read_text()
