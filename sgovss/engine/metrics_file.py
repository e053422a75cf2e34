"""The numbers of each training step, once all of them are known; and the file metrics.json, with a line for each."""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from detectron2.utils.events import EventWriter, get_event_storage


class StepWriter(EventWriter):
    """Base of writers that get the numbers of each step once, as soon as all of them are known.

    Detectron2's writers would write a step twice whose losses are read after the next step, see
    :class:`sgovss.engine.step.StepTrainer`, and leave out some numbers each time.
    """

    def __init__(self) -> None:
        self._lines: defaultdict[int, dict[str, float]] = defaultdict(dict)
        self._collected: dict[str, int] = {}  # the last step of each number
        self._written = -1

    @abstractmethod
    def record(self, steps: Mapping[int, Mapping[str, float]]) -> None:
        """Write the numbers by name of one or more steps, in their order."""

    def write(self) -> None:
        """Write all steps whose last number is known."""
        _, complete = get_event_storage().latest().get("skipped_steps", (0.0, -1))
        self._write(complete)

    def close(self) -> None:
        """Write all that is known."""
        self._write(get_event_storage().iter)

    def _write(self, last: int) -> None:
        self._collect()
        if steps := {step: self._lines.pop(step) for step in sorted(self._lines) if step <= last}:
            self.record(steps)
            self._written = max(steps)

    def _collect(self) -> None:
        """Take the new numbers of all steps that are not written yet."""
        for name, history in get_event_storage().histories().items():
            last = max(self._written, self._collected.get(name, -1))
            for value, step in reversed(history.values()):
                if step <= last:
                    break
                self._lines[step][name] = value
            if history.values():
                self._collected[name] = history.values()[-1][1]


class MetricsFile(StepWriter):
    """Writes a line for each step to the end of a file.

    Args:
        path: the file, ``metrics.json``.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self._path = Path(path)
        self._path.touch()

    def record(self, steps: Mapping[int, Mapping[str, float]]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            for step, numbers in steps.items():
                file.write(json.dumps({**numbers, "iteration": step}, sort_keys=True) + "\n")


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
