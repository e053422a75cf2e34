"""glibc's allocator, told to keep what a CPU training step frees."""

from __future__ import annotations

import os
import sys

SETTINGS = {"MALLOC_MMAP_THRESHOLD_": str(2**33), "MALLOC_TRIM_THRESHOLD_": str(2**34)}
"""glibc gives large blocks back at once; paging every activation in anew costs up to half of a step."""


def keep_freed_memory() -> None:
    """Start this Python program anew with :data:`SETTINGS`, unless they are set or the system is not Linux.

    glibc reads them when a process starts, so a running one cannot set them for itself. Call it first of all in a
    script, before anything is done that must not be done twice.
    """
    if sys.platform == "linux" and not SETTINGS.keys() <= os.environ.keys():
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **SETTINGS})
