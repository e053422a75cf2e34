"""Record of a training run: its seed, and the versions of the software that its results may depend on."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
from pathlib import Path

import detectron2
import numpy as np
import torch

from sgovss.files import write_json_atomically
from sgovss.version import __version__

FILE = "environment.json"


def write_environment(folder: str | Path, seed: int, processes: int) -> None:
    """Write ``environment.json`` of a training run.

    Args:
        folder: the run's output folder.
        seed: the run's seed.
        processes: number of training processes.

    Raises:
        InputError: the folder cannot be written to.
    """
    content = {
        "seed": seed,
        "processes": processes,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "sgovss": __version__,
        "commit": commit(),
        "detectron2": detectron2.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "open_clip": importlib.metadata.version("open_clip_torch"),
    }
    write_json_atomically(Path(folder) / FILE, content)


def recorded_seed(folder: str | Path) -> int:
    """Return the seed that ``environment.json`` of a folder holds; -1 if the file is missing or damaged."""
    try:
        return int(json.loads((Path(folder) / FILE).read_text(encoding="utf-8"))["seed"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1


def commit() -> str | None:
    """Return the checkout's commit, with a plus if files differ from it; None outside a checkout."""
    # An installed package may lie within the checkout of another project.
    if _git("ls-files", __file__):
        return _git("describe", "--always", "--abbrev=10", "--dirty=+", "--exclude=*")
    return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, cwd=Path(__file__).parent, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() or None
