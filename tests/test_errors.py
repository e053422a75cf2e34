"""Tests of InputError and of the one line that commands print."""

from __future__ import annotations

import pickle

import pytest
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
