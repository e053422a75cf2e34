"""What a run was made with: its seed, and the versions of all that its numbers may depend on."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path

import detectron2
import numpy as np
import open_clip
import torch

from sgovss.files import write_json_atomically
from sgovss.version import __version__

FILE = "environment.json"


def write_environment(folder: str | Path, seed: int, processes: int) -> None:
    """Write ``environment.json`` of a training run.

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
        "open_clip": open_clip.__version__,
    }
    write_json_atomically(Path(folder) / FILE, content)


def recorded_seed(folder: str | Path) -> int:
    """The seed of the run that wrote into a folder; -1 if there was none or it does not say."""
    try:
        return int(json.loads((Path(folder) / FILE).read_text(encoding="utf-8"))["seed"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1


def commit() -> str | None:
    """The checkout's commit, with a plus if files differ from it; None outside a checkout."""
    # An installed package may lie within somebody else's checkout.
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
