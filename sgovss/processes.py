"""A parallel ``map`` in order and with bounded memory; the end of a process by signals and beside threads."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST = 61  # processes of a pool on Windows
_AHEAD = 8  # items in progress per process; a limit, so that finished results do not fill the memory


def map_in_processes(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Compute ``map(function, items)`` in ``workers`` processes; with 1, in this process, and at most in 61.

    Function, items and results must be picklable. An exception of the function is raised here.

    Yields:
        The results in the order of the items.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    workers = min(workers, _MOST)
    # Spawn, because fork is unsafe if the caller already runs threads of torch or OpenCV.
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        running: deque[Future[Result]] = deque()
        try:
            for item in items:
                running.append(pool.submit(function, item))
                if len(running) >= _AHEAD * workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Let signals to end, and the end of the terminal, raise SystemExit, so that temporary folders are removed."""
    numbers = {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}
    heard = [each for each in numbers if signal.getsignal(each) is not signal.SIG_IGN]  # ignored under nohup
    before = {each: signal.signal(each, lambda number, _: sys.exit(128 + number)) for each in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def exit_past_threads() -> Iterator[None]:
    """End the process without Python's own clean-up if threads that were started within still run.

    Python ends such threads by unwinding their stack. In a thread that frees a tensor at that moment, PyTorch then
    aborts the process.
    """
    before = set(threading.enumerate())
    ended = None
    try:
        yield
    except SystemExit as end:
        ended = end
    if set(threading.enumerate()) - before:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended.code if ended is not None and isinstance(ended.code, int) else 0)
    if ended is not None:
        raise ended
