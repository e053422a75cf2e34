"""The file metrics.json: one line of JSON for each training step."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path

from detectron2.utils.events import EventWriter, get_event_storage


class MetricsFile(EventWriter):
    """Writes a line for each step as soon as all its numbers are known, to the end of a file.

    Detectron2's JSONWriter would write two lines for a step whose losses are read after the next step, see
    :class:`sgovss.engine.step.StepTrainer`, and leave out one of them.

    Args:
        path: the file, ``metrics.json``.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._path.touch()
        self._lines: defaultdict[int, dict[str, float]] = defaultdict(dict)
        self._collected: dict[str, int] = {}  # the last step of each number
        self._written = -1

    def write(self) -> None:
        """Write the lines of all steps whose last number is known."""
        _, complete = get_event_storage().latest().get("skipped_steps", (0.0, -1))
        self._write(complete)

    def close(self) -> None:
        """Write all that is known."""
        self._write(get_event_storage().iter)

    def _write(self, last: int) -> None:
        self._collect()
        with self._path.open("a", encoding="utf-8") as file:
            for step in sorted(step for step in self._lines if step <= last):
                file.write(json.dumps({**self._lines.pop(step), "iteration": step}, sort_keys=True) + "\n")
                self._written = step

    def _collect(self) -> None:
        """Take the new numbers of all steps that have no line yet."""
        for name, history in get_event_storage().histories().items():
            last = max(self._written, self._collected.get(name, -1))
            for value, step in reversed(history.values()):
                if step <= last:
                    break
                self._lines[step][name] = value
            if history.values():
                self._collected[name] = history.values()[-1][1]


def trim_metrics(path: str | Path, step: int) -> None:
    """Truncate a metrics file, in place, before its first line that is incomplete or of ``step`` or later.

    Args:
        path: a file with one JSON object per line, each with an ``iteration``.
        step: the step that training resumes at.
    """
    kept = 0
    with Path(path).open("rb") as file:
        for line in file:
            if not _is_before(line, step):
                break
            kept += len(line)
    os.truncate(path, kept)


def _is_before(line: bytes, step: int) -> bool:
    try:
        return line.endswith(b"\n") and json.loads(line)["iteration"] < step
    except (ValueError, KeyError, TypeError):
        return False
