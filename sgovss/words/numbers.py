"""Numbers that stand beside the class names of pasted lists."""

from __future__ import annotations

import re
from string import ascii_lowercase

_NUMBERED = (
    re.compile(
        r"(?:(?:class|label|category|value|id)?[ _#]*)?\(?(?P<number>-?\d+)"
        r"(?:[.):,、．]\s*|\s*=\s*|\t|\s+[-–—]\s+)(?P<name>\D.*)",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<name>.*?\D)\s*[:=(]\s*(?P<number>-?\d+)\)?"),
)
_NUMBER_FIRST = re.compile(r"(?P<number>-?\d+)\s+(?P<name>\D.*)")
_NUMBER_LAST = re.compile(r"(?P<name>.*?[^\d\s,;])(?:\s+|\s*[,;]\s*)(?P<number>-?\d+)")
_EQUAL = re.compile(r"(?P<number>[01])[.)]\s+(?P<name>\D.*)")  # Markdown numbers such lists itself
_IGNORED = 255  # the usual value of pixels that are left out
_LETTERED = re.compile(r"\(?(?P<letter>[a-z])[.)]\s+(?P<name>.+)", re.IGNORECASE)


def without_numbers(parts: list[str], in_lines: bool) -> tuple[list[str], list[str]]:
    """Leave out different numbers at all classes, or the letters of a numbered list; return the names, and notes.

    In lines, a space may separate number and name. As "1 storey" may be a name too, this gives a note.
    """
    for pattern in _NUMBERED:
        if (names := _numbered(parts, pattern)) is not None:
            return names, []
    letters = [match for part in parts if (match := _LETTERED.fullmatch(part.strip()))]
    if len(parts) > 1 and [match["letter"].lower() for match in letters] == list(ascii_lowercase[: len(parts)]):
        return [match["name"] for match in letters], []
    for pattern, where in ((_NUMBER_FIRST, "in front of"), (_NUMBER_LAST, "behind")) if in_lines else ():
        names = _numbered(parts, pattern)
        if names is not None and len(set(names)) == len(names):
            return names, [f"the numbers {where} the names are left out"]
    equal = [match for part in parts if (match := _EQUAL.fullmatch(part.strip()))]
    if len(parts) > 1 and len(equal) == len(parts) and len({match["number"] for match in equal}) == 1:
        return [match["name"] for match in equal], []
    return parts, _kept_numbers(parts) if in_lines else []


def _kept_numbers(parts: list[str]) -> list[str]:
    """A note on numbers from 0 or 1 with gaps behind different names, which may be part of them; none without any."""
    found = [match for part in parts if (match := _NUMBER_LAST.fullmatch(part.strip()))]
    numbers, names = {int(match["number"][:9]) for match in found}, {match["name"] for match in found}
    if len(parts) < 2 or min(len(found), len(numbers), len(names)) < len(parts) or min(numbers) > 1:
        return []
    apart = "{name}: {number}".format_map(found[0].groupdict())
    return [f"the number in '{parts[0]}' is part of the name; if not, write '{apart}' and so on"]


def _numbered(parts: list[str], pattern: re.Pattern[str]) -> list[str] | None:
    """The names without their numbers, if every part matches the pattern and no number stands twice; otherwise None."""
    matches = [match for part in parts if (match := pattern.fullmatch(part.strip()))]
    numbers = sorted({int(match["number"][:9]) for match in matches})
    if len(parts) < 2 or len(matches) < len(parts) or len(numbers) < len(parts):
        return None
    names = [match["name"] for match in matches]
    last = numbers[-2] + 1 if numbers[-1] == _IGNORED else numbers[-1]
    with_gaps = last - numbers[0] >= len(numbers)
    # "5 storey block" and "route 66" are names, and so are "zone: 1" and "zone: 5".
    if pattern in (_NUMBER_FIRST, _NUMBER_LAST) and numbers[0] > 1:
        return None
    return None if with_gaps and (pattern is _NUMBER_LAST or len(set(names)) < len(names)) else names
