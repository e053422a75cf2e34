"""The lines of class names: comments, bullets, a title in the first line, separators and numbers beside the names."""

from __future__ import annotations

import re

from sgovss.errors import InputError
from sgovss.words.numbers import without_numbers
from sgovss.words.structures import without_marks

HEADERS = ("name", "class", "label", "class_name", "classname", "class name", "category", "names", "classes")
"""Titles of the column of names, the likeliest first."""

COMMAS = ",，、،﹐﹑､︐︑፣᠂߸՝⸲⹁"
_SEPARATORS = f"{COMMAS};；؛﹔\u037e"
_COMMENT = re.compile(rf"(?:\s|(?<=[{_SEPARATORS}]))(?:#|//)\s.*$")
_BULLET = re.compile(r"(?:[-*+•‣▪▫●○◦·–—■□►➤→✓✔☐☑]\s+(?:\[[ xX]?\]\s+)?|\[[ xX]?\]\s+)")
_COUNT = re.compile(r"\d+[.)]\s+")
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_HEX_AND_NAME = re.compile(r"#[0-9a-fA-F]{6}[\s:,;]+[^\W\d]")  # a colour, not a comment
_ID_HEADERS = ("id", "index", "value", "number", "no", "no.", "class_id", "label_id", "#")
_MOST_WORDS = 3  # of a class; more in the first line are a sentence about the list
_LABELME_IGNORED = "__ignore__"  # the first line of its labels.txt, before _background_


def plain_text(text: str) -> str:
    """The text without invisible marks and the asterisks of bold words."""
    return _BOLD.sub(r"\1", without_marks(text))


def without_comment(line: str) -> str:
    """A line without the comment behind its words."""
    return _COMMENT.sub("", line)


def is_comment(line: str) -> bool:
    """Whether a line without white space in front is a comment; a name behind a colour such as ``#ff0000`` is none."""
    return line.startswith(("#", "//")) and not _HEX_AND_NAME.match(line)


def text_lines(text: str, source: str) -> list[str]:
    """The lines of a text without comments, empty lines, white space at the ends, and bullets of all lines.

    Raises:
        InputError: every line is a comment.
    """
    stripped = [line for line in (without_comment(line).strip() for line in text.splitlines()) if line]
    lines = [line for line in stripped if not is_comment(line)]
    if stripped and not lines:
        raise InputError(
            f"{source}: '{stripped[0][:60]}' is a comment, because of the sign in front, and there is no other line; "
            "remove the sign"
        )
    return without_bullets(lines)


def without_bullets(lines: list[str]) -> list[str]:
    """Leave out the bullets of all lines, of which some may be numbers such as ``1.``."""
    bullets = [_BULLET.match(line) or _COUNT.match(line) for line in lines]
    if any(_BULLET.match(line) for line in lines) and all(bullets):
        return [line[bullet.end() :] for line, bullet in zip(lines, bullets, strict=True) if bullet]
    return lines


def check_comment(text: str, source: str) -> None:
    """Refuse a text of one line in which a comment seems to hold classes.

    Raises:
        InputError: a separator stands behind the sign of a comment.
    """
    comment = _COMMENT.search(text)
    if comment and len(text.splitlines()) == 1 and re.search(f"[{_SEPARATORS}\t]", comment[0]):
        sign = comment[0].split()[0]
        raise InputError(f"{source}: '{sign}' begins a comment, which would hide names behind it; remove '{sign}'")


def without_header(lines: list[str]) -> tuple[list[str], list[str]]:
    """Leave out a title or the header of a table with one column in the first of several lines; return notes too."""
    if len(lines) < 2:
        return lines, []
    if re.fullmatch(r"[^:,]+:", lines[0]):
        # With other lines of this kind it is a class, unless it says what it is.
        only = not any(line.endswith(":") for line in lines[1:])
        kept = lines[1:] if only or lines[0][:-1].strip().lower() in HEADERS else lines
        return without_bullets([line.removesuffix(":").rstrip() for line in kept]), []
    if lines[0] == _LABELME_IGNORED:
        plain = ["background" if line == "_background_" else line for line in lines[1:]]
        return plain, [f"the first line, '{lines[0]}', is left out, because labelme ignores this label"]
    if lines[0].lower() in HEADERS:
        return without_bullets(lines[1:]), [f"the first line, '{lines[0]}', is left out as a title"]
    if _is_header(lines):
        return lines[1:], [f"the first line, '{lines[0]}', is left out as a title"]
    listed = without_bullets(lines[1:])
    if listed == lines[1:]:
        return lines, []
    if lines[0].endswith((".", "!")) or len(lines[0].split()) > _MOST_WORDS:
        return listed, [f"the first line, '{lines[0][:60]}', is left out, because it has no bullet"]
    return [lines[0], *listed], [f"the first line, '{lines[0]}', is a class, though it has no bullet"]


def _is_header(lines: list[str]) -> bool:
    """Whether the first line is the header of two columns that spaces separate, names and numbers."""
    titles = lines[0].lower().split()
    if len(titles) != 2 or not set(titles) & set(HEADERS) or not set(titles) & set(_ID_HEADERS):
        return False
    number = r"\S.*\s-?\d+" if titles[1] in _ID_HEADERS else r"-?\d+\s.*\S"
    return all(re.fullmatch(number, line) for line in lines[1:])


def plain_lines(lines: list[str]) -> tuple[list[str], list[str]]:
    """Leave out separators at the ends of the lines of a wrapped list, and numbers in front of them or behind."""
    return without_numbers([re.sub(rf"\s*[{COMMAS};；؛]$", "", line) for line in lines], in_lines=True)
