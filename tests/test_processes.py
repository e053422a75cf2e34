"""Work in processes gives what map gives, and a process ends in order beside threads."""

from __future__ import annotations

import subprocess
import sys

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


@pytest.mark.parametrize(("status", "threads"), [(0, 0), (143, 0), (0, 1), (143, 1)])
def test_pythons_clean_up_is_left_out_beside_threads(status, threads):
    program = (
        "import atexit, sys, threading; from sgovss.processes import exit_past_threads\n"
        "atexit.register(print, 'cleaned up')\n"
        "with exit_past_threads():\n"
        f"    for _ in range({threads}): threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "    print('work')\n"
        f"    if {status}: sys.exit({status})\n"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (process.returncode, process.stderr) == (status, "")
    assert process.stdout.split("\n") == ["work", *([] if threads else ["cleaned up"]), ""]
