"""``sgovss compare`` on the files of two evaluations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sgovss.commands.compare import main
from sgovss.evaluation.image_counts import ImageCounts


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """Two runs: both have fields_test, each has a test set of its own."""
    rng = np.random.default_rng(0)
    for run, own, gain in (("first", "lakes_val", 0), ("second", "hills_val", 100)):
        for name in ("fields_test", own):
            images = {f"{i}.png": np.array([[500 + gain, 400], [1000, 900], [1000, 900]]) for i in range(12)}
            images = {key: each + rng.integers(0, 20, each.shape) for key, each in images.items()}
            folder = tmp_path / run / "evaluation" / name
            ImageCounts(name, ["field", "river"], [True, False], images).write(folder)
    return [str(tmp_path / "first"), str(tmp_path / "second")]


def test_shared_test_sets_are_compared_and_written(runs, tmp_path, capsys):
    assert main([*runs, "--output", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "fields_test: 12 images; first" in out and "lakes_val" not in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.startswith(("mIoU", "IoU"))}
    assert float(rows["IoU-field"][2]) > 3 and float(rows["IoU-field"][-1]) < 0.01
    assert float(rows["IoU-river"][3]) < 0 < float(rows["IoU-river"][4])  # no difference but noise
    names = [f"fields_test_comparison.{suffix}" for suffix in ("csv", "md", "tex")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


def test_the_same_command_prints_the_same(runs, capsys):
    for _ in range(2):
        assert main([*runs, "--resamples", "50"]) == 0
    first, second = capsys.readouterr().out.split("\nfields_test")[1:]
    assert first.strip() == second.strip()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda runs: [runs[0], f"{runs[1]}/nowhere"], "give an output folder of 'sgovss train'"),
        (lambda runs: [*runs, "--dataset", "lakes_val"], "--dataset lakes_val: "),
        (lambda runs: [*runs, "--resamples", "0"], "--resamples 0: give 1 or more"),
    ],
)
def test_what_cannot_be_compared_is_one_line(runs, change, message, capsys):
    assert main(change(runs)) == 2
    assert message in capsys.readouterr().err


def test_runs_without_a_shared_test_set(runs, capsys):
    for run in runs:
        (Path(run) / "evaluation" / "fields_test" / "images.json").unlink()
    assert main(runs) == 2
    assert "have no test set in common: lakes_val; hills_val" in capsys.readouterr().err
