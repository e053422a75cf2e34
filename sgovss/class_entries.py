"""The classes of a vocabulary, and their forms in lists."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sgovss.errors import InputError
from sgovss.palette import Color
from sgovss.words.colors import color_of
from sgovss.words.keys import COLORS, SYNONYMS, color_under, split_synonyms

BARS_ONLY = re.compile(r"[|]")
BARS_OR_COMMAS = re.compile(r"[|,]")

LARGEST_OFFSET = 100.0
"""Largest offset of a class, in logits; scores are 0 or 1 with it."""


@dataclass(frozen=True)
class ClassEntry:
    """One class of a vocabulary.

    Args:
        name: class name in tables and legends.
        synonyms: other names of the class. At inference the highest score of all names is used.
        color: RGB in 0..255 for overlays; None to choose one.
        offset: is added to the logits of the class at inference; a score s becomes sigmoid(logit(s) + offset).
        words: names that are scored in place of name and synonyms, for a class whose name describes it badly.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    color: Color | None = None
    offset: float = 0.0
    words: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The name and its synonyms, in order."""
        return (self.name, *self.synonyms)

    @property
    def scored_names(self) -> tuple[str, ...]:
        """The names that the class is scored by."""
        return self.words or self.names


def clean_name(name: str) -> str:
    """The name with single spaces."""
    return " ".join(str(name).split())


def _short(item: object) -> str:
    """A shortened ``repr``. With YAML aliases, the full text of a list from a small file could fill the memory."""
    shortened = reprlib.Repr()
    shortened.maxlevel = 2
    return shortened.repr(item)


def _entry_from_names(raw_names: Sequence[str], source: str) -> ClassEntry:
    names = [clean_name(name) for name in raw_names]
    if not all(names):
        raise InputError(f"{source}: an empty class name in '{'|'.join(names)}'; remove the extra ',' or '|'")
    return ClassEntry(names[0], tuple(names[1:]))


def entry_of(item: object, source: str, synonyms_at: re.Pattern[str] = BARS_OR_COMMAS) -> ClassEntry:
    """Return the class that an item of a list describes.

    Args:
        item: a tuple of names, a string of names, or a mapping with ``name`` and perhaps ``synonyms``,
            ``color``, ``words`` and ``offset``, or other keys of :mod:`sgovss.words.keys`.
        source: where the list is from, for error messages.
        synonyms_at: what separates the names of a string.

    Raises:
        InputError: the item is nothing of this kind, or a name is empty.
    """
    if isinstance(item, tuple) and all(isinstance(name, str) for name in item):
        return _entry_from_names(item, source)
    if isinstance(item, str):
        return _entry_from_names(synonyms_at.split(item), source)
    if isinstance(item, dict) and isinstance(item.get("name"), str):
        color = next((found for key in COLORS if (found := color_under(item, key)) is not None), None)
        if isinstance(color, str):
            color = color_of(color) or color
        if color is not None and (
            not isinstance(color, list | tuple)
            or len(color) != 3
            or not all(isinstance(c, int) and 0 <= c <= 255 for c in color)
        ):
            raise InputError(
                f"{source}: colour of '{item['name']}' must be three numbers from 0 to 255 or '#rrggbb', not "
                f"{_short(color)}"
            )
        synonyms = [word for key in SYNONYMS for word in _strings(item, key, source)]
        entry = _entry_from_names([item["name"], *synonyms], source)
        words = _strings(item, "words", source)
        return ClassEntry(
            entry.name,
            entry.synonyms,
            tuple(color) if color is not None else None,
            _offset_of(item, source),
            _entry_from_names(words, source).names if words else (),
        )
    quotes = (
        "; put words such as yes, no and null into quotation marks" if item is None or isinstance(item, bool) else ""
    )
    raise InputError(f"{source}: a class is a name or {{name, synonyms, color}}, not {_short(item)}{quotes}")


def _strings(item: dict[str, Any], key: str, source: str) -> Sequence[str]:
    """The strings under a key of an item, or of one text in place of a list."""
    found = item.get(key) or ()
    found = split_synonyms(found) if isinstance(found, str) else found
    if not isinstance(found, list | tuple) or not all(isinstance(word, str) for word in found):
        raise InputError(f"{source}: {key} of '{item['name']}' must be strings, not {_short(found)}")
    return found


def _offset_of(item: dict[str, Any], source: str) -> float:
    offset = item.get("offset") or 0.0
    if isinstance(offset, bool) or not isinstance(offset, int | float) or not abs(offset) <= LARGEST_OFFSET:
        raise InputError(
            f"{source}: offset of '{item['name']}' must be a number from {-LARGEST_OFFSET:g} to {LARGEST_OFFSET:g}, "
            f"not {_short(offset)}"
        )
    return float(offset)
