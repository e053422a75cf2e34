#!/usr/bin/env python
"""Check full-size models on one CUDA device: the tests that need one, speed, memory and load of the device.

    python -m research.checks.gpu_check --json output/gpu_check.json

All weights are random. The tests may take half of ``--seconds``. Measurements that would start after ``--seconds`` are
reported as not run.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
from tabulate import tabulate
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from sgovss.engine.workloads import Case, Workload, bare_inference, inference, training
from sgovss.errors import InputError, command
from sgovss.files import write_json_atomically

CASES = (
    Case("sgovss_vitb16_384.yaml", size=384, precision="bfloat16", batch=4),
    Case("sgovss_convnext_l_768.yaml", size=768, precision="bfloat16", batch=2),
)
CLASSES = (17, 150, 1000)
# Goals of docs/performance.md: time of an image divided by that of the bare encoder by the number of classes, and
# share of the time in percent in which the device computes.
INFERENCE_RATIO = {17: 1.3, 150: 2.5}
TRAINING_RATIO = {17: 4.5}
BUSY = 90
CHECKOUT = Path(__file__).resolve().parents[2]
OPTIONS = ("MODEL.CLIP.KEEP_TEXT", "False")
WARM_UP, REPEATS, PROFILED = 3, 7, 3
PROCESSES = 5
"""That run tests, if pytest-xdist is there. Most of their time is the same step on the CPU."""

Row = dict[str, Any]


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run all checks; returns 1 if one of them failed, else 0. A missed goal is no failure."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m research.checks.gpu_check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, required=True, help="file for the results")
    parser.add_argument("--seconds", type=float, default=420, help="time for all; default 420")
    parser.add_argument("--only", choices=("tests", "speed"), help="run this part alone")
    args = parser.parse_args(argv)
    if not torch.cuda.is_available():
        raise InputError("gpu_check: torch finds no CUDA device; run it on a machine that has one")
    ends = time.monotonic() + args.seconds
    content: dict[str, Any] = {"machine": machine(), "tests": [], "speed": []}
    parts = {"tests": test_rows(args.seconds / 2), "speed": speed_rows(ends)}
    for name, rows in parts.items():
        if args.only not in (None, name):
            continue
        for row in rows:
            content[name].append(row)
            print(row, flush=True)
            write_json_atomically(args.json, content)
        print(tabulate(content[name], headers="keys", floatfmt=".3g"))
    return int(any("failed" in row for row in (*content["tests"], *content["speed"])))


def machine() -> dict[str, str]:
    """Return the names of the device and its driver, and the versions that results depend on."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "device": torch.cuda.get_device_name(),
        "driver": driver,
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "python": sys.version.split()[0],
    }


def test_rows(seconds: float) -> Iterator[Row]:
    """Run the tests of tests/cuda in another process; return a row for each test, and one for an abort.

    Args:
        seconds: time after which they are aborted.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # Without the fixtures of the other tests, which need more than the requirements of sgovss.
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--confcutdir", "tests/cuda"]
        command += ["tests/cuda", "-m", "cuda", f"--basetemp={folder}/tests", f"--junitxml={report}"]
        if importlib.util.find_spec("xdist"):
            command += ["-n", str(PROCESSES), "--dist", "loadgroup"]
        try:
            done = subprocess.run(
                command, cwd=CHECKOUT, env=_environment(), capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            yield {"test": "all", "failed": f"not finished after {seconds:.0f} seconds"}
            return
        if not report.is_file():
            last = (done.stdout + done.stderr).strip().splitlines()[-1:]
            yield {"test": "all", "failed": " ".join(last)}
            return
        rows = map(_test_row, ElementTree.parse(report).iter("testcase"))
        yield from sorted(rows, key=lambda row: row["test"])  # in parallel they end in any order


def _environment() -> dict[str, str]:
    """The environment of the tests: their processes share the processors."""
    threads = max(1, (os.cpu_count() or 1) // PROCESSES)
    return {**os.environ, "OMP_NUM_THREADS": str(threads)}


def _test_row(case: ElementTree.Element) -> Row:
    row: Row = {"test": case.get("name", ""), "seconds": float(case.get("time", "0"))}
    for outcome in case:
        if outcome.tag in ("failure", "error"):
            row["failed"] = str(outcome.get("message")).splitlines()[0][:200]
        elif outcome.tag == "skipped":
            row["skipped"] = outcome.get("message")
    return row


def speed_rows(ends: float) -> Iterator[Row]:
    """Measure time and memory of inference and training; a row for each model, task and number of classes.

    Args:
        ends: value of ``time.monotonic()`` after which no further measurement starts.
    """
    for case in CASES:
        case = replace(case, options=OPTIONS)
        bare = _median(bare_inference(case), WARM_UP, REPEATS)
        for what, build in (("inference", inference), ("training", training)):
            for classes in CLASSES:
                # With 1,000 classes a larger batch needs more than 80 GB.
                batch = 1 if what == "inference" or classes >= 1000 else case.batch
                row = {"config": case.config_file, "what": what, "size": case.size, "classes": classes, "batch": batch}
                if time.monotonic() > ends:
                    yield {**row, "not run": "no time left"}
                    continue
                one = replace(case, classes=classes, batch=batch)
                yield from _guarded(row, functools.partial(_speed, one, row, build, bare))


def _speed(case: Case, row: Row, build: Callable[[Case], Workload], bare: float) -> Iterator[Row]:
    torch.cuda.reset_peak_memory_stats()
    workload = build(case)
    seconds = _median(workload, WARM_UP, REPEATS)
    peak = torch.cuda.max_memory_allocated() / 2**20
    busy, kernels = _busy(workload)
    yield {
        **row,
        "ms": 1e3 * seconds,
        "images/s": case.batch / seconds,
        "x bare an image": seconds / case.batch / bare,
        "bare ms": 1e3 * bare,
        "peak MB": round(peak),
        "busy, %": busy,
        "kernels": kernels,
        "goals": goals_of(row, seconds / case.batch / bare, busy),
    }


def goals_of(row: Row, ratio: float, busy: float) -> str:
    """Say which goals of docs/performance.md a measurement meets; empty if there are none.

    Args:
        row: names the task ("what") and the number of "classes".
        ratio: time of an image divided by that of the bare encoder.
        busy: share of the time in which the device computes, in percent.
    """
    training = row["what"] == "training"
    most = TRAINING_RATIO.get(row["classes"]) if training else INFERENCE_RATIO.get(row["classes"])
    goals = {} if most is None else {f"x bare <= {most}": ratio <= most}
    if training:
        goals[f"busy >= {BUSY} %"] = busy >= BUSY
    return "; ".join(f"{goal}: {'met' if met else 'missed'}" for goal, met in goals.items())


def _median(workload: Workload, warm_up: int, repeats: int) -> float:
    """Return the median seconds of a run. The device is idle before and after each run."""
    times = []
    for turn in range(warm_up + repeats):
        torch.cuda.synchronize()
        started = time.perf_counter()
        workload.run()
        torch.cuda.synchronize()
        if turn >= warm_up:
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def _busy(workload: Workload) -> tuple[float, int]:
    """Measure the load of the device in percent of the time, and the number of kernels per run.

    The total time is measured without the profiler, because the profiler slows the run down.
    """
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(PROFILED):
        workload.run()
    torch.cuda.synchronize()
    wall = time.perf_counter() - started
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(PROFILED):
            workload.run()
        torch.cuda.synchronize()
    kernels = [event for event in profiler.events() if event.device_type == DeviceType.CUDA]
    computing = sum(event.time_range.elapsed_us() for event in kernels) / 1e6
    return 100 * computing / wall, len(kernels) // PROFILED


def _guarded(row: Row, rows: Callable[[], Iterator[Row]]) -> Iterator[Row]:
    """Yield ``rows()``. On an error yield ``row`` with the reason instead, so that the checks can go on."""
    try:
        yield from rows()
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:  # out of memory is a RuntimeError
        yield {**row, "failed": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
    torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())
