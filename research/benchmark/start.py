"""CPU time of whole commands on small images, as a multiple of the time that importing PyTorch takes."""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from tabulate import tabulate

from sgovss.errors import InputError
from sgovss.synthetic import generate_image


def add_command(commands: Any) -> None:
    """Add ``start`` to the subcommands of an argument parser."""
    parser = commands.add_parser("start", help="time of whole commands on small images")
    parser.add_argument("--size", type=int, default=512, help="side of the image in pixels; default 512")
    parser.add_argument("--repeats", type=int, default=3, help="default 3; the median counts")
    parser.set_defaults(run=measure_starts)


def measure_starts(args: argparse.Namespace) -> None:
    """Print a table: a photograph and a raster, with words that are kept on disk and with words that are not."""
    with tempfile.TemporaryDirectory() as folder:
        commands = _commands(Path(folder), args.size)
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(args.repeats + 1):  # interleaved, because the speed of a shared machine changes
            for name, (arguments, changes) in commands.items():
                seconds[name].append(cpu_seconds(arguments, changes))
    medians = {name: statistics.median(measured[1:]) for name, measured in seconds.items()}  # the first reads the disk
    unit = medians["import torch"]
    rows = [{"command": name, "CPU s": value, "x import torch": value / unit} for name, value in medians.items()]
    print(tabulate(rows, headers="keys", floatfmt=".2f", tablefmt="github"))


def cpu_seconds(arguments: Sequence[str], changes: Mapping[str, str]) -> float:
    """Run Python with some arguments and changes of the environment; returns the CPU time of the process.

    Raises:
        InputError: it fails.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, "OMP_NUM_THREADS": "1", **changes}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise InputError(f"{' '.join(arguments)}: {done.stderr[-500:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _commands(folder: Path, size: int) -> dict[str, tuple[list[str], dict[str, str]]]:
    image = Image.fromarray(generate_image(1, size=size).image)
    commands: dict[str, tuple[list[str], dict[str, str]]] = {"import torch": (["-c", "import torch"], {})}
    for kind, name in (("photograph", "photo.png"), ("raster", "scene.tif")):
        image.save(folder / name)
        base = ["-m", "sgovss", "segment", "--config-file", "sgovss_tiny.yaml", "--input", str(folder / name),
                "--vocabulary", "building, road, tree|forest, water", "--output"]  # fmt: skip
        cache = {"SGOVSS_CACHE": str(folder / "cache")}
        commands[f"{kind}, kept words"] = ([*base, str(folder / "kept")], cache)
        off = [*base, str(folder / "encoded"), "--opts", "MODEL.CLIP.KEEP_TEXT", "False"]
        commands[f"{kind}, other words"] = (off, cache)
    return commands
