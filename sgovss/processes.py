"""A parallel ``map`` over processes, in order and with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
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
