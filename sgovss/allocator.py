"""Settings of glibc's memory allocator that make training on a CPU faster."""

from __future__ import annotations

import os
import sys

SETTINGS = {"MALLOC_MMAP_THRESHOLD_": str(2**33), "MALLOC_TRIM_THRESHOLD_": str(2**34)}
"""Environment variables that make glibc keep freed memory (bytes). By default it returns large blocks to the system at
once, and the page faults of allocating them again take up to half of a training step."""


def keep_freed_memory() -> None:
    """Restart this Python process with :data:`SETTINGS`, unless they are set already or the system is not Linux.

    glibc reads them only when a process starts. Call this first, because the process then begins again.
    """
    if sys.platform == "linux" and not SETTINGS.keys() <= os.environ.keys():
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **SETTINGS})
