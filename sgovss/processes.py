"""Work shared over processes, with results in order and memory that does not grow with the number of items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 8  # items a process may be ahead of the consumer


def map_in_processes(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """``map(function, items)``, computed by ``workers`` processes; 1 computes in this one.

    Function, items and results must be picklable. An exception of the function is raised here.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    # Spawned, not forked: the caller may already run threads of torch or OpenCV.
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        running = deque()
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
