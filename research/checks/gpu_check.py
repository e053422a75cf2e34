#!/usr/bin/env python
"""Check full-size models on one CUDA device: results compared with the CPU, speed, memory and load of the device.

    python -m research.checks.gpu_check --json output/gpu_check.json

All weights are random. Speed measurements that would start after ``--seconds`` are reported as not run.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from sgovss.engine.workloads import Case, Workload, bare_inference, inference, numbered_classes, random_model, training
from sgovss.errors import InputError, command
from sgovss.files import write_json_atomically
from sgovss.precision import autocast

CASES = (
    Case("sgovss_vitb16_384.yaml", size=384, precision="bfloat16", batch=4),
    Case("sgovss_convnext_l_768.yaml", size=768, precision="bfloat16", batch=2),
)
CLASSES = (17, 150, 1000)
COMPARED_SIZE, COMPARED_CLASSES = 192, 12
OPTIONS = ("MODEL.CLIP.KEEP_TEXT", "False")
WARM_UP, REPEATS, PROFILED = 3, 7, 3

Row = dict[str, Any]


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run all checks; returns 1 if one of them failed with an error, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m research.checks.gpu_check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, required=True, help="file for the results")
    parser.add_argument("--seconds", type=float, default=420, help="time for the speed measurements; default 420")
    args = parser.parse_args(argv)
    if not torch.cuda.is_available():
        raise InputError("gpu_check: torch finds no CUDA device; run it on a machine that has one")
    ends = time.monotonic() + args.seconds
    content: dict[str, Any] = {"machine": machine(), "results": [], "speed": []}
    for name, rows in (("results", result_rows()), ("speed", speed_rows(ends))):
        for row in rows:
            content[name].append(row)
            print(row, flush=True)
            write_json_atomically(args.json, content)
        print(tabulate(content[name], headers="keys", floatfmt=".3g"))
    return int(any("failed" in row for row in (*content["results"], *content["speed"])))


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


def result_rows() -> Iterator[Row]:
    """Compare scores and training losses on the device with those on the CPU; a row for each model and precision."""
    for case in CASES:
        yield from _guarded({"config": case.config_file}, lambda case=case: _compare(case))


def _compare(case: Case) -> Iterator[Row]:
    small = replace(case, size=COMPARED_SIZE, classes=COMPARED_CLASSES, batch=1, precision="float32")
    expected, losses = _scores(small, "cpu"), _losses(small, "cpu")
    for precision in ("float32", "bfloat16", "float16"):
        here = replace(small, precision=precision)
        row: Row = {"config": case.config_file, "precision": precision}
        if precision != "float16":  # TEST.PRECISION has no float16
            found = _scores(here, "cuda")
            row["largest score difference"] = float((found - expected).abs().max())
            row["labels that differ, %"] = 100 * float((found.argmax(1) != expected.argmax(1)).float().mean())
        for name, loss in _losses(here, "cuda").items():
            row[f"{name}, CPU"] = losses[name]
            row[f"{name}, device"] = loss
        yield row


def _scores(case: Case, device: str) -> torch.Tensor:
    model, _ = random_model(case.config_file, (*OPTIONS, "MODEL.DEVICE", device), case.precision, training=False)
    images = torch.randint(
        0, 256, (1, 3, case.size, case.size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    with torch.no_grad():
        return model.scores(images.to(model.device), numbered_classes(case.classes)).float().cpu()


def _losses(case: Case, device: str) -> dict[str, float]:
    """Return the losses of the second of two SGD steps on the same batch, with learning rate 1e-4 for all weights."""
    model, _ = random_model(case.config_file, (*OPTIONS, "MODEL.DEVICE", device), "float32", training=True)
    generator = torch.Generator().manual_seed(0)
    size = (case.size, case.size)
    entry = {
        "image": torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8),
        "sem_seg": torch.randint(0, case.classes, size, generator=generator),
        "vocabulary": numbered_classes(case.classes),
    }
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=1e-4)
    losses: dict[str, torch.Tensor] = {}
    for _ in range(2):
        optimizer.zero_grad()
        with autocast(case.precision, model.device):
            losses = model([entry])
            total = torch.stack(list(losses.values())).sum()
        total.backward()
        optimizer.step()
    return {name: float(loss.detach()) for name, loss in losses.items()}


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
                batch = 1 if what == "inference" else case.batch
                row = {"config": case.config_file, "what": what, "size": case.size, "classes": classes, "batch": batch}
                if time.monotonic() > ends:
                    yield {**row, "not run": "no time left"}
                    continue
                one = replace(case, classes=classes, batch=batch)
                yield from _guarded(row, lambda one=one, row=row, build=build, bare=bare: _speed(one, row, build, bare))


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
    }


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
