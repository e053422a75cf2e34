"""A case: an invalid or unusual input, how it is made, and what the user sees."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.robustness.place import Place

COMMANDS = {
    "train_net": "train_net.py",
    "demo": "demo/demo.py",
    "prepare": "datasets/prepare.py",
    "check": "datasets/check.py",
}
MODULES = {
    "train_net": "sgovss.commands.train",
    "demo": "sgovss.commands.segment",
    "prepare": "sgovss.commands.prepare",
    "check": "sgovss.commands.check",
}


@dataclass(frozen=True)
class Case:
    """An input of a command, and the expected outcome.

    Attributes:
        what: description of the input.
        command: one of :data:`COMMANDS`.
        build: makes the input and returns the command's arguments.
        sees: the line that the user sees, after its ``error: `` or ``problem: ``; ``…`` stands for any text. For an
            input that must work: description of the output.
        status: expected exit status of the command.
        proves: checks the folder afterwards; raises AssertionError if the files in it are not as expected.
        as_process: whether the case also runs in a process of its own that no other case shares.
    """

    what: str
    command: str
    build: Callable[[Place], Sequence[str]]
    sees: str
    status: int = 2
    proves: Callable[[Path], None] | None = None
    as_process: bool = False

    @property
    def marker(self) -> str:
        """Beginning of a line about a problem: ``error: ``, or ``problem: `` in the report of the command ``check``."""
        return "problem: " if self.command == "check" and self.status == 1 else "error: "

    @property
    def line(self) -> re.Pattern[str]:
        """Pattern of the expected line."""
        return re.compile(".*".join(map(re.escape, self.sees.split("…"))))


def refused(what: str, command: str, build: Callable[[Place], Sequence[str]], sees: str, **more: object) -> Case:
    """Return a case that ends with an error message."""
    return Case(what, command, build, sees, **more)


def works(
    what: str,
    command: str,
    build: Callable[[Place], Sequence[str]],
    sees: str,
    proves: Callable[[Path], None],
    **more: object,
) -> Case:
    """Return a case that must succeed."""
    return Case(what, command, build, sees, status=0, proves=proves, **more)
