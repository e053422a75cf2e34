"""Two short runs give the stored digits, and the comparison tells what differs."""

from __future__ import annotations

import json

import pytest

from research.checks import golden_run

pytest.importorskip("rasterio", reason="needs the extra 'geo'")


@pytest.mark.parametrize(
    "run", [golden_run.steps, pytest.param(golden_run.main_job, marks=pytest.mark.slow)], ids=lambda run: run.__name__
)
def test_digits_are_the_stored_ones(run):
    """If the change is meant: ``python -m research.checks.golden_run --write``, and commit the file."""
    stored = json.loads(golden_run.STORED.read_text())
    assert golden_run.differences(run(), stored[run.__name__]) == []


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ({"loss": [1.0, 2.00001], "pixels": [5, 7]}, "loss: "),
        ({"loss": [1.0, 2.0], "pixels": [6, 6]}, "pixels: "),
        ({"loss": [1.0], "pixels": [5, 7]}, "loss: 1 numbers, 2 stored"),
        ({"loss": [1.0, 2.0]}, "pixels: only in one"),
        ({"loss": [1.0, float("nan")], "pixels": [5, 7]}, "loss: "),
    ],
)
def test_each_difference_is_a_line(found, line):
    (seen,) = golden_run.differences(found, {"loss": [1.0, 2.0], "pixels": [5, 7]})
    assert seen.startswith(line)
    assert golden_run.differences({"loss": [1.0, 2.0 + 1e-10]}, {"loss": [1.0, 2.0]}) == []
