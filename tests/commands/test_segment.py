"""'sgovss segment' on photographs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
from PIL import Image

from sgovss.config import load_config
from sgovss.errors import InputError
from sgovss.synthetic import generate_image

WORDS = "building, road, tree|forest, water"


@pytest.fixture(scope="module")
def demo(load_script):
    return import_module("sgovss.commands.segment")


@pytest.fixture
def folder(tmp_path):
    """Images in a folder with a space and an umlaut in its name, one of them in a subfolder."""
    folder = tmp_path / "luft bilder ü"
    (folder / "more").mkdir(parents=True)
    for seed, name in ((1, "a.png"), (2, "b.jpg"), (3, "more/c.tif")):
        Image.fromarray(generate_image(seed, size=64, style="b").image).save(folder / name)
    return folder


def run(demo, *arguments):
    return demo.main(["--config-file", "sgovss_tiny.yaml", *map(str, arguments)])


def test_command_on_a_folder(folder, tmp_path, checkout):
    output = tmp_path / "out"
    more = ["--vocabulary", WORDS, "--output", output, "--opts", "MODEL.DEVICE", "cpu"]
    result = subprocess.run(
        [sys.executable, checkout / "demo" / "demo.py", "--config-file", "sgovss_tiny.yaml", "--input", folder, *more],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    for name in ("a", "b", "more/c"):
        shares = json.loads((output / f"{name}_shares.json").read_text())
        assert sum(shares["shares"].values()) == pytest.approx(1)
        assert list(shares["shares"]) == ["building", "road", "tree", "water"]
        # The result of a raster is a raster.
        with Image.open(output / f"{name}_labels.{'tif' if name == 'more/c' else 'png'}") as labels:
            assert labels.size == (64, 64)
            assert set(np.unique(labels)) <= set(range(4))
        with Image.open(output / f"{name}_overlay.png") as overlay:
            assert overlay.width > 64
    report = (output / "report.html").read_text()
    assert report.count("<h2>") == 3


def test_an_unreadable_image_is_reported_and_the_others_are_segmented(demo, folder, tmp_path, capsys):
    (folder / "aa.png").write_bytes(b"no image")
    (folder / "ab.png").write_bytes(b"")
    assert run(demo, "--input", folder, "--vocabulary", WORDS, "--output", tmp_path / "out") == 1
    printed = capsys.readouterr()
    assert "aa.png: cannot read this image" in printed.err + printed.out
    assert "2 of 5 images failed" in printed.err
    assert (tmp_path / "out" / "more" / "c_overlay.png").is_file()
    assert not list((tmp_path / "out").glob("aa*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--input": "nowhere"}, "nowhere: no such file or folder"),
        ({"--vocabulary": ""}, "no class names"),
        ({"--vocabulary": "road, Road"}, "stands twice"),
        ({"--vocabulary": "words.txt"}, "words.txt"),
        ({"--config-file": "none.yaml"}, "none.yaml"),
        # What is wrong with the model is told before images are looked for, which may take long.
        ({"--input": "nowhere", "--config-file": "none.yaml"}, "none.yaml"),
        ({"--input": "nowhere", "--opts": ("MODEL.WEIGHTS", "none.pth")}, "none.pth"),
    ],
)
def test_wrong_input_ends_in_one_clear_line(demo, folder, tmp_path, capsys, changes, message):
    arguments = {"--config-file": "sgovss_tiny.yaml", "--input": str(folder), "--vocabulary": WORDS}
    arguments |= {"--output": str(tmp_path / "out"), **changes}
    given = [
        part for name, value in arguments.items() for part in (name, *([value] if isinstance(value, str) else value))
    ]
    assert demo.main(given) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


def test_model_options_reach_the_predictor(demo, folder, tmp_path, monkeypatch, capsys):
    def build(*arguments, **options):
        raise InputError(f"{arguments} {options}")

    monkeypatch.setattr("sgovss.mapping.segmenter.Predictor", build)
    arguments = ["--input", folder, "--vocabulary", WORDS, "--output", tmp_path / "out"]
    for given, precision in (([], "auto"), (["--precision", "bfloat16"], "bfloat16")):
        assert run(demo, *arguments, *given, "--opts", "SEED", "3") == 2
        expected = ("sgovss_tiny.yaml",), {"options": ("SEED", "3"), "precision": precision}
        assert capsys.readouterr().err == f"error: {expected[0]} {expected[1]}\n"


def test_empty_folder_and_equal_names_are_named(demo, folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run(demo, "--input", tmp_path / "empty", "--vocabulary", WORDS, "--output", tmp_path / "out") == 2
    assert "no image in this folder" in capsys.readouterr().err
    Image.new("RGB", (8, 8)).save(folder / "a.jpg")
    assert run(demo, "--input", folder, "--vocabulary", WORDS, "--output", tmp_path / "out") == 2
    assert "would both be written as 'a'" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["building road", "building and road", "building/road/tree"])
def test_one_class_is_told(demo, folder, tmp_path, capsys, words):
    arguments = ["--input", folder / "a.png", "--output", tmp_path / "out", "--vocabulary", words]
    assert run(demo, *arguments, "--opts", "MODEL.DEVICE", "cpu") == 0
    assert f"note: one class, '{words}': every pixel will be it; commas separate classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], []),
        (["--views", "turns"], ["turns"]),
        (["--views", "turns, 1,1.5"], ["turns", "1", "1.5"]),
        (["--quality", "fast"], []),
        (["--quality", "good"], ["turns"]),
        (["--quality", "best"], ["turns", "1", "1.5"]),
        (["--views", "mirror", "--opts", "MODEL.DEVICE", "cpu"], ["mirror"]),
    ],
)
def test_views_reach_the_predictor(demo, folder, tmp_path, monkeypatch, arguments, expected):
    found = []

    def predictor(config, options, precision):
        found.append(load_config(config, options).TEST.VIEWS)
        raise InputError("seen")

    monkeypatch.setattr("sgovss.mapping.segmenter.Predictor", predictor)
    run(demo, "--input", folder, "--vocabulary", WORDS, "--output", tmp_path / "out", *arguments)
    assert found == [expected]


@pytest.mark.parametrize(
    ("views", "message"),
    [("round", "--views: 'round' is not a view"), ("0", "--views: the scale 0 is"), ("turns,turns", "--views: ")],
)
def test_wrong_views_are_one_line(demo, folder, tmp_path, capsys, views, message):
    assert run(demo, "--input", folder, "--vocabulary", WORDS, "--output", tmp_path / "out", "--views", views) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
