"""The one exception for what a user can get wrong, and how a command shows it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence


class InputError(ValueError):
    """Something the user gave is wrong.

    The message is one line that says what is wrong, where it stands, and how to mend it.
    """


def command(main: Callable[[Sequence[str] | None], int]) -> Callable[[Sequence[str] | None], int]:
    """Make a command's ``main(argv)`` print an :class:`InputError` as one line and return 2.

    Every other exception keeps its traceback: it is our mistake, not the user's.
    """

    @functools.wraps(main)
    def guarded(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2

    return guarded
