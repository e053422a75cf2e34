"""Threads beside the model: one or several that read ahead, and one that writes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from sgovss.rasters.source import RasterSource

_Read = TypeVar("_Read")


def read_ahead(
    tasks: Iterable[Callable[[RasterSource], _Read]], source: RasterSource, threads: int, depth: int
) -> Generator[_Read, None, None]:
    """Run functions that read a raster in other threads, each with its own handle of the raster.

    Args:
        tasks: the functions.
        source: the raster; its own handle is not used.
        threads: number of threads.
        depth: number of results that are read in advance at most.

    Yields:
        the results in the order of the functions. An exception of a function is raised when its turn comes.
    """
    local = threading.local()
    with ExitStack() as handles:
        pool = ThreadPoolExecutor(threads, thread_name_prefix="read")

        def run(task: Callable[[RasterSource], _Read]) -> _Read:
            if not hasattr(local, "source"):
                local.source = source.another()
                opened.append(local.source)
            return task(local.source)

        opened: list[RasterSource] = []

        def close_all() -> None:
            for each in opened:
                each.close()

        handles.callback(close_all)
        # Callbacks run in reverse order: the threads end before their handles are closed.
        handles.callback(pool.shutdown, wait=True, cancel_futures=True)
        waiting: deque[Future[_Read]] = deque()
        for task in tasks:
            waiting.append(pool.submit(run, task))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def writer(depth: int = 1) -> Iterator[Callable[[Callable[[], None]], None]]:
    """A thread that runs functions one after the other.

    The block gets a function that hands over the next one; it waits while more than ``depth`` are waiting, and raises
    the exception of an earlier one. At the end of the block, also after an exception such as Ctrl-C, what was handed
    over is still run.
    """
    waiting: deque[Future[None]] = deque()

    def hand_over(task: Callable[[], None]) -> None:
        waiting.append(pool.submit(task))
        while len(waiting) > depth or (waiting and waiting[0].done()):
            waiting.popleft().result()

    with ThreadPoolExecutor(1, thread_name_prefix="write") as pool:
        yield hand_over
        while waiting:
            waiting.popleft().result()
