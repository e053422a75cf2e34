"""Names of classes: the quotation marks around them, and what cannot be a name."""

from __future__ import annotations

import re
import unicodedata

from sgovss.errors import InputError
from sgovss.words.colors import has_color

LIST_SUFFIXES = (
    ".txt", ".json", ".yaml", ".yml", ".csv", ".tsv", ".names", ".pbtxt", ".lst", ".list", ".md", ".xml", ".toml",
    ".ini", ".cfg", ".data", ".py", ".xlsx", ".xls", ".ods", ".docx", ".pdf", ".qml", ".geojson", ".jsonl",
    ".doc", ".rtf", ".odt", ".html", ".htm", ".hdr", ".clr", ".sld", ".qlr", ".lyr", ".lyrx", ".dbf", ".shp", ".gpkg",
    ".kml", ".npy", ".pkl", ".pickle", ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".zip", ".parquet", ".log", ".text",
)  # fmt: skip
"""Endings of files that people keep class names in. No class name ends like this."""

_QUOTES = {
    (marks[0], marks[1])
    for marks in (
        '""', "''", "“”", "„“", "„”", "””", "‘’", "‚‘", "‚’", "’’", "«»", "»«", "»»", "‹›", "›‹", "「」", "＂＂", "``",
        "**",
    )
}  # fmt: skip


def checked_name(text: str, source: str, in_list: bool = False) -> str:
    """One name, without quotation marks around it. Only names of a list in a file may have square or curly brackets.

    Raises:
        InputError: it is only a number or punctuation, has brackets or quotation marks without a partner, an equals
            sign, the sign of a comment or a bullet in front or a colour, or is the name of a file.
    """
    name = unquoted(text.strip())
    problem = None
    if re.fullmatch(r"[-−]?[\d.\s]*\d[\d.\s]*", name):
        problem = "is a number"
    elif _has_single_marks(name) or _is_quoted(name) or (set(name) & set("[]{}") and not in_list):
        problem = "has brackets or quotation marks that do not pair"
    elif has_color(name):
        problem = "has a colour, which only a list with a colour in every line may have"
    elif name.startswith(("#", "//")):
        problem = "begins with the sign of a comment"
    elif re.match(r"[-*+•]\s", name):
        problem = "begins with a bullet"
    elif "=" in name:
        problem = "has an equals sign"
    elif name and all(mark.isspace() or unicodedata.category(mark)[0] == "P" for mark in name):
        problem = "has no letter"
    elif name.lower().endswith(LIST_SUFFIXES) and " " not in name:
        problem = "is the name of a file; give one file alone"
    if problem is not None:
        raise InputError(f"{source}: '{name[:60]}' {problem}, not a class name; write names as in 'building, road'")
    return name


def _has_single_marks(name: str) -> bool:
    """Whether brackets or quotation marks of a name have no partner."""
    return any(name.count(first) != name.count(last) for first, last in ("()", "[]", "{}")) or name.count('"') % 2 == 1


def _is_quoted(name: str) -> bool:
    return len(name) > 1 and name[0] == name[-1] and name[0] in "'\"`"


def unquoted(text: str) -> str:
    """Remove quotation marks around a text that has no such marks inside."""
    inner = text[1:-1]
    for first, last in _QUOTES:
        # An apostrophe between two letters is no quotation mark.
        marks = re.sub(rf"(?<=\w){last}(?=\w)", "", inner) if last in "'’" else inner
        if len(text) > 1 and text[0] == first and text[-1] == last and first not in marks and last not in marks:
            return inner.strip()
    return text
