"""One bad, or merely odd, input: how it is made, and what the user sees."""

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
    """A case.

    Attributes:
        what: the input, in words.
        command: one of :data:`COMMANDS`.
        build: makes the input and returns the command's arguments.
        sees: the one line that the user sees, without what is before its colon; ``…`` stands for anything. Of an input
            that must work: what comes out, in words.
        status: of the command.
        proves: looks at the folder afterwards; fails if what should be there is not.
        as_process: whether the fast tests run it as a process too.
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
        """What begins a line that tells of a problem; data sets are reported on, not refused."""
        return "problem: " if self.command == "check" and self.status == 1 else "error: "

    @property
    def line(self) -> re.Pattern[str]:
        return re.compile(".*".join(map(re.escape, self.sees.split("…"))))


def refused(what: str, command: str, build: Callable[[Place], Sequence[str]], sees: str, **more: object) -> Case:
    return Case(what, command, build, sees, **more)


def works(
    what: str,
    command: str,
    build: Callable[[Place], Sequence[str]],
    sees: str,
    proves: Callable[[Path], None],
    **more: object,
) -> Case:
    return Case(what, command, build, sees, status=0, proves=proves, **more)
