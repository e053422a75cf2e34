"""Time and peak memory of a workload, measured in a process of its own.

The process runs this module: ``python -m sgovss.engine.benchmark TASK CASE``, with the case as JSON.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from sgovss.allocator import SETTINGS
from sgovss.engine.workloads import Case, Workload, bare_inference, inference, training
from sgovss.errors import InputError, command
from sgovss.resources import peak_megabytes

WORKLOADS = {"inference": inference, "training": training}


def measure_times(name: str, case: Case) -> dict[str, list[float]]:
    """Time a workload and the bare image encoder alternately, in another process.

    Args:
        name: ``inference`` or ``training``.
        case: the model and the input to measure.

    Returns:
        seconds of each repetition: ``ours`` for the workload, ``bare`` for one image through the bare encoder.

    Raises:
        InputError: the process failed; the message is its last line.
    """
    return _in_another_process(f"{name}-times", case)


def measure_memory(name: str, case: Case) -> float:
    """Measure the peak memory of a workload, in another process without the bare encoder.

    Args:
        name: ``inference`` or ``training``.
        case: the model and the input to measure.

    Returns:
        megabytes: on CUDA the memory that torch allocated on the device, otherwise all memory of the process.

    Raises:
        InputError: the process failed; the message is its last line.
    """
    return _in_another_process(f"{name}-memory", case)


def machine(device: torch.device) -> str:
    """Describe the hardware and the torch version of this process in one line."""
    hardware = f"{torch.get_num_threads()} of {os.cpu_count()} cores, {platform.machine()}"
    if device.type == "cuda":
        hardware = torch.cuda.get_device_name(device)
    return f"{hardware}, torch {torch.__version__}"


def _in_another_process(task: str, case: Case) -> Any:
    argv = [sys.executable, "-m", "sgovss.engine.benchmark", task, json.dumps(asdict(case))]
    # The same settings of the allocator as for a training run, see sgovss.allocator.
    done = subprocess.run(argv, env={**os.environ, **SETTINGS}, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1].removeprefix("error: ")
        raise InputError(f"{task} of {case.config_file}: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def _seconds(workload: Workload) -> float:
    """Seconds of one run. CUDA computes asynchronously, so the clock is read when the device is idle."""
    _synchronize(workload.device)
    started = time.perf_counter()
    workload.run()
    _synchronize(workload.device)
    return time.perf_counter() - started


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _take_turns(workloads: Mapping[str, Workload], case: Case) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in workloads}
    for turn in range(case.warm_up + case.repeats):
        for name, workload in workloads.items():
            seconds = _seconds(workload)
            if turn >= case.warm_up:
                times[name].append(seconds)
    return times


def _peak_megabytes(workload: Workload) -> float:
    for _ in range(2):
        workload.run()
    if workload.device.type == "cuda":
        return torch.cuda.max_memory_allocated(workload.device) / 2**20
    return peak_megabytes()


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure one task and print the result as JSON in the last line; returns the exit status."""
    task, content = sys.argv[1:] if argv is None else argv
    name, _, quantity = task.partition("-")
    case = Case(**json.loads(content))
    ours = WORKLOADS[name](case)
    if quantity == "memory":
        print(json.dumps(_peak_megabytes(ours)))
    else:
        print(json.dumps(_take_turns({"bare": bare_inference(case), "ours": ours}, case)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
