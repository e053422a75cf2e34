"""Truncation of the metrics file when a run is resumed."""

from __future__ import annotations

import pytest

from sgovss.engine.hooks import trim_metrics

LINES = ['{"iteration": 0, "loss": 1.0}\n', '{"iteration": 1, "loss": 0.5}\n', '{"iteration": 2}\n']


@pytest.mark.parametrize(
    ("content", "step", "kept"),
    [
        (LINES, 3, 3),
        (LINES, 2, 2),
        (LINES, 0, 0),
        (
            [*LINES[:2], LINES[2][:-1]],
            9,
            2,
        ),  # without its newline a line counts as incomplete, even if it can be parsed
        ([*LINES[:2], '{"iterat'], 9, 2),
        ([*LINES[:1], "[1]\n", LINES[1]], 9, 1),
    ],
)
def test_lines_are_kept_up_to_the_first_that_is_too_late_or_incomplete(tmp_path, content, step, kept):
    path = tmp_path / "metrics.json"
    path.write_text("".join(content))
    trim_metrics(path, step)
    assert path.read_text() == "".join(content[:kept])
