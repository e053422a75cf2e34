"""Helpers to start training runs and to compare two of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sgovss.modeling.checkpoint import read_checkpoint

CONFIG = ["--config-file", "sgovss_tiny.yaml"]

# Metrics that differ between any two runs.
TIMES = {"time", "data_time", "rank_data_time", "eta_seconds"}


def options_of(run_options: list[str], **changes: object) -> list[str]:
    """Return the options with some of them changed; double underscores in a keyword stand for dots."""
    return [*run_options, *(part for key, value in changes.items() for part in (key.replace("__", "."), str(value)))]


def output_of(run_options: list[str]) -> Path:
    return Path(run_options[run_options.index("OUTPUT_DIR") + 1])


def start_command(arguments: list[str], checkout: Path, log: Path) -> subprocess.Popen:
    """Start train_net.py in a new process group; its output is appended to a file."""
    with log.open("a") as file:
        return subprocess.Popen(
            [sys.executable, str(checkout / "train_net.py"), *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )


def metrics_of(folder: Path) -> list[dict[str, float]]:
    """Read metrics.json, without the values that depend on the time."""
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def assert_same_training(first: Path, second: Path) -> None:
    """Assert that weights, optimiser, schedule, counters and the metrics of every step are bit-identical."""
    contents = [read_checkpoint(folder / "model_final.pth") for folder in (first, second)]
    for key in ("model", "trainer"):
        difference = _difference(contents[0][key], contents[1][key], key)
        assert not difference, difference
    assert metrics_of(first) == metrics_of(second)


def _difference(first: Any, second: Any, path: str) -> str:
    """Return the first place where two trees of values differ; empty if they are equal."""
    if isinstance(first, Mapping):
        if first.keys() != second.keys():
            return f"{path}: {first.keys() ^ second.keys()}"
        return next(filter(None, (_difference(first[key], second[key], f"{path}.{key}") for key in first)), "")
    if isinstance(first, torch.Tensor):
        return "" if torch.equal(first, second) else f"{path}: by {(first - second).abs().max()}"
    return "" if first == second else f"{path}: {first} and {second}"
