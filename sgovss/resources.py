"""Memory of this machine, and memory used by this process."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

_USUAL_MEMORY = 8 * 2**30


def memory_of_machine() -> int:
    """The memory of this machine in bytes; 8 GiB on Windows, where it is not measured."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except AttributeError:  # there is no such function
        return _USUAL_MEMORY


def peak_megabytes() -> float:
    """The peak resident memory of this process so far, in MiB; NaN on Windows, where it is not measured.

    On Linux a child process inherits ``ru_maxrss`` from its parent, so a small child of a large process would look
    large; /proc gives the value of the process itself.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    try:
        import resource
    except ImportError:
        return math.nan
    # In bytes on macOS, in KiB on other systems.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
