"""The exception for wrong user input, and the decorator that makes a command print it as one line."""

from __future__ import annotations

import errno
import functools
import re
import sys
from collections.abc import Callable, Sequence

_PREFIX = "sgovss.errors.InputError: "
_LONGEST = 2000  # characters of a printed line, which may quote the user's input
# The texts of Python, NumPy, PyTorch on the CPU, and CUDA; other processes hand on the text alone.
_NO_MEMORY = re.compile(r"\bout of memory\b|can't allocate memory|MemoryError: |DataLoader worker .* signal: Killed")
_ASKED_FOR = re.compile(r"allocate ([\d.,]*\d)\.? ?([A-Za-z]+)")


class InputError(ValueError):
    """An error in the user's input.

    The message is one line. It says where the error is, what is wrong and how to fix it. Line breaks and unprintable
    characters, which may come from a quoted name or value, are escaped.
    """

    def __init__(self, message: str) -> None:
        # PyTorch raises the error of a data loader's worker again, as the same class with the traceback as its message.
        _, from_worker, last = message.rpartition(f"\n{_PREFIX}")
        message = last.rstrip("\n") if from_worker else message
        shown = (letter if letter.isprintable() else ascii(letter)[1:-1] for letter in message)
        super().__init__("".join(shown))


def command(main: Callable[[Sequence[str] | None], int]) -> Callable[..., int]:
    """Decorate a command's ``main(argv)`` so that it prints errors that the user can fix as one line.

    These are an :class:`InputError`, a full disk and too little memory. The exit status is then 2. Other exceptions
    keep their traceback, because they are bugs.
    """

    @functools.wraps(main)
    def guarded(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv)
        except Exception as error:
            line = error_line(error)
            if line is None:
                raise
            print(f"error: {line}", file=sys.stderr)
            return 2

    return guarded


def error_line(error: BaseException) -> str | None:
    """Return the line that a command prints for an error; None if the user cannot fix it."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{error.filename or 'the output'}: {error.strerror}; make room, or choose another output folder"
    # Errors of other processes arrive as text: a traceback whose last line is the error itself.
    last = (str(error).strip().splitlines() or [""])[-1]
    if isinstance(error, InputError) or last.startswith(_PREFIX):
        return last.removeprefix(_PREFIX)[:_LONGEST]
    if isinstance(error, MemoryError) or _NO_MEMORY.search(last):
        return _memory_line(last)
    return None


def _memory_line(told: str) -> str:
    asked_for = _ASKED_FOR.search(told)
    wanted = f" for another {asked_for[1]} {asked_for[2]}" if asked_for else ""
    return (
        f"not enough memory{wanted}; in training, lower SOLVER.IMS_PER_BATCH, INPUT.CROP.SIZE or INPUT.MIN_SIZE_TRAIN; "
        "in an evaluation, lower INPUT.MIN_SIZE_TEST; for a map, set TEST.SCENE.BATCH 1 and TEST.SCENE.MEMORY 0"
    )
