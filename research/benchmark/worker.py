"""A measurement in a process of its own: ``python -m research.benchmark.worker TASK CASE``, the case as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from research.benchmark.models import Case, Work, bare_inference, inference, training
from sgovss.allocator import keep_freed_memory
from sgovss.errors import InputError, command
from sgovss.resources import peak_megabytes

BUILDERS = {"inference": inference, "training": training}


def measure_times(task: str, case: Case) -> dict[str, list[float]]:
    """Seconds of each turn, ``ours`` and the ``bare`` encoder's, taken by turns in another process.

    Raises:
        InputError: the process failed; its last line.
    """
    return _in_another_process(f"{task}-times", case)


def measure_memory(task: str, case: Case) -> float:
    """Peak megabytes of another process, without the bare encoder.

    Raises:
        InputError: the process failed; its last line.
    """
    return _in_another_process(f"{task}-memory", case)


def _in_another_process(task: str, case: Case) -> Any:
    argv = [sys.executable, "-m", "research.benchmark.worker", task, json.dumps(asdict(case))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1].removeprefix("error: ")
        raise InputError(f"{task} of {case.config_file}: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def _take_turns(works: Mapping[str, Work], case: Case) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(case.warm_up + case.repeats):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if turn >= case.warm_up:
                times[name].append(time.perf_counter() - started)
    return times


def _peak_of(work: Work) -> float:
    for _ in range(2):
        work()
    return peak_megabytes()


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run one task and print its result as the last line; returns the exit status."""
    name, content = sys.argv[1:] if argv is None else argv
    task, what = name.split("-")
    case = Case(**json.loads(content))
    ours = BUILDERS[task](case)
    result = _peak_of(ours) if what == "memory" else _take_turns({"bare": bare_inference(case), "ours": ours}, case)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
