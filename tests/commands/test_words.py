"""The command ``sgovss words``."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import yaml
from PIL import Image

import sgovss
from sgovss.commands import words as command
from tests.word_choice.conftest import write_scenes

SHORT = ["--random", "5", "--folds", "2", "--precision", "float32"]


@pytest.fixture
def run(tmp_path, capsys):
    """A function that runs the command and returns its status, its output and its errors."""

    def call(*options: str) -> tuple[int, str, str]:
        argv = ["--output", str(tmp_path / "out"), *SHORT, *options, "--opts", "MODEL.DEVICE", "cpu"]
        status = import_module("sgovss.commands.words").main(argv)
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def scenes(tmp_path):
    write_scenes(tmp_path, 3)
    return tmp_path


def in_use_and_candidates(scenes) -> list[str]:
    """Options: two classes whose words in use are wrong, and candidates of which some are right."""
    file = scenes / "candidates.yaml"
    file.write_text("- {name: car, synonyms: [grass, lawn]}\n- {name: road, synonyms: [water, sea]}\n")
    images = ["--images", str(scenes / "images"), "--labels", str(scenes / "labels")]
    return [*images, "--vocabulary", "car, road", "--candidates", str(file), "--no-built-in"]


@pytest.mark.slow
def test_the_command_as_a_process(scenes):
    out = scenes / "out"
    line = [*in_use_and_candidates(scenes), "--output", str(out), *SHORT]
    done = subprocess.run([sys.executable, "-m", "sgovss", "words", *line], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"words: {out / 'vocabulary.yaml'}\nreport: {out / 'report.html'}\n" in done.stdout
    assert "encoding and scoring: 100%" in done.stderr


def test_words_are_chosen_and_the_file_is_what_segment_takes(scenes, run):
    out = scenes / "out"
    status, printed, _ = run(*in_use_and_candidates(scenes), "--offsets")
    assert status == 0 and "3 images, 2 classes, 6 words" in printed
    found = json.loads((out / "words.json").read_text())
    assert found["gain"] > 20 and len(found["spread"]) == 5
    assert [fold["left_out"] for fold in found["folds"]] == [["scene_0", "scene_1"], ["scene_2"]]
    page = (out / "report.html").read_text()
    assert page.count("<img") == 6 and "http" not in page  # spread, two confusions, three images
    vocabulary = sgovss.Vocabulary.from_file(out / "vocabulary.yaml")
    assert vocabulary.names == ["car", "road"]
    assert [list(entry.scored_names) for entry in vocabulary] == found["words_chosen"]
    predict = sgovss.Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu"))
    labels = predict(scenes / "images" / "scene_0.png", vocabulary).labels
    truth = np.asarray(Image.open(scenes / "labels" / "scene_0.png"))
    assert (labels == truth)[:-1].mean() > 0.7


def test_one_image_gives_words_and_no_gain(scenes, run):
    for number in (1, 2):
        (scenes / "images" / f"scene_{number}.png").unlink()
        (scenes / "labels" / f"scene_{number}.png").unlink()
    options = ("--images", str(scenes / "images"), "--labels", str(scenes / "labels"))
    status, out, _ = run(*options, "--vocabulary", "grass, water", "--offsets")
    assert status == 0
    assert "one image: none is left to test the choice on, so its gain elsewhere is not known; label a second" in out
    found = json.loads((scenes / "out" / "words.json").read_text())
    assert found["gain"] is None and found["folds"] == [] and found["offsets"] == [0, 0]
    assert "There is only one image" in (scenes / "out" / "report.html").read_text()


def test_a_class_without_a_pixel_keeps_its_words(scenes, run):
    (scenes / "points.csv").write_text(
        "image,x,y,class\n"
        + "".join(f"scene_{i},{x},9,grass\nscene_{i},{x + 48},9,water\n" for i in (0, 1) for x in (5, 20))
    )
    options = ("--images", str(scenes / "images"), "--points", str(scenes / "points.csv"))
    status, out, errors = run(*options, "--vocabulary", "grass, water, car|auto")
    assert status == 0 and "  car: car | auto\n" in out
    assert "no pixel is labelled car; the words of such classes are kept as they are" in out
    assert f"note: not used, as they have no point: {scenes}/images/scene_2.png" in errors


def test_without_labels_there_are_hints_only(scenes, run):
    status, out, _ = run("--images", str(scenes / "images"), "--vocabulary", "grass, water")
    assert status == 0 and "There are no labels, so nothing is chosen. These numbers are a hint only" in out
    assert not (scenes / "out" / "vocabulary.yaml").exists()
    found = json.loads((scenes / "out" / "words.json").read_text())
    assert "hint only" in found["hint"] and all(-1 <= each["turns"] <= 1 for each in found["words"])
    assert "hint only" in (scenes / "out" / "report.html").read_text()


def test_a_dataset_file(write_fields, fields, run, tmp_path):
    write_fields()
    file = tmp_path / "fields.yaml"
    file.write_text(yaml.safe_dump(fields.model_dump(mode="json", exclude_none=True)))
    status, out, _ = run("--dataset", str(file), "--root", str(tmp_path), "--split", "train")
    assert status == 0 and "2 images, 3 classes" in out
    found = json.loads((tmp_path / "out" / "words.json").read_text())
    assert found["words_before"] == [["field", "farmland"], ["river"], ["hedge"]]


def test_an_interrupted_run_says_what_is_kept(scenes, run, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "choose_words", interrupt)
    options = ["--images", str(scenes / "images"), "--labels", str(scenes / "labels"), "--vocabulary", "grass, water"]
    assert run(*options)[::2] == (130, "\ninterrupted: no words were chosen; --cache DIR keeps encoded images\n")
    status, _, errors = run(*options, "--cache", "kept")
    assert (status, errors) == (130, "\ninterrupted: no words were chosen; encoded images are kept in kept\n")
    assert not (scenes / "out" / "vocabulary.yaml").exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "--images: give a folder of images, or --dataset, and not both"),
        (
            ["--images", "x", "--dataset", "dubai_mbrsc"],
            "--images: give a folder of images, or --dataset, and not both",
        ),
        (["--images", "x", "--values", "0,1"], "--values: is about the label images of --labels; leave it out"),
        (
            ["--dataset", "dubai_mbrsc", "--labels", "x"],
            "--dataset: has labels of its own; leave out --labels and --points",
        ),
        (["--images", "x", "--split", "val"], "--split and --root: are about --dataset; leave them out"),
        (["--images", "x", "--offsets"], "--offsets: are chosen by labels; give --labels or --points"),
        (["--images", "x"], "--vocabulary: give the classes, such as 'building, road', or --candidates"),
        (["--images", "x", "--vocabulary", "road"], "--images x: no such folder"),
        (["--dataset", "dubai_mbrsc", "--split", "x"], "--split: dubai_mbrsc has no split 'x'; there are train, val,"),
        (
            ["--dataset", "dubai_mbrsc", "--vocabulary", "road"],
            "--vocabulary: 1 classes, but dubai_mbrsc has 5; name its",
        ),
        (
            ["--images", "x", "--vocabulary", "road", "--candidates", "y.yaml"],
            "y.yaml: cannot read this vocabulary file",
        ),
    ],
)
def test_wrong_options_are_one_line(run, options, line):
    status, _, errors = run(*options)
    assert status == 2 and errors.startswith(f"error: {line}") and errors.count("\n") == 1


def test_labels_without_a_class_are_one_line(scenes, run):
    for path in (scenes / "labels").iterdir():
        Image.fromarray(np.full((96, 96), 255, np.uint8)).save(path)
    options = ("--images", str(scenes / "images"), "--labels", str(scenes / "labels"), "--vocabulary", "grass, water")
    status, _, errors = run(*options)
    assert status == 2 and errors.endswith(
        "error: --labels: no pixel of any image has a class; check the label values (--values)\n"
    )
