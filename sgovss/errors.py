"""The one exception for what a user can get wrong, and how a command shows it."""

from __future__ import annotations

import errno
import functools
import sys
from collections.abc import Callable, Sequence

_NAMED = "sgovss.errors.InputError: "
_LONGEST = 2000  # letters of a line that may quote what the user gave


class InputError(ValueError):
    """Something the user gave is wrong.

    The message is one line that says what is wrong, where it stands, and how to mend it. Letters in it that end a line
    or cannot be shown, as a quoted name or value may hold them, stand there escaped.
    """

    def __init__(self, message: str) -> None:
        # A loader's worker hands its error over as a traceback, from which PyTorch makes an error of the same class.
        _, handed_over, last = message.rpartition(f"\n{_NAMED}")
        message = last.rstrip("\n") if handed_over else message
        shown = (letter if letter.isprintable() else ascii(letter)[1:-1] for letter in message)
        super().__init__("".join(shown))


def command(main: Callable[[Sequence[str] | None], int]) -> Callable[[Sequence[str] | None], int]:
    """Make a command's ``main(argv)`` print an :class:`InputError` as one line and return 2, and so a full disk.

    Every other exception keeps its traceback: it is our mistake, not the user's.
    """

    @functools.wraps(main)
    def guarded(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv)
        except Exception as error:
            line = _line(error)
            if line is None:
                raise
            print(f"error: {line}", file=sys.stderr)
            return 2

    return guarded


def _line(error: Exception) -> str | None:
    """What to tell the user; None if it is not theirs to mend."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{error.filename or 'the output'}: {error.strerror}; make room, or choose another output folder"
    # Another process hands its error over as text: a traceback, and the error itself as the last line.
    last = (str(error).strip().splitlines() or [""])[-1]
    if isinstance(error, InputError) or last.startswith(_NAMED):
        return last.removeprefix(_NAMED)[:_LONGEST]
    return None
