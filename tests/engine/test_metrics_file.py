"""The metrics file: one line for each step, and its truncation when a run is resumed."""

from __future__ import annotations

import json

import pytest
from detectron2.utils.events import EventStorage

from sgovss.engine.metrics_file import MetricsFile, trim_metrics

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


def read_lines(path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("late", [0, 1])
def test_each_step_has_one_line_with_all_its_numbers_even_if_its_losses_are_known_after_the_next_step(tmp_path, late):
    path = tmp_path / "metrics.json"
    with EventStorage(5) as storage:
        file = MetricsFile(path)
        for step in range(5, 9):
            storage.iter = step
            if step == 7:
                storage.put_scalar("evaluation", 0.25, smoothing_hint=False)  # before the step
            # The last step, and one before which all numbers were asked for, are read at once.
            for known in [step - 1, step] if late and step == 8 else [step - late]:
                if known >= 5:
                    storage.put_scalars(cur_iter=known, loss=10.0 * known, skipped_steps=0.0)
            storage.put_scalar("lr", 1.0 * step)
            file.write()
            storage.put_scalar("eta_seconds", 3.0)  # by another writer, later
            expected = range(5, step + 1 - (late if step < 8 else 0))
            assert [line["iteration"] for line in read_lines(path)] == list(expected)
        storage.iter = 9
        storage.put_scalar("evaluation", 0.5, smoothing_hint=False)
        file.write()
        file.close()
    lines = read_lines(path)
    assert [line.pop("iteration") for line in lines] == [5, 6, 7, 8, 9]
    assert lines[-1] == {"evaluation": 0.5}
    for step, line in zip(range(5, 9), lines, strict=False):
        assert (line["loss"], line["lr"], line["skipped_steps"]) == (10.0 * step, 1.0 * step, 0.0)
        assert line.get("evaluation") == (0.25 if step == 7 else None)
