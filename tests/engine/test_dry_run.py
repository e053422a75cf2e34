"""``sgovss train --dry-run``: it tries a run, tells what it costs, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from PIL import Image

import train_net
from sgovss.engine import dry_run
from tests.engine.training import CONFIG, metrics_of, options_of, output_of


def files_below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.fixture
def temporary(tmp_path_factory, monkeypatch) -> Path:
    """The folder of temporary files."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def test_it_tells_what_a_run_costs_and_leaves_nothing(run_options, tmp_path, temporary, capsys):
    options = options_of(run_options, SOLVER__MAX_ITER=2000, OUTPUT_DIR=tmp_path / "runs" / "first")
    before = files_below(tmp_path)
    assert train_net.main([*CONFIG, "--dry-run", *options]) == 0
    assert files_below(tmp_path) == before
    assert list(temporary.iterdir()) == []
    out = capsys.readouterr().out
    for line in (
        r"dry run: 10 of 2,000 steps of 2 images, float32 on cpu",
        r"parameters: \d+\.\d\d M, \d+\.\d\d M of them trained; tiny from random",
        r"training data: fields_train \(2 images\); classes: field, river$",
        r"test data: fields_test \(1 images\)",
        r"loss: \d\S* at the first step, \d\S* at the last",
        r"memory: \d[\d,]* MB at most in one training process",
        r"time: \S+ s a step, \d\S* (s|min|h) for 2,000 steps",
        r"nothing was kept; leave out --dry-run to train",
    ):
        assert re.search(f"^{line}", out, re.MULTILINE), (line, out[-2000:])
    every, trained = map(float, re.search(r"^parameters: (\S+) M, (\S+) M", out, re.MULTILINE).groups())
    assert 0 < trained < every  # the frozen encoder is not trained


def test_its_steps_are_the_first_ones_of_the_run(run_options, capsys):
    options = options_of(run_options, SOLVER__MAX_ITER=3, SOLVER__WARMUP_ITERS=0, DATASETS__TEST="()")
    assert train_net.main([*CONFIG, "--dry-run", *options]) == 0
    first, last = re.search(r"^loss: (\S+) at the first step, (\S+) at", capsys.readouterr().out, re.MULTILINE).groups()
    assert train_net.main([*CONFIG, *options]) == 0
    losses = [line["total_loss"] for line in metrics_of(output_of(options)) if "total_loss" in line]
    assert (float(first), float(last)) == pytest.approx((losses[0], losses[-1]), rel=1e-3)
    capsys.readouterr()
    weights = str(output_of(options) / "model_final.pth")
    assert train_net.main([*CONFIG, "--dry-run", *options, "MODEL.WEIGHTS", weights, "SOLVER.MAX_ITER", "1"]) == 0
    # The same images as in the first step, now with trained weights.
    assert float(re.search(r"^loss: (\S+) at", capsys.readouterr().out, re.MULTILINE)[1]) < 0.98 * losses[0]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(1.4, "1 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2.0 h"), (90_000, "25.0 h")],
)
def test_times_are_told_in_units_of_their_size(seconds, shown):
    assert dry_run._duration(seconds) == shown


def damaged_test_image(folder: Path) -> str:
    (folder / "images" / "b_0.jpg").write_bytes((folder / "images" / "b_0.jpg").read_bytes()[:200])
    return r"b_0\.jpg"


def stray_label(folder: Path) -> str:
    Image.new("L", (32, 24), 77).save(folder / "labels" / "b_0.png")
    return r"b_0\.png: label value 77"


def damaged_training_image(folder: Path) -> str:
    (folder / "images" / "a_1.jpg").write_bytes((folder / "images" / "a_1.jpg").read_bytes()[:200])
    return r"a_1\.jpg"


@pytest.mark.parametrize("damage", [damaged_test_image, stray_label, damaged_training_image])
def test_it_finds_what_would_end_the_run_hours_later(run_options, tmp_path, temporary, capsys, damage):
    message = damage(tmp_path / "fields")
    options = options_of(run_options, DATASETS__CHECKED_LABELS=0, SOLVER__MAX_ITER=2000)
    assert train_net.main([*CONFIG, "--dry-run", *options]) == 2
    assert re.search(message, capsys.readouterr().err.strip().splitlines()[-1])
    assert not output_of(options).exists()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("flag", ["--resume", "--eval-only"])
def test_it_is_of_a_training_from_its_start(run_options, capsys, flag):
    assert train_net.main([*CONFIG, "--dry-run", flag, *run_options]) == 2
    assert f"--dry-run and {flag} exclude each other" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_written_is_told(run_options, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert train_net.main([*CONFIG, "--dry-run", *options_of(run_options, OUTPUT_DIR=tmp_path / "file" / "run")]) == 2
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_nothing(run_options, tmp_path, temporary, monkeypatch, number):
    def signalled(cfg, _):
        Path(cfg.OUTPUT_DIR, "metrics.json").write_text("{}")
        assert len([*temporary.iterdir()]) == 1
        os.kill(os.getpid(), number)

    monkeypatch.setattr("sgovss.commands.train.start", signalled)
    before = {each: signal.signal(each, signal.SIG_DFL) for each in (signal.SIGTERM, signal.SIGHUP)}
    files = files_below(tmp_path)
    try:
        with pytest.raises((SystemExit, KeyboardInterrupt)) as caught:
            train_net.main([*CONFIG, "--dry-run", *run_options])
        assert all(signal.getsignal(each) is signal.SIG_DFL for each in before)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert number == signal.SIGINT or caught.value.code == 128 + number
    assert [*temporary.iterdir()] == [] and files_below(tmp_path) == files
