"""Threads that read ahead and write: order, bounds, errors."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from rasterio.windows import Window

from sgovss.rasters.source import RasterSource
from sgovss.rasters.threads import read_ahead, writer


@pytest.fixture
def source(write_raster):
    with RasterSource(write_raster(np.zeros((3, 20, 20), np.uint8))) as opened:
        yield opened


def task(number: int, log: list[int]):
    def read(source: RasterSource) -> int:
        assert source.read(Window(0, 0, 4, 4), (4, 4))[0].shape == (4, 4, 3)
        log.append(number)
        return number

    return read


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order_and_few_are_read_ahead(source, threads):
    log: list[int] = []
    given = 0
    for result in read_ahead((task(i, log) for i in range(20)), source, threads, depth=2):
        assert result == given
        given += 1
        assert len(log) <= given + 2
    assert given == 20 and sorted(log) == [*range(20)]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_is_raised_in_its_turn_and_no_thread_remains(source, threads):
    def fails(_: RasterSource) -> int:
        raise ValueError("damaged")

    log: list[int] = []
    reads = read_ahead([task(0, log), task(1, log), fails, task(3, log)], source, threads, depth=3)
    assert [next(reads), next(reads)] == [0, 1]
    with pytest.raises(ValueError, match="damaged"):
        next(reads)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read")]


def test_readers_end_with_their_user(source):
    log: list[int] = []
    reads = read_ahead((task(i, log) for i in range(1000)), source, 1, depth=2)
    next(reads)
    reads.close()
    assert len(log) <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read")]


def test_what_was_handed_over_is_written_after_an_interruption():
    written: list[int] = []
    with pytest.raises(KeyboardInterrupt), writer(depth=5) as write:
        for i in range(4):
            write(lambda i=i: written.append(i))
        raise KeyboardInterrupt
    assert written == [0, 1, 2, 3]


@pytest.mark.parametrize("last", [False, True])
def test_an_error_of_the_writer_ends_the_run(last):
    def full() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"), writer() as write:
        write(full)
        for _ in range(0 if last else 5):
            write(lambda: None)


def test_what_was_not_read_yet_is_given_up_with_the_user(source):
    log: list[int] = []
    go_on = threading.Event()

    def slow(_: RasterSource) -> int:
        go_on.wait(5)
        log.append(-1)
        return -1

    reads = read_ahead([task(0, log), *[slow] * 30], source, 1, depth=20)
    next(reads)
    threading.Timer(0.1, go_on.set).start()
    reads.close()
    assert len(log) <= 2
