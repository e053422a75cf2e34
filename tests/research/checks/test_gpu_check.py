"""The check of a GPU, as far as it runs without one."""

from __future__ import annotations

import json

import pytest

from research.checks import gpu_check


def test_without_a_device_it_says_so(tmp_path, capsys):
    assert gpu_check.main(["--json", str(tmp_path / "x.json")]) == 2
    assert "torch finds no CUDA device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("what", "classes", "ratio", "busy", "expected"),
    [
        ("inference", 17, 1.3, 10, "x bare <= 1.3: met"),
        ("inference", 150, 2.6, 99, "x bare <= 2.5: missed"),
        ("inference", 1000, 9.0, 99, ""),
        ("training", 17, 4.6, 90, "x bare <= 4.5: missed; busy >= 90 %: met"),
        ("training", 1000, 1.0, 89, "busy >= 90 %: missed"),
    ],
)
def test_goals_are_met_or_missed(what, classes, ratio, busy, expected):
    assert gpu_check.goals_of({"what": what, "classes": classes}, ratio, busy) == expected


STEPS = """
import pytest
pytestmark = pytest.mark.cuda
def test_fine():
    import os
    assert int(os.environ["OMP_NUM_THREADS"]) >= 1
def test_wrong(): assert 1 == 2
def test_absent(): pytest.skip("no CUDA device")
"""


@pytest.mark.slow
def test_the_outcome_of_each_test_is_reported(tmp_path, monkeypatch):
    (tmp_path / "tests" / "cuda").mkdir(parents=True)
    (tmp_path / "tests" / "cuda" / "test_steps.py").write_text(STEPS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = cuda: a device\n")
    monkeypatch.setattr(gpu_check, "CHECKOUT", tmp_path)
    absent, fine, wrong = gpu_check.test_rows(120)
    assert fine["test"] == "test_fine" and fine.keys() == {"test", "seconds"}
    assert "assert 1 == 2" in wrong["failed"] and "no CUDA device" in absent["skipped"]
    (late,) = gpu_check.test_rows(0.01)
    assert "not finished" in late["failed"]


def test_an_error_of_one_measurement_does_not_end_the_others(monkeypatch):
    def fails():
        raise RuntimeError("upsample_bilinear2d_nhwc only supports less than INT_MAX elements\nmore")
        yield  # a generator

    (row,) = gpu_check._guarded({"classes": 1000}, fails)
    assert row == {
        "classes": 1000,
        "failed": "RuntimeError: upsample_bilinear2d_nhwc only supports less than INT_MAX elements",
    }


@pytest.mark.parametrize(("only", "names"), [(None, ("tests", "speed")), ("tests", ("tests",)), ("speed", ("speed",))])
def test_one_part_runs_alone(tmp_path, monkeypatch, only, names):
    monkeypatch.setattr(gpu_check.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu_check, "machine", dict)
    monkeypatch.setattr(gpu_check, "test_rows", lambda seconds: iter([{"test": "one", "seconds": seconds}]))
    monkeypatch.setattr(gpu_check, "speed_rows", lambda ends: iter([{"config": "one", "failed": "out of memory"}]))
    status = gpu_check.main(["--json", str(tmp_path / "x.json"), "--seconds", "8", *(["--only", only] if only else [])])
    content = json.loads((tmp_path / "x.json").read_text())
    assert [name for name in ("tests", "speed") if content[name]] == list(names)
    assert status == ("speed" in names) and all(row["seconds"] == 4 for row in content["tests"])
