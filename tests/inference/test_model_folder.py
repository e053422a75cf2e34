"""Model folders: equal scores after a round trip, what is in them, and wrong input."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open

import sgovss
from sgovss.engine.checkpoint import save_inference_checkpoint
from sgovss.errors import InputError
from sgovss.files import sha256
from sgovss.inference.model_card import ModelFacts, card, stac_item
from sgovss.modeling.embedded_clip import WEIGHTS as EMBEDDED_WEIGHTS
from sgovss.modeling.model_folder import BaseWeights
from sgovss.synthetic import generate_image
from tests.fixtures.exports import with_open_gates
from tests.fixtures.fake_hub import FakeHub

WORDS = "building|house, road, tree|forest, water"
CPU = ("MODEL.DEVICE", "cpu")


@pytest.fixture(scope="module")
def checkpoint(predictor: sgovss.Predictor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a model that differs from CLIP, as training writes it."""
    path = tmp_path_factory.mktemp("run") / "model_inference.pth"
    save_inference_checkpoint(with_open_gates(predictor.model), predictor.cfg, path)
    scores = {"images": 7, "mIoU": 31.25, "seen_mIoU": 40.0, "unseen_mIoU": None, "harmonic_mIoU": None}
    (path.parent / "evaluation").mkdir()
    (path.parent / "evaluation" / "generated_scenes_test.json").write_text(json.dumps(scores))
    return path


@pytest.fixture(scope="module")
def folder(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the command writes from the checkpoint."""
    path = tmp_path_factory.mktemp("models") / "a_model"
    arguments = ["--config-file", "sgovss_tiny.yaml", "--format", "folder", "--output", path, "--licence", "apache-2.0"]
    options = ["--scores", checkpoint.parent, "--opts", "MODEL.WEIGHTS", checkpoint]
    assert import_module("sgovss.commands.export").main([str(part) for part in (*arguments, *options)]) == 0
    return path


def test_four_files_and_no_pickle(folder: Path):
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "config.yaml", "mlm.json", "model.safetensors",
    ]  # fmt: skip
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"} and "head.log_scale" in file.keys()  # noqa: SIM118
    cfg = yaml.safe_load((folder / "config.yaml").read_text())
    assert (cfg["MODEL"]["WEIGHTS"], cfg["MODEL"]["CLIP"]["WEIGHTS"], cfg["OUTPUT_DIR"]) == ("", "embedded", "output")


@pytest.fixture(scope="module")
def trained(checkpoint: Path) -> sgovss.Predictor:
    return sgovss.Predictor("sgovss_tiny.yaml", weights=checkpoint, options=CPU)


def test_equal_scores_after_a_round_trip(folder: Path, trained: sgovss.Predictor, tmp_path: Path):
    again = sgovss.Predictor.from_pretrained(folder, options=CPU)
    for seed in (3, 4, 5):
        image = generate_image(seed, size=96, style="b").image
        np.testing.assert_array_equal(again(image, WORDS).scores, trained(image, WORDS).scores)
    again.save_pretrained(tmp_path / "copy")
    copied = (tmp_path / "copy" / "model.safetensors").read_bytes()
    assert copied == (folder / "model.safetensors").read_bytes()


def test_a_folder_stands_where_weights_do(folder: Path, trained: sgovss.Predictor):
    image = generate_image(6, size=64, style="b").image
    weights = ("MODEL.WEIGHTS", str(folder))
    config = folder / "config.yaml"
    for name, options in (("sgovss_tiny.yaml", weights), (config, weights), (config, ()), (folder, ())):
        predict = sgovss.Predictor(name, options=(*CPU, *options))
        np.testing.assert_array_equal(predict(image, WORDS).scores, trained(image, WORDS).scores)


def test_a_folder_as_config_suits_this_machine_and_older_versions(folder: Path, tmp_path: Path):
    """The device is not that of the machine that wrote it, and keys that sgovss no longer has are left out."""
    shutil.copytree(folder, tmp_path / "copy")
    text = (folder / "config.yaml").read_text()
    assert text.count("DEVICE: cpu") == 1
    old = text.replace("DEVICE: cpu", "DEVICE: cuda:7").replace("SOLVER:", "SOLVER:\n  OPTIMIZER: ADAMW", 1)
    (tmp_path / "copy" / "config.yaml").write_text(old)
    cfg = sgovss.load_config(tmp_path / "copy")
    assert ("cuda" if torch.cuda.is_available() else "cpu") == cfg.MODEL.DEVICE
    assert str(tmp_path / "copy") == cfg.MODEL.WEIGHTS
    assert sgovss.load_config(tmp_path / "copy", ["MODEL.WEIGHTS", ""]).MODEL.WEIGHTS == ""


@pytest.mark.parametrize("text", ["a: [", "- 1", "MODEL: 3", ""])
def test_a_damaged_config_is_one_line(folder: Path, tmp_path: Path, text: str):
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    (tmp_path / "config.yaml").write_text(text)
    for read in (sgovss.load_config, sgovss.Predictor.from_pretrained):
        with pytest.raises(InputError, match=r"its config is damaged \(.*\); copy it again"):
            read(tmp_path)


def test_the_card_says_what_the_model_is(folder: Path):
    text = (folder / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: sgovss") and "\nlicense: apache-2.0\n" in text
    rows = {
        line.split("|")[1].strip(): line.split("|")[2].strip() for line in text.splitlines() if line.startswith("|")
    }
    assert rows["trained on"] == "generated_scenes_train" and rows["licence"] == "apache-2.0"
    assert "building" in rows["words in training"] and "farmland" not in rows["words in training"]  # held out
    assert rows["ground sample distance"] == "0.3 m per pixel"
    assert rows["base weights"].startswith("embedded, text encoder SHA-256 ") and len(rows["base weights"]) > 90
    assert "| 31.25" in text and "MODEL.WEIGHTS . DATASETS.TEST \"('generated_scenes_test',)\"" in text


def test_the_stac_item_has_what_the_extension_requires(folder: Path):
    item = json.loads((folder / "mlm.json").read_text())
    required = {"name", "architecture", "framework", "tasks", "input", "output"}
    assert {f"mlm:{name}" for name in required} <= item["properties"].keys()
    assert item["properties"]["mlm:tasks"] == ["semantic-segmentation"]
    assert {key for each in item["properties"]["mlm:input"] for key in each} >= {"name", "bands", "input"}
    assert all((folder / asset["href"]).is_file() for asset in item["assets"].values())
    models = [asset for asset in item["assets"].values() if "mlm:model" in asset["roles"]]
    assert models == [asset for asset in item["assets"].values() if "mlm:artifact_type" in asset] != []


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("me/mine", "me-mine"),
        ("Köln 2026!", "K-ln-2026"),
        ("a_model.v2", "a_model.v2"),
        ("2026-run", "model-2026-run"),
        ("ab", "model-ab"),
        ("_", "model-sgovss"),
    ],
)
@pytest.mark.parametrize(
    ("licence", "stated"), [("CC-BY-4.0", "CC-BY-4.0"), ("CC BY-NC 4.0", "other"), (None, "other"), ("", "other")]
)
def test_whatever_a_model_is_called_its_stac_item_is_valid(
    monkeypatch: pytest.MonkeyPatch, name: str, plain: str, licence: str | None, stated: str
):
    """By the patterns of MLM 1.4's and STAC 1.1's JSON schemas."""
    monkeypatch.setattr(torch, "__version__", "2.5.0a0+872d972e41.nv24.8")
    facts = ModelFacts(name, ("one",), ("road",), 0.3, "tiny", BaseWeights("embedded", ""), "0", "0", 5, licence, {})
    item = stac_item(facts)
    found = item["properties"]
    assert (item["id"], found["mlm:name"], found["license"]) == (name, plain, stated)
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]", found["mlm:name"], re.ASCII)
    assert found["mlm:framework_version"] == "2.5.0"


def changed(item: dict, *keys: str, value: object) -> dict:
    """The item with another value of a property; keys lead to it."""
    copy = json.loads(json.dumps(item))
    place = copy["properties"]
    for key in keys[:-1]:
        place = place[key] if isinstance(place, dict) else place[int(key)]
    place[keys[-1]] = value
    return copy


def test_the_stac_item_is_valid(folder: Path):
    """By the typed model of the extension, which its authors publish, and the JSON schema of STAC items."""
    pytest.importorskip("stac_model", reason="needs Python 3.11")
    from pydantic import ValidationError
    from pystac import Item
    from pystac.errors import STACValidationError
    from pystac.validation import validate_dict
    from stac_model.schema import MLModelProperties

    item = json.loads((folder / "mlm.json").read_text())
    facts = MLModelProperties(**item["properties"])
    assert facts.architecture == item["properties"]["mlm:architecture"] and facts.total_parameters > 1e6
    assert list(Item.from_dict(item).get_assets(role="mlm:model")) == ["weights"]
    plain = item | {"stac_extensions": []}  # the schemas of extensions are not at hand without a network
    assert validate_dict(plain)
    for wrong in (
        changed(item, "mlm:tasks", value=["segmentation-of-everything"]),
        changed(item, "mlm:input", "0", "input", "dim_order", value=["batch"]),
        changed(item, "mlm:output", value=None),
    ):
        with pytest.raises(ValidationError):
            MLModelProperties(**wrong["properties"])
    with pytest.raises(STACValidationError):
        validate_dict(plain | {"assets": {"weights": {"title": "no href"}}})


def test_the_stac_item_says_what_the_card_says(folder: Path):
    item = json.loads((folder / "mlm.json").read_text())
    facts = item["properties"]
    assert (facts["gsd"], facts["license"]) == (0.3, "apache-2.0")
    assert facts["mlm:hyperparameters"]["trained_on"] == ["generated_scenes_train"]
    assert facts["mlm:hyperparameters"]["base_weights"] == "embedded"
    assert {"building", "water"} <= set(facts["mlm:hyperparameters"]["words"])
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert item["assets"]["weights"]["file:checksum"] == f"1220{digest}"
    assert digest in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("licence", "stated"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("CC BY 4.0", {"license": "cc-by-4.0"}),
        ("by our contract (2026)", {"license": "other", "license_name": "by-our-contract-2026"}),
        ("other", {"license": "other"}),
    ],
)
def test_the_header_of_the_card_names_the_licence_as_the_hub_does(licence: str, stated: dict[str, str]):
    facts = ModelFacts("a", ("one",), ("road",), 0.3, "tiny", BaseWeights("embedded", ""), "0", "0", 5, licence, {})
    text = card(facts)
    header = yaml.safe_load(text.split("---")[1])
    assert header == {"library_name": "sgovss", "pipeline_tag": "image-segmentation"} | stated
    assert re.search(rf"\| licence +\| {re.escape(licence)} ", text)


def test_the_digest_of_the_text_encoder_does_not_depend_on_whether_it_was_used(tmp_path: Path):
    predict = sgovss.Predictor("sgovss_tiny.yaml", options=CPU)
    digests = []
    for name in ("unused", "used"):
        predict.save_pretrained(tmp_path / name)
        predict.model.text_embedder.build()
        facts = json.loads((tmp_path / name / "mlm.json").read_text())["properties"]
        digests.append(facts["mlm:hyperparameters"]["text_encoder_sha256"])
    again = sgovss.Predictor.from_pretrained(tmp_path / "used", options=CPU)
    again.save_pretrained(tmp_path / "again")
    facts = json.loads((tmp_path / "again" / "mlm.json").read_text())["properties"]
    assert {*digests, facts["mlm:hyperparameters"]["text_encoder_sha256"]} == {digests[0]}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"model": "ViT-B-16"}, "MODEL.CLIP.NAME ViT-B-16, but the model has tiny"),
        ({"model": "tiny", "templates": "plain"}, "MODEL.CLIP.TEMPLATES plain, but the model has remote_sensing"),
        ({"dense": "qq+kk"}, "MODEL.CLIP.DENSE qq[+]kk, but the model has value"),
    ],
)
def test_scores_of_another_model_are_refused(predictor: sgovss.Predictor, tmp_path: Path, settings: dict, told: str):
    (tmp_path / "evaluation").mkdir()
    scores = {"images": 7, "mIoU": 31.25, "seen_mIoU": 40.0, "unseen_mIoU": None, "harmonic_mIoU": None}
    (tmp_path / "evaluation" / "one.json").write_text(json.dumps(scores | {"settings": settings}))
    with pytest.raises(InputError, match=f"one was measured with {told}; evaluate this model"):
        predictor.save_pretrained(tmp_path / "model", scores=tmp_path)


def test_a_copy_takes_over_licence_and_scores(predictor: sgovss.Predictor, tmp_path: Path):
    (tmp_path / "evaluation").mkdir()
    scores = {"images": 7, "mIoU": 31.25, "seen_mIoU": 40.0, "unseen_mIoU": None, "harmonic_mIoU": None}
    templates = predictor.cfg.MODEL.CLIP.TEMPLATES
    settings = {"settings": {"templates": templates, "weights": "/home/me/model.pth"}}
    (tmp_path / "evaluation" / "one.json").write_text(json.dumps(scores | settings))
    predictor.save_pretrained(tmp_path / "first", licence="CC BY 4.0", scores=tmp_path)
    assert "/home/me" not in (tmp_path / "first" / "mlm.json").read_text()
    copied = sgovss.Predictor.from_pretrained(tmp_path / "first", options=CPU)
    copied.save_pretrained(tmp_path / "second")
    copied.save_pretrained(tmp_path / "third", licence="MIT")
    texts = {name: (tmp_path / name / "README.md").read_text() for name in ("first", "second", "third")}
    assert texts["second"] == texts["first"].replace("first", "second")
    assert "31.25" in texts["third"] and re.search(r"\| licence +\| MIT ", texts["third"])
    item = json.loads((tmp_path / "first" / "mlm.json").read_text())
    other = (*CPU, "MODEL.CLIP.TEMPLATES", "plain")
    sgovss.Predictor.from_pretrained(tmp_path / "first", options=other).save_pretrained(tmp_path / "plain")
    assert templates != "plain" and "No scores are recorded" in (tmp_path / "plain" / "README.md").read_text()
    wrong = {"one": {"mIoU": 99.0}, "two": scores | {"mIoU": "99"}, "three": 99}
    item["properties"] |= {"sgovss:licence": 4, "sgovss:scores": wrong}
    (tmp_path / "first" / "mlm.json").write_text(json.dumps(item))
    copied.save_pretrained(tmp_path / "fourth")
    text = (tmp_path / "fourth" / "README.md").read_text()
    assert "No scores are recorded" in text and re.search(r"\| licence +\| not stated ", text)


def test_a_model_that_was_not_fine_tuned_says_so(predictor: sgovss.Predictor, tmp_path: Path):
    predictor.save_pretrained(tmp_path / "clip")
    again = sgovss.Predictor.from_pretrained(tmp_path / "clip", options=CPU)
    again.save_pretrained(tmp_path / "again")
    for name in ("clip", "again"):
        text = (tmp_path / name / "README.md").read_text()
        assert text.startswith(f"# {name}") and "nothing: CLIP without fine-tuning" in text
        assert "| not stated" in text and "No scores are recorded." in text
        assert f"embedded (SHA-256 {sha256(EMBEDDED_WEIGHTS)})" in text


@pytest.fixture(scope="module")
def published(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_equal_scores_by_way_of_the_hub(fake_hub: FakeHub, trained: sgovss.Predictor, published: dict[str, bytes]):
    address = trained.push_to_hub("me/mine", licence="apache-2.0")
    found = fake_hub.files("me/mine", "main")
    assert found is not None and address.endswith(found[0])
    assert found[1]["model.safetensors"] == published["model.safetensors"]
    assert 'from_pretrained("me/mine")' in found[1]["README.md"].decode()
    assert json.loads(found[1]["mlm.json"])["id"] == "me/mine"
    fake_hub.add("me/mine", {"README.md": b"# without weights\n"}, "main")
    again = sgovss.Predictor.from_pretrained("me/mine", options=CPU, revision=found[0])
    image = generate_image(8, size=64, style="b").image
    np.testing.assert_array_equal(again(image, WORDS).scores, trained(image, WORDS).scores)
    with pytest.raises(InputError, match=r"has no model.safetensors"):
        sgovss.Predictor.from_pretrained("me/mine")


@pytest.mark.slow
def test_commands_take_a_model_of_the_hub(served_hub: FakeHub, published: dict[str, bytes], tmp_path: Path):
    """As a config, as MODEL.WEIGHTS, and with a revision; offline from the cache, or one line."""
    served_hub.add("me/mine", published, "main", "v1")
    Image.fromarray(generate_image(9, size=96, style="b").image).save(tmp_path / "photo.png")
    variables = {**os.environ, "HF_ENDPOINT": served_hub.address, "HF_HOME": str(tmp_path / "home")}
    variables.pop("HF_HUB_OFFLINE", None)
    rest = ["--input", "photo.png", "--vocabulary", WORDS]

    def segment(*model: str, **more: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "sgovss", "segment", "--output", f"output{len(labels)}", *rest, *model]
        done = subprocess.run(command, cwd=tmp_path, env={**variables, **more}, capture_output=True, text=True)
        return done.returncode, done.stderr

    labels: list[bytes] = []
    for model in (
        ["--config-file", "me/mine", "--opts", *CPU],
        ["--config-file", "sgovss_tiny.yaml", "--opts", *CPU, "MODEL.WEIGHTS", "me/mine@v1"],
    ):
        for more in ({}, {"HF_HUB_OFFLINE": "1"}):
            status, told = segment(*model, **more)
            assert status == 0, told
            labels.append((tmp_path / f"output{len(labels)}" / "photo_labels.png").read_bytes())
    assert len(set(labels)) == 1
    status, told = segment("--config-file", "me/other", HF_HUB_OFFLINE="1")
    assert status == 2 and told.startswith("error: me/other: no file or folder here") and told.count("\n") == 1
    evaluated = ["--config-file", "me/mine", "--eval-only", *CPU, "DATASETS.TEST", "()", "OUTPUT_DIR", "output"]
    command = [sys.executable, "-m", "sgovss", "train", *evaluated]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 2 and "error: DATASETS.TEST is empty" in done.stderr


@pytest.mark.slow
def test_the_command_on_the_card_gives_its_scores(checkpoint: Path, checkout: Path, tmp_path: Path):
    """The checkpoint is evaluated and converted with these scores, then the folder by the command on its card."""
    shipped = yaml.safe_load((checkout / "datasets" / "generated_scenes.yaml").read_text(encoding="utf-8"))
    shipped["name"], shipped["generator"]["size"] = "few_scenes", 64
    for name, part in shipped["splits"].items():
        part["count"] = shipped["generator"]["splits"][name][1] = 3
    (tmp_path / "few_scenes.yaml").write_text(yaml.safe_dump(shipped))
    sets = ["DATASETS.SPECIFICATIONS", f"('{tmp_path / 'few_scenes.yaml'}',)", "DATASETS.TEST", "('few_scenes_test',)"]

    def run(*command: str, folder: Path = tmp_path) -> None:
        done = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]

    evaluated = ("sgovss", "train", "--eval-only", "--config-file", "sgovss_tiny.yaml", *sets, *CPU)
    run(*evaluated, "MODEL.WEIGHTS", str(checkpoint), "OUTPUT_DIR", "first")
    run("sgovss", "convert", str(checkpoint), "--output", "folder", "--scores", "first")
    card = (tmp_path / "folder" / "README.md").read_text()
    command = shlex.split(card.partition("measured by `")[2].partition("`")[0])
    run(*command, *sets[:2], *CPU, "OUTPUT_DIR", str(tmp_path / "second"), folder=tmp_path / "folder")
    first, second = (
        json.loads((tmp_path / name / "evaluation" / "few_scenes_test.json").read_text())
        for name in ("first", "second")
    )
    assert first["images"] == 3 and 0 < first["mIoU"] < 100 and f"| {first['mIoU']:.2f}" in card
    assert first["per_class"] == second["per_class"] and first["mIoU"] == second["mIoU"]


def test_wrong_folders_are_one_line(folder: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"revision: .* is no model of the hub, or there is such a path here"):
        sgovss.Predictor.from_pretrained(folder, revision="main")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        sgovss.Predictor.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"has no model.safetensors; give a checkpoint of 'sgovss train', or a folder"):
        sgovss.Predictor.from_pretrained(tmp_path)
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    (damaged / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(InputError, match=r"model.safetensors is damaged"):
        sgovss.Predictor.from_pretrained(damaged)
    (damaged / "config.yaml").unlink()
    with pytest.raises(InputError, match=r"has no config.yaml"):
        sgovss.Predictor.from_pretrained(damaged)


def test_what_cannot_be_saved_is_one_line(predictor: sgovss.Predictor, tmp_path: Path):
    half = sgovss.Predictor("sgovss_tiny.yaml", options=CPU, precision="bfloat16")
    with pytest.raises(InputError, match="the weights are in bfloat16; load the predictor with precision='float32'"):
        half.save_pretrained(tmp_path / "half")
    with pytest.raises(InputError, match=r"--scores .*: no .*evaluation.*json; give the OUTPUT_DIR of an evaluation"):
        predictor.save_pretrained(tmp_path / "model", scores=tmp_path)


@pytest.mark.slow
def test_the_card_names_the_training_sets_of_the_weights(predictor: sgovss.Predictor, tmp_path: Path):
    """Not those that the config given with the weights would train on."""
    cfg = predictor.cfg.clone()
    cfg.defrost()
    for train, words in ((("generated_scenes_val",), "ship"), (("generated_scenes_train",), "building"), ((), "none:")):
        cfg.DATASETS.TRAIN, cfg.DATASETS.UNSEEN = train, []
        save_inference_checkpoint(predictor.model, cfg, tmp_path / "mine.pth")
        sgovss.Predictor("sgovss_tiny.yaml", weights=tmp_path / "mine.pth", options=CPU).save_pretrained(tmp_path / "m")
        text = (tmp_path / "m" / "README.md").read_text()
        rows = [line for line in text.splitlines() if line.startswith(("| trained on", "| words in"))]
        trained_on, found = (row.split("|")[2] for row in rows)
        assert words in found and (train[0] if train else "nothing: CLIP without fine-tuning") in trained_on
        assert yaml.safe_load((tmp_path / "m" / "config.yaml").read_text())["DATASETS"]["TRAIN"] == list(train)


@pytest.mark.parametrize(
    ("content", "told"),
    [("{", "cannot be read"), ("[]", "is not an evaluation of sgovss"), ('{"images": 3}', "is not an evaluation")],
)
def test_wrong_scores_are_one_line_and_nothing_is_written(
    predictor: sgovss.Predictor, tmp_path: Path, content: str, told: str
):
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "one.json").write_text(content)
    for scores, message in ((tmp_path, rf"one\.json:? {told}"), (tmp_path / "none", "give the OUTPUT_DIR")):
        with pytest.raises(InputError, match=message) as caught:
            predictor.save_pretrained(tmp_path / "model", scores=scores)
        assert "\n" not in str(caught.value) and not (tmp_path / "model").exists()
