"""What this process has used of the machine."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_megabytes() -> float:
    """The most memory this process has held so far.

    Linux hands ``ru_maxrss`` on from parent to child, so a small child of a large process would look large; what
    /proc says is the process's own.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
