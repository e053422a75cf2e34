"""A row of the table: a config key with another value than the default, and what must change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sgovss.config import load_config
from sgovss.errors import InputError

DIFFERENT = object()
"""Any other result."""


@dataclass(frozen=True)
class Case:
    """What an observation starts from.

    Attributes:
        options: keys and values on top of ``sgovss_tiny.yaml``.
        folder: an empty folder.
        fields: options that name the dataset ``fields``; see the fixture ``run_options``.
    """

    options: tuple[str, ...]
    folder: Path
    fields: tuple[str, ...]

    @property
    def cfg(self):
        return load_config("sgovss_tiny.yaml", ["MODEL.DEVICE", "cpu", *self.options])


class Row(NamedTuple):
    """A key's effect.

    Attributes:
        value: another value than the one it is compared with.
        observe: what the key must change.
        expected: the result with the other value.
        given: keys and values that both results share.
    """

    value: object
    observe: Callable[[Case], Any]
    expected: Any = DIFFERENT
    given: tuple[object, ...] = ()


def refusal(of: Callable[[Case], Any]) -> Callable[[Case], str]:
    """The observation that something is refused: the message, or nothing."""

    def observe(case: Case) -> str:
        try:
            of(case)
        except InputError as error:
            return str(error).partition(":")[0]
        return ""

    return observe
