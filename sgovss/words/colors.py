"""Colours that stand beside the class names of lists."""

from __future__ import annotations

import re
from typing import NamedTuple

from sgovss.palette import Color

_APART = r"\s*[:,;\s]\s*"
_RGB = rf"\d{{1,3}}{_APART}\d{{1,3}}{_APART}\d{{1,3}}"
_HEX = r"#[0-9a-fA-F]{6}"
_NAME = r"(?P<name>[^\d\s].*)"
_COLORED_LINES = tuple(
    re.compile(pattern)
    for pattern in (
        # Behind the name, with the opacity 255, or with the parts and actions of CVAT.
        rf"(?P<name>.+?)\s*[=:,;\s]\s*(?P<color>{_RGB}){_APART}255",
        rf"(?P<name>.+?)\s*[=:,;\s]\s*(?P<color>{_RGB})(?::[^:]*:[^:]*)?",
        rf"(?P<name>.+?)\s*[=:,;\s]\s*(?P<color>{_HEX})",
        rf"(?P<name>.+?)\s*[=:,;\s]\s*(?:rgb)?[(\[]\s*(?P<color>{_RGB})\s*[)\]]",
        # In front of it: QGIS's 'value, red, green, blue, opacity, label' and its like.
        rf"(?P<value>\d+){_APART}(?P<color>{_RGB}){_APART}\d{{1,3}}{_APART}{_NAME}",
        rf"(?P<value>\d+){_APART}(?P<color>{_RGB}){_APART}{_NAME}",
        rf"\(?(?P<color>{_RGB}){_APART}255{_APART}{_NAME}",
        rf"[(\[]?(?P<color>{_RGB})[)\]]?{_APART}{_NAME}",
        rf"(?P<color>{_HEX}){_APART}{_NAME}",
    )
)
_BESIDE = re.compile(
    rf"(?:^(?:{_RGB}|{_HEX})\s|\s\d{{1,3}}[\s,;]+\d{{1,3}}[\s,;]+\d{{1,3}}$|{_HEX}$|\brgba?\([^()]*\)$|[(\[]\s*{_RGB}\s*[)\]]$)"
)
_QGIS_HEAD = re.compile(r"INTERPOLATION:\w+")


class Colored(NamedTuple):
    """A class name with its colour."""

    name: str
    color: Color


def color_of(text: str) -> Color | None:
    """The colour that a text states, such as ``#ff0000``, ``255 0 0`` or ``rgb(255, 0, 0)``; None for another text."""
    text = text.strip()
    if re.fullmatch(rf"{_HEX}(?:[0-9a-fA-F]{{2}})?", text):
        red, green, blue = bytes.fromhex(text[1:7])
        return red, green, blue
    inner = re.fullmatch(rf"(?:rgba?)?\s*[(\[]?\s*({_RGB})(?:{_APART}[\d.]+)?\s*[)\]]?", text)
    numbers = [int(number) for number in re.findall(r"\d+", inner[1])] if inner else []
    return (numbers[0], numbers[1], numbers[2]) if numbers and max(numbers) <= 255 else None


def has_color(name: str) -> bool:
    """Whether a name begins or ends with a colour."""
    return _BESIDE.search(name) is not None


def colored_lines(lines: list[str]) -> list[Colored]:
    """The names and colours of several lines that all have a colour at the same place; none if they do not."""
    lines = [" ".join(line.split()) for line in lines if not _QGIS_HEAD.fullmatch(line)]
    for pattern in _COLORED_LINES:
        matches = [match for line in lines if (match := pattern.fullmatch(line))]
        values = [match.groupdict().get("value") for match in matches]
        if len(matches) < len(lines) or not _rise(values) or (len(lines) == 1 and not _is_one(matches[0])):
            continue
        found = [(match["name"], color_of(match["color"])) for match in matches]
        colored = [Colored(name, color) for name, color in found if color is not None]
        if len(colored) == len(found):
            return colored
    return []


def _is_one(match: re.Match[str]) -> bool:
    """Whether one line is a class with a colour. Commas would separate classes, except in brackets and for CVAT."""
    around = re.sub(r"[(\[].*|:[^:]*:[^:]*:[^:]*$", "", match[0])
    return re.fullmatch(r"[^\W\d][\w '&/()+-]*", match["name"]) is not None and not re.search("[,;]", around)


def _rise(values: list[str | None]) -> bool:
    """Whether the values in front of the lines rise, where there are any."""
    numbers = [int(value) for value in values if value is not None]
    return numbers == sorted(set(numbers))
