"""Tests of InputError and of the one line that commands print."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._utils import ExceptionWrapper

from sgovss.errors import InputError, command


@given(st.text(st.characters()))
def test_whatever_is_quoted_the_message_is_one_line_that_shows(quoted):
    message = str(InputError(f"words.txt: '{quoted}' stands twice; keep one"))
    assert message.isprintable() and len(message.splitlines()) == 1
    assert quoted in message or not quoted.isprintable()


def test_letters_that_end_a_line_are_named():
    assert str(InputError("a\nb\u2028c\x1b[1md\udcffe")) == r"a\nb\u2028c\x1b[1md\udcffe"


def test_names_in_any_script_stay_readable():
    assert str(InputError("'пашня', '農地' and 'Äcker' 🚜")) == "'пашня', '農地' and 'Äcker' 🚜"


def test_a_message_crosses_processes_unchanged():
    error = InputError("a\nb")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == r"a\nb"


def test_a_message_of_a_loaders_worker_is_the_one_that_was_raised_there():
    try:
        raise InputError("a.png: label\n77")
    except InputError:
        handed_over = ExceptionWrapper(where="in DataLoader worker process 0")
    with pytest.raises(InputError) as caught:
        handed_over.reraise()
    assert str(caught.value) == r"a.png: label\n77"


def test_a_command_prints_it_and_returns_2(capsys):
    def main(argv):
        raise InputError(f"{argv[0]}: no such file")

    assert command(main)(["my\nfile.png"]) == 2
    assert capsys.readouterr().err == "error: my\\nfile.png: no such file\n"


class _Broken:
    """What a data loader's worker or another process hands over: the text of a traceback."""

    def __init__(self, last: str) -> None:
        # Not always a RuntimeError: torch.multiprocessing has an exception of its own.
        self.error = Exception(f"Caught it in process 0.\nTraceback ...\n{last}")

    def __call__(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("fail", "told"),
    [
        (lambda: np.empty((10**9, 10**9)), "memory for another 6.94 EiB;"),
        (lambda: torch.empty(10**17), "memory for another 400000000000000000 bytes;"),
        (
            _Broken("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 27.9 GiB for an array"),
            "another 27.9 GiB;",
        ),
        (
            _Broken("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
            "another 2.00 GiB;",
        ),
        (_Broken("RuntimeError: DataLoader worker (pid 7) is killed by signal: Killed. "), "memory; in training"),
    ],
)
def test_too_little_memory_is_one_line_that_says_how_much(fail, told, capsys):
    assert command(lambda argv: fail())([]) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: not enough memory") and told in line and line.count("\n") == 1


def test_a_bug_keeps_its_traceback():
    with pytest.raises(Exception, match="shapes"):
        command(lambda argv: _Broken("RuntimeError: shapes differ; no memory is mentioned")())([])
