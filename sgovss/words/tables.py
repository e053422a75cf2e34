"""Tables of class names."""

from __future__ import annotations

import csv
import re
from typing import Any, NamedTuple

from sgovss.errors import InputError
from sgovss.words.colors import color_of
from sgovss.words.keys import COLORS, SILENT, SYNONYMS, color_under, split_synonyms
from sgovss.words.lines import HEADERS, is_comment, without_comment
from sgovss.words.lists import read_lines
from sgovss.words.names import checked_name
from sgovss.words.structures import WordList

_COLOR_COLUMNS = (("r", "g", "b"), ("red", "green", "blue"))


class Row(NamedTuple):
    """A row of a table, and the line of the file that it ends in."""

    line: int
    cells: list[str]


def table_rows(text: str) -> list[Row]:
    """The cells of a table, separated by the first of tab, semicolon and comma that the first line has, or of Markdown.

    Line ends in quotation marks are part of a cell. Left out are comments, and Excel's ``sep=;`` in the first line,
    which names the separator.

    Returns:
        The rows without empty ones; none if the text is no table.
    """
    lines = text.splitlines()
    stated = re.fullmatch(r"sep=([\t;,|])", lines[0]) if lines else None
    start = 1 if stated else 0
    while start < len(lines) and (not lines[start].strip() or _is_remark(lines[start])):
        start += 1
    filled = [Row(i, [line]) for i, line in enumerate(lines[start:], start + 1) if line.strip()]
    first = filled[0].cells[0] if filled else ""
    if len(filled) > 1 and re.fullmatch(r"\s*\|[\s:|-]+\|\s*", filled[1].cells[0]):
        rows = [Row(i, line.strip().strip("|").split("|")) for i, (line,) in (filled[0], *filled[2:])]
    else:
        sign = stated[1] if stated else next((sign for sign in "\t;," if sign in first), ",")
        rows = _cells([f"{line}\n" for line in lines[start:]], start, sign)
    rows = [Row(i, [without_comment(cell).strip() for cell in cells]) for i, cells in rows]
    rows = [row for row in rows if any(row.cells)]
    return [*rows[:1], *(row for row in rows[1:] if not _is_comment(row.cells))]


def _is_remark(line: str) -> bool:
    """Whether the first line is a comment, not a header such as ``#id,name`` or a row such as ``#1,building``."""
    titles = {title.strip().lower() for title in re.split("[\t;,]", line)}
    return is_comment(line.strip()) and not re.match(r"\s*#\d", line) and (len(titles) < 2 or not titles & {*HEADERS})


def _is_comment(cells: list[str]) -> bool:
    """Whether a row behind the first one is a comment. A number may have ``#`` in front."""
    return bool(re.match(r"#\s|//", cells[0])) or (len(cells) == 1 and is_comment(cells[0]))


def _cells(lines: list[str], start: int, separator: str) -> list[Row]:
    """The rows of lines, which end with a line end; ``start`` lines stand in front of them."""
    try:
        reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
        return [Row(start + reader.line_num, cells) for cells in reader]
    except csv.Error:  # such as a quotation mark without a partner, which then ends with its line
        pass
    try:
        parsed = [csv.reader([line], delimiter=separator, skipinitialspace=True) for line in lines]
        return [Row(i, cells) for i, rows in enumerate(parsed, start + 1) for cells in rows]
    except csv.Error:
        return []


def is_table(rows: list[Row], named_so: bool) -> bool:
    """Whether the rows are a table of class names, by their header, or because the file is named so."""
    return bool(rows) and (_has_header(rows[0].cells) or (len(rows) > 1 and named_so))


def _has_header(row: list[str]) -> bool:
    """Whether the first line of a text file is the header of a table with several columns."""
    cells = [cell.lower() for cell in row]
    known = {*HEADERS, *SYNONYMS, *sum(_COLOR_COLUMNS, ()), *COLORS, "id", "index", "value", "a", "alpha"}
    return len(cells) > 1 and bool({*cells} & {*HEADERS}) and {*cells} <= known


def read_table(rows: list[Row], source: str) -> WordList:
    """Read the rows of a table that has a column ``name``, or no header and one column that is not of numbers.

    Raises:
        InputError: the column of names cannot be told.
    """
    table = [row.cells for row in rows]
    header = [cell.lower() for cell in table[0]]
    titled = [header.index(name) for name in HEADERS if name in header]
    if titled and len(rows) == 1:
        raise InputError(f"{source}: the table has a header and no classes; write one class per line")
    columns = [i for i in titled or range(max(map(len, table))) if _has_words(table[1 if titled else 0 :], i)]
    if not columns or (not titled and len(columns) > 1):
        raise InputError(
            f"{source}: cannot tell the column of class names; call it 'name' in the first line of the table"
        )
    if not titled:
        return read_lines("\n".join(_untitled(row, columns[0], source) for row in rows), source)
    items = [_of_row(cells, header, columns[0], f"{source}: line {line}") for line, cells in rows[1:]]
    unread = [text for row in table[1:] if (text := _unread_color(dict(zip(header, row, strict=False))))]
    notes = [f"'{text}' is not read as a colour; write one such as #ff0000" for text in unread[:1]]
    return WordList(items, [*notes, *_unread_columns(table, columns[0])])


def _untitled(row: Row, column: int, source: str) -> str:
    """The name in a row of a table without a header."""
    name = " ".join(" ".join(row.cells[column : column + 1]).split())
    if not name:
        raise InputError(
            f"{source}: line {row.line} has no class name in column {column + 1}; write one there, or remove the line"
        )
    return name


def _unread_columns(table: list[list[str]], column: int) -> list[str]:
    """A note that names the columns of words that nothing reads; none if all are read."""
    read = {*SYNONYMS, *COLORS, *sum(_COLOR_COLUMNS, ()), *SILENT}
    others = [
        title
        for i, title in enumerate(table[0])
        if i != column and title.lower() not in read and _has_words(table[1:], i)
    ]
    shown = ", ".join(f"'{' '.join(title.split())[:40]}'" for title in others[:5])
    return [f"columns of the table that are not read: {shown}; name, synonyms and color are read"] if others else []


def _has_words(rows: list[list[str]], column: int) -> bool:
    """Whether a column has a cell that is neither a number nor empty."""
    return not all(re.fullmatch(r"[-#]?[\d.]*", cell) for row in rows for cell in row[column : column + 1])


def _of_row(row: list[str], header: list[str], column: int, source: str) -> dict[str, Any]:
    """The class in a line of a table; bars and semicolons in the cell of the name separate synonyms."""
    if len(row) < len(header):
        raise InputError(f"{source} has {len(row)} of {len(header)} columns; complete this line")
    if any(row[len(header) :]):
        raise InputError(f"{source} has {len(row)} cells for {len(header)} columns; put cells with commas in quotes")
    if not all(word.strip() for word in re.split("[|;]", row[column])):
        raise InputError(f"{source} has an empty class name; write one into the column '{header[column]}'")
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
