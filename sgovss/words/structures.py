"""Class names in lists and mappings of YAML, JSON or Python."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from sgovss.errors import InputError
from sgovss.words.colors import color_of
from sgovss.words.keys import has_key

_LISTS = ("classes", "names", "labels", "categories", "class_names", "id2label")


_QUOTED = r"""(?:'[^'\n]*'|"[^"\n]*")"""
_GROUP = rf"\(\s*{_QUOTED}(?:\s*,\s*{_QUOTED})*(?:\s*,)?\s*\)"
_GROUPS = re.compile(rf"[\[(]?\s*(?:{_GROUP}(?:\s*,)?\s*){{2,}}[\])]?")


@dataclass
class WordList:
    """Class names that were read.

    Attributes:
        items: a tuple of names (the class name, then synonyms), a string, or a mapping with ``name``, ``synonyms`` and
            ``color``, for each class.
        notes: lines for the user, about readings that may not be the ones meant.
    """

    items: list[Any]
    notes: list[str] = field(default_factory=list)


def without_marks(text: str) -> str:
    """The text without byte order marks, soft hyphens and invisible marks that are copied with it, such as those of
    directions; joiners are part of words."""
    return re.sub("[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]", "", text)


def find_classes(value: Any, source: str) -> list[Any] | str:
    """Return the items of a list or mapping of YAML or JSON, or a text that stands in place of the list.

    A mapping holds the list under ``classes``, ``names``, ``labels``, ``categories``, ``class_names`` or ``id2label``,
    or it maps names to numbers, numbers to names, or names to lists of synonyms, to colours or to mappings.

    Raises:
        InputError: the value is nothing of this kind.
    """
    if isinstance(value, dict):
        keys = {str(key).lower(): key for key in reversed(value)}
        value = next((value[keys[key]] for key in _LISTS if key in keys), value)
    if isinstance(value, dict):
        value = _of_mapping(value)
    if isinstance(value, str):
        return value
    if not isinstance(value, list | tuple):
        raise InputError(
            f"{source}: expected a list of class names, at the top level or under 'classes', such as [building, road]"
        )
    return list(value)


def inside_plain_list(text: str) -> str | None:
    """The text in the square brackets of a list without quotation marks and further brackets; None if it is no such."""
    inside = re.fullmatch(r"\[([^\[\]{}]+)\]", text.strip())
    if inside is None or re.search(r"(?:^|[,;|])\s*['\"]", inside[1]):
        return None
    return inside[1].strip().removesuffix(",")


def quoted_list(text: str) -> Any:
    """The names of text such as ``"a", "b"``; None if it is not a list of quoted names."""
    try:
        names = yaml.safe_load(f"[{text}]")
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def groups(text: str) -> list[list[str]]:
    """The names of text such as ``('building', 'house'), ('road',)``, by group; none if it is no such text."""
    if not _GROUPS.fullmatch(text.strip()):
        return []
    return [[name[1:-1] for name in re.findall(_QUOTED, group)] for group in re.findall(_GROUP, text)]


def outline(text: str) -> dict[Any, Any] | None:
    """The classes of lines such as ``building:``, with a list of synonyms below each; None for another text."""
    if len(re.findall(r":[ \t]*$", text, re.MULTILINE)) < 2:
        return None
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    return found if isinstance(found, dict) and any(isinstance(below, list) for below in found.values()) else None


def parse_list(text: str, source: str) -> Any:
    """Parse a list or mapping in brackets, as in YAML, JSON or Python.

    Raises:
        InputError: it cannot be parsed.
    """
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(
            f"{source}: starts like a list but is none ({str(error).splitlines()[0]}); write names as in "
            "'building, road'"
        ) from error


def _of_mapping(mapping: dict[Any, Any]) -> Any:
    """The classes of a mapping between names and numbers or synonyms; None for another mapping."""
    keys, values = list(mapping), list(mapping.values())
    if not mapping:
        return []
    if _are_numbers(keys):
        return [mapping[key] for key in sorted(mapping, key=lambda key: int(str(key)))]
    if _are_numbers(values):
        return sorted(keys, key=lambda key: int(str(mapping[key])))
    if all(value is None for value in values):
        return keys
    if all(_is_color(value) for value in values):
        return [{"name": key, "color": value} for key, value in mapping.items()]
    if all(map(has_key, values)):
        return [{**value, "name": key} for key, value in mapping.items()]
    # A mapping with one entry is more likely a title with a list of other things.
    lists = len(mapping) > 1 and all(value is None or (isinstance(value, list) and value) for value in values)
    if lists and all(isinstance(word, str) for value in values for word in value or ()):
        return [{"name": key, "synonyms": value} for key, value in mapping.items()]
    return None


def _is_color(value: Any) -> bool:
    if isinstance(value, str):
        return color_of(value) is not None
    return isinstance(value, list) and len(value) == 3 and _are_numbers(value)


def _are_numbers(items: list[Any]) -> bool:
    return all(re.fullmatch(r"-?\d{1,18}", str(item)) for item in items)
