"""Tests of ``sgovss check``, and of a dataset that is defined by its YAML file alone."""

from __future__ import annotations

import json
import shutil
from importlib import import_module

import numpy as np
import pytest
import yaml
from PIL import Image

import train_net
from sgovss.data.specification_file import load_specification


@pytest.fixture
def prepared(load_script, published, write_published, tmp_path, capsys):
    """The folder of a prepared dataset with whole images as JPEG."""
    write_published({"image_suffix": ".jpg"}, tile=None, stride=None)
    argv = [str(published.file), "--source", str(published.source), "--root", str(tmp_path), "--workers", "1"]
    assert import_module("sgovss.commands.prepare").main(argv) == 0
    capsys.readouterr()
    return tmp_path / "shore"


@pytest.fixture
def check(load_script, published, tmp_path, capsys):
    """A function that runs the command and returns its status and output."""
    script = import_module("sgovss.commands.check")

    def run(*options: str) -> tuple[int, str]:
        argv = [str(published.file), "--root", str(tmp_path), "--output", str(tmp_path / "sheets"), "--workers", "1"]
        status = script.main([*argv, *options])
        return status, capsys.readouterr().out

    return run


def problems(output: str) -> list[str]:
    return [line.removeprefix("problem: ") for line in output.splitlines() if line.startswith("problem: ")]


def test_a_good_dataset(check, prepared, published):
    status, out = check()
    assert (status, problems(out)) == (0, [])
    assert "shore_train: 4 pairs" in out
    grass = next(line for line in out.splitlines() if line.startswith("grass")).split()
    train = np.stack([ids for name, ids in published.ids.items() if name != "c_0"])
    assert grass[1] == f"{(train == 0).sum():,}"
    assert grass[2] == f"{100 * (train == 0).mean():.2f}"
    assert out.endswith("shore: no problem found\n")


def test_a_sheet_to_look_at(check, prepared, tmp_path):
    assert check("--split", "train", "--preview", "3")[0] == 0
    sheet = Image.open(tmp_path / "sheets" / "shore_train.png")
    colors = {color for _, color in sheet.convert("RGB").getcolors(10**6)}
    assert {(0, 160, 0), (0, 0, 200), (90, 90, 90)} <= colors  # the legend
    assert not (tmp_path / "sheets" / "shore_val.png").exists()


def test_each_problem_is_one_line_with_its_file(check, prepared):
    train = prepared / "train"
    (train / "labels/a_0.png").unlink()
    Image.fromarray(np.zeros((100, 90), np.uint8)).save(train / "labels/a_1.png")
    label = np.array(Image.open(train / "labels/b_0.png"))
    label[:2, :3] = 77
    Image.fromarray(label).save(train / "labels/b_0.png")
    (train / "images/b_1.jpg").write_bytes(b"no image")
    status, out = check()
    assert status == 1
    found = problems(out)
    assert len(found) == 4
    for file, words in [
        ("images/a_0.jpg", "has no label; expected"),
        ("labels/a_1.png", "label is 90x100 pixels, its image"),
        ("labels/b_0.png", "label value 77 (6 pixels) is outside"),
        ("images/b_1.jpg", "cannot read this image"),
    ]:
        assert any(str(train / file) in line and words in line for line in found), file


def test_images_in_two_splits(check, prepared, published):
    shutil.copy(prepared / "train/images/a_0.jpg", prepared / "val/images/c_0.jpg")
    status, out = check()
    assert status == 1
    assert [line for line in problems(out) if "the same image as" in line and "train and val must not share" in line]
    content = yaml.safe_load(published.file.read_text())
    content["splits"]["val"]["includes"] = ["train"]
    published.file.write_text(yaml.safe_dump(content))
    assert check()[0] == 0


def test_labels_resized_with_interpolation(check, prepared):
    for file in (prepared / "val/labels/c_0.png", prepared / "val/images/c_0.jpg"):
        image = Image.open(file)
        image.resize((280, 200), Image.Resampling.BILINEAR).save(file)
    status, out = check("--split", "val")
    assert status == 1
    assert any("interpolation" in line or "outside the dataset's specification" in line for line in problems(out))


def test_empty_classes_and_other_counts_are_notes(check, prepared, published):
    content = yaml.safe_load(published.file.read_text())
    content["classes"].append({"name": "lighthouse", "color": [250, 250, 0]})
    content["splits"]["train"]["count"] = 900
    published.file.write_text(yaml.safe_dump(content))
    status, out = check()
    assert status == 0
    assert "note: shore_train: 4 pairs here, 900 in the published dataset" in out
    assert "note: shore_val: no pixel of 'lighthouse' in the 1 labels read" in out


def test_a_split_that_is_not_there(check, prepared):
    shutil.rmtree(prepared / "val")
    status, out = check()
    assert status == 1
    assert "shore_train: 4 pairs" in out
    assert ["folder of dataset 'shore' not found" in line for line in problems(out)] == [True]


def test_a_split_of_another_name(load_script, published, write_published, capsys):
    write_published()
    assert import_module("sgovss.commands.check").main([str(published.file), "--split", "test"]) == 2
    assert "--split: shore has no split 'test'; there are train, val" in capsys.readouterr().err


def test_one_file_is_all_a_dataset_needs(load_script, published, write_published, tmp_path, monkeypatch, capsys):
    """From the archive to scores: prepare, check, two steps of training, evaluation."""
    file = write_published()
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "root"))
    root = ["--workers", "1", "--root", str(tmp_path / "root")]
    assert import_module("sgovss.commands.prepare").main([str(file), "--source", str(published.source), *root]) == 0
    assert import_module("sgovss.commands.check").main([str(file), *root]) == 0
    options = {
        "DATASETS.SPECIFICATIONS": f"('{file}',)",
        "DATASETS.TRAIN": "('shore_train',)",
        "DATASETS.TEST": "('shore_val',)",
        "DATASETS.UNSEEN": "()",
        "MODEL.CLIP.WEIGHTS": "random",
        "MODEL.DEVICE": "cpu",
        "INPUT.MIN_SIZE_TRAIN": "(64,)",
        "INPUT.CROP.SIZE": "[64,64]",
        "SOLVER.IMS_PER_BATCH": "2",
        "SOLVER.MAX_ITER": "2",
        "OUTPUT_DIR": str(tmp_path / "output"),
    }
    assert (
        train_net.main(["--config-file", "sgovss_tiny.yaml", *[word for pair in options.items() for word in pair]]) == 0
    )
    scores = json.loads((tmp_path / "output/evaluation/shore_val.json").read_text())
    assert scores["classes"] == [entry.name for entry in load_specification(file).classes]
    assert scores["images"] == 6
    assert sum(row["pixels"] for row in scores["per_class"]) > 0


def test_the_same_damaged_image_in_two_splits_is_a_problem_like_others(check, prepared):
    for split in ("train", "val"):
        image = min(prepared.glob(f"{split}/images/*.jpg"))
        image.write_bytes(b"not an image")
    status, out = check()
    found = problems(out)
    assert status == 1
    assert sum("not an image" in line or "cannot read this image" in line for line in found) == 2
    assert sum("the same image as" in line for line in found) == 1
    assert "only ignored pixels" not in out
