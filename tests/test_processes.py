"""Work in processes gives what map gives."""

from __future__ import annotations

import pytest

from sgovss.processes import map_in_processes


def test_results_come_in_order():
    assert list(map_in_processes(abs, range(-40, 0), 2)) == list(range(40, 0, -1))


def test_exceptions_are_raised_here():
    with pytest.raises(TypeError):
        list(map_in_processes(abs, [1, "two", 3], 2))


@pytest.mark.parametrize("workers", [1, 2])
def test_items_are_taken_as_they_are_needed(workers):
    taken = []

    def items():
        for i in range(1000):
            taken.append(i)
            yield i

    results = map_in_processes(abs, items(), workers)
    assert next(results) == 0
    assert len(taken) <= 8 * workers
    results.close()
