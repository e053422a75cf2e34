"""Model folders: equal scores after a round trip, what is in them, and wrong input."""

from __future__ import annotations

import json
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors import safe_open

import sgovss
from sgovss.engine.checkpoint import save_inference_checkpoint
from sgovss.errors import InputError
from sgovss.synthetic import generate_image
from tests.fixtures.exports import with_open_gates

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
    for config, options in (("sgovss_tiny.yaml", ()), (folder / "config.yaml", ("MODEL.CLIP.RECOMPUTE", "False"))):
        predict = sgovss.Predictor(config, options=(*CPU, "MODEL.WEIGHTS", str(folder), *options))
        np.testing.assert_array_equal(predict(image, WORDS).scores, trained(image, WORDS).scores)


def test_the_card_says_what_the_model_is(folder: Path):
    text = (folder / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: sgovss") and 'license: "apache-2.0"' in text
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
    assert any("mlm:model" in asset["roles"] for asset in item["assets"].values())


def test_a_model_that_was_not_fine_tuned_says_so(predictor: sgovss.Predictor, tmp_path: Path):
    predictor.save_pretrained(tmp_path / "clip")
    again = sgovss.Predictor.from_pretrained(tmp_path / "clip", options=CPU)
    again.save_pretrained(tmp_path / "again")
    for name in ("clip", "again"):
        text = (tmp_path / name / "README.md").read_text()
        assert text.startswith(f"# {name}") and "nothing: CLIP without fine-tuning" in text
        assert "| not stated" in text and "No scores are recorded." in text


def test_wrong_folders_are_one_line(folder: Path, tmp_path: Path):
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
