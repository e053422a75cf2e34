"""Numbers and colours that stand beside the class names of pasted lists."""

from __future__ import annotations

import re
from typing import Any

from sgovss.word_names import checked_name

_NUMBERED = (
    re.compile(r"\(?(?P<number>\d+)(?:[.):,、．]\s*|\s*=\s*|\t)(?P<name>\D.*)"),
    re.compile(r"(?P<name>.*?\D)\s*[:=]\s*(?P<number>\d+)"),
)
_NUMBERED_LINE = re.compile(r"(?P<number>\d+)\s+(?P<name>\D.*)")
_COLORED_LINE = re.compile(
    r"(?P<name>.+?)\s*[:,;\s]\s*(?P<color>\d{1,3}\s*[,;\s]\s*\d{1,3}\s*[,;\s]\s*\d{1,3})(?::[^:]*:[^:]*)?"
)


def without_numbers(parts: list[str], in_lines: bool) -> tuple[list[str], list[str]]:
    """Leave out rising numbers at all classes; return the names, and notes.

    In lines, a space may separate number and name. As "1 storey" may be a name too, this gives a note.
    """
    for pattern in _NUMBERED:
        names, found = _numbered(parts, pattern)
        if found:
            return names, []
    names, found = _numbered(parts, _NUMBERED_LINE)
    if in_lines and found and len(set(names)) == len(names):
        return names, ["the numbers in front of the names are left out"]
    return parts, []


def _numbered(parts: list[str], pattern: re.Pattern[str]) -> tuple[list[str], bool]:
    """The names without their numbers, if every part matches the pattern and each number is larger than the last."""
    matches = [match for part in parts if (match := pattern.fullmatch(part.strip()))]
    numbers = [int(match["number"][:9]) for match in matches]
    if len(parts) < 2 or len(matches) < len(parts) or numbers != sorted(set(numbers)):
        return parts, False
    names = [match["name"] for match in matches]
    with_gaps = numbers[-1] - numbers[0] >= len(numbers)
    # "5 storey block" is a name, and so are "zone: 1" and "zone: 5".
    if (pattern is _NUMBERED_LINE and numbers[0] > 1) or (with_gaps and len(set(names)) < len(names)):
        return parts, False
    return names, True


def colored_lines(lines: list[str], source: str) -> list[dict[str, Any]]:
    """The classes of several lines that all end with a colour; none if they do not."""
    matches = [match for line in lines if (match := _COLORED_LINE.fullmatch(line))]
    if len(lines) < 2 or len(matches) < len(lines):
        return []
    names, _ = without_numbers([match["name"] for match in matches], in_lines=True)
    colors = [[int(number) for number in re.findall(r"\d+", match["color"])] for match in matches]
    return [{"name": checked_name(name, source), "color": color} for name, color in zip(names, colors, strict=True)]
