"""Tables of class names."""

from __future__ import annotations

import csv
import re
from typing import Any

from sgovss.errors import InputError
from sgovss.words.colors import color_of
from sgovss.words.keys import COLORS, SYNONYMS, color_under, split_synonyms
from sgovss.words.lines import HEADERS
from sgovss.words.lists import read_lines
from sgovss.words.names import checked_name
from sgovss.words.structures import WordList

_COLOR_COLUMNS = (("r", "g", "b"), ("red", "green", "blue"))


def table_rows(text: str) -> list[list[str]]:
    """The cells of a table, separated by the first of tab, semicolon and comma that the first line has, or of Markdown.

    Returns:
        The lines without empty ones; none if the text is no table.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and re.fullmatch(r"\s*\|[\s:|-]+\|\s*", lines[1]):
        return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in (lines[0], *lines[2:])]
    separator = next((sign for sign in "\t;," if lines and sign in lines[0]), ",")
    try:
        rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        return [[cell.strip() for cell in row] for row in rows]
    except csv.Error:
        return []


def is_table(rows: list[list[str]], named_so: bool) -> bool:
    """Whether the rows are a table of class names, by their header, or because the file is named so."""
    return bool(rows) and (_has_header(rows[0]) or (len(rows) > 1 and named_so))


def _has_header(row: list[str]) -> bool:
    """Whether the first line of a text file is the header of a table with several columns."""
    cells = [cell.lower() for cell in row]
    known = {*HEADERS, *SYNONYMS, *sum(_COLOR_COLUMNS, ()), *COLORS, "id", "index", "value", "a", "alpha"}
    return len(cells) > 1 and bool({*cells} & {*HEADERS}) and {*cells} <= known


def read_table(rows: list[list[str]], source: str) -> WordList:
    """Read the rows of a table that has a column ``name``, or no header and one column that is not of numbers.

    Raises:
        InputError: the column of names cannot be told.
    """
    header = [cell.lower() for cell in rows[0]]
    titled = [header.index(name) for name in HEADERS if name in header]
    if titled and len(rows) == 1:
        raise InputError(f"{source}: the table has a header and no classes; write one class per line")
    columns = [i for i in titled or range(max(map(len, rows))) if _has_words(rows[1 if titled else 0 :], i)]
    if not columns or (not titled and len(columns) > 1):
        raise InputError(
            f"{source}: cannot tell the column of class names; call it 'name' in the first line of the table"
        )
    if not titled:
        return read_lines("\n".join(row[columns[0]] for row in rows if len(row) > columns[0]), source)
    items = [_of_row(row, header, columns[0], f"{source}: line {i}") for i, row in enumerate(rows[1:], 2)]
    unread = [text for row in rows[1:] if (text := _unread_color(dict(zip(header, row, strict=False))))]
    return WordList(items, [f"'{text}' is not read as a colour; write one such as #ff0000" for text in unread[:1]])


def _has_words(rows: list[list[str]], column: int) -> bool:
    """Whether a column has a cell that is neither a number nor empty."""
    return not all(re.fullmatch(r"[\d.]*", cell) for row in rows for cell in row[column : column + 1])


def _of_row(row: list[str], header: list[str], column: int, source: str) -> dict[str, Any]:
    """The class in a line of a table; bars and semicolons in the cell of the name separate synonyms."""
    if len(row) < len(header):
        raise InputError(f"{source} has {len(row)} of {len(header)} columns; complete this line")
    if any(row[len(header) :]):
        raise InputError(f"{source} has {len(row)} cells for {len(header)} columns; put cells with commas in quotes")
    cells = dict(zip(header, row, strict=False))
    synonyms = [word for key in SYNONYMS for word in split_synonyms(cells.get(key, ""))]
    name, *more = [checked_name(word, source) for word in re.split("[|;]", row[column])]
    return {"name": name, "synonyms": [*more, *synonyms], **_color(cells)}


def _color(cells: dict[str, str]) -> dict[str, Any]:
    """The colour in columns r, g and b, or red, green and blue, or in one column; nothing without such a column."""
    for columns in _COLOR_COLUMNS:
        if all(cells.get(column, "").isdecimal() for column in columns):
            return {"color": [int(cells[column]) for column in columns]}
    return next(({"color": text} for key in COLORS if color_of(text := color_under(cells, key) or "")), {})


def _unread_color(cells: dict[str, str]) -> str:
    """What stands in place of a colour and is none; empty if nothing does."""
    columns = next((found for found in _COLOR_COLUMNS if set(found) <= cells.keys()), COLORS)
    return "" if _color(cells) else " ".join(filter(None, (cells.get(column) for column in columns)))
