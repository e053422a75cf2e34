"""Files of class names: plain text, JSON, YAML, tables, and the class lists of other programs."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path
from typing import Any

import yaml

from sgovss.errors import InputError
from sgovss.word_lists import HEADERS, read_lines, read_structure, read_text
from sgovss.word_names import LIST_SUFFIXES, checked_name
from sgovss.word_structures import WordList, inside_plain_list, without_marks

_COLOR_COLUMNS = (("r", "g", "b"), ("red", "green", "blue"))
_SYNONYM_COLUMNS = ("synonyms", "synonym")
_PATH = re.compile(r"~?[/\\]|\.{1,2}[/\\]|[A-Za-z]:[/\\]|https?:|file:")


def is_file_name(text: str) -> bool:
    """Whether a text is meant as a file: it is one, begins like a path, or ends like a file of class names.

    A text with line ends is never a file. A folder counts only if the text begins or ends like a path.
    """
    text = text.strip()
    if not text or len(text.splitlines()) > 1:
        return False
    if _exists(text):
        return True
    return bool(_PATH.match(text)) or (text.lower().endswith(LIST_SUFFIXES) and not re.search(r"[,;|]\s", text))


def _exists(text: str) -> bool:
    """Whether a text is the path of a file, or of a folder if it has a separator of folders."""
    try:
        path = Path(text).expanduser()
        return path.is_file() or (os.sep in text and path.is_dir())
    except (OSError, RuntimeError):  # too long for a path, or '~' without a home folder
        return False


def read_file(path: str | Path) -> WordList:
    """Read a file of class names. JSON and YAML are told by suffix or content, tables by suffix or their first line.

    Raises:
        InputError: the file is missing, is not text, cannot be parsed, or holds no list of class names.
    """
    if re.match(r"https?:", str(path)):
        raise InputError(f"{path}: an address on the web; save the file and give its path")
    path = Path(path).expanduser()
    text = _text(path)
    suffix, source = path.suffix.lower(), str(path)
    if suffix in (".json", ".yaml", ".yml") or text.lstrip()[:1] in ("[", "{"):
        if inside_plain_list(text) is not None:
            return read_text(text, source)
        content = _parsed(text, suffix, source)
        # YAML folds plain lines into one.
        return read_lines(text, source) if isinstance(content, str) else read_structure(content, source)
    if text.lstrip().startswith("<"):
        raise InputError(f"{path}: XML or HTML, not a list of class names; write one class per line")
    if items := re.findall(r"\bitem\s*:?\s*\{([^}]*)\}", text):
        return WordList([(_name_of_item(item, source),) for item in items])
    rows = _rows(text)
    if rows and (_has_header(rows[0]) or (len(rows) > 1 and suffix in (".csv", ".tsv"))):
        return _of_table(rows, source)
    return read_lines(text, source)


def _text(path: Path) -> str:
    if path.is_dir():
        raise InputError(
            f"{path}: is a folder; name a file of class names in it, or write names as in 'building, road'"
        )
    try:
        return without_marks(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: this vocabulary file is not UTF-8 text; save it as UTF-8 text, one class per line"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: cannot read this vocabulary file ({reason})") from error


def _parsed(text: str, suffix: str, source: str) -> Any:
    try:
        return json.loads(text) if suffix == ".json" else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        kind = "json" if suffix == ".json" else "yaml"
        raise InputError(f"{source}: not a valid {kind} file ({reason})") from error


def _name_of_item(item: str, source: str) -> str:
    """The name of an item of a label map of TensorFlow; ``name`` may be an identifier beside ``display_name``."""
    for field in ("display_name", "name"):
        if found := re.search(rf"\b{field}\s*:\s*(['\"])((?:\\.|(?!\1).)*)\1", item):
            return re.sub(r"\\(.)", r"\1", found[2])
    raise InputError(f"{source}: an item has no name; write name: 'building' in every item")


def _rows(text: str) -> list[list[str]]:
    """The cells of a table, separated by the first of tab, semicolon and comma that the first line has."""
    lines = [line for line in text.splitlines() if line.strip()]
    separator = next((sign for sign in "\t;," if lines and sign in lines[0]), ",")
    try:
        rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        return [[cell.strip() for cell in row] for row in rows]
    except csv.Error:
        return []


def _has_header(row: list[str]) -> bool:
    """Whether the first line of a text file is the header of a table with several columns."""
    cells = [cell.lower() for cell in row]
    known = {*HEADERS, *_SYNONYM_COLUMNS, *sum(_COLOR_COLUMNS, ()), "id", "index", "value", "color", "colour"}
    return len(cells) > 1 and bool({*cells} & {*HEADERS}) and {*cells} <= known


def _of_table(rows: list[list[str]], source: str) -> WordList:
    """Read a table that has a column ``name``, or no header and one column that is not of numbers.

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
    return WordList([_of_row(row, header, columns[0], f"{source}: line {i}") for i, row in enumerate(rows[1:], 2)])


def _has_words(rows: list[list[str]], column: int) -> bool:
    """Whether a column has a cell that is neither a number nor empty."""
    return not all(re.fullmatch(r"[\d.]*", cell) for row in rows for cell in row[column : column + 1])


def _of_row(row: list[str], header: list[str], column: int, source: str) -> dict[str, Any]:
    """The class in a line of a table; bars and semicolons in the cell of the name separate synonyms."""
    if len(row) < len(header):
        raise InputError(f"{source} has {len(row)} of {len(header)} columns; complete it")
    if any(row[len(header) :]):
        raise InputError(f"{source} has {len(row)} cells for {len(header)} columns; put cells with commas in quotes")
    cells = dict(zip(header, row, strict=False))
    name, *more = [checked_name(word, source) for word in re.split("[|;]", row[column])]
    return {"name": name, "synonyms": [*more, *_synonyms(cells)], **_color(cells)}


def _synonyms(cells: dict[str, str]) -> list[str]:
    words = next((cells[key] for key in _SYNONYM_COLUMNS if key in cells), "")
    return [word for word in re.split(r"[|,;]", words) if word.strip()]


def _color(cells: dict[str, str]) -> dict[str, Any]:
    """The colour in columns r, g and b, or red, green and blue."""
    for columns in _COLOR_COLUMNS:
        if all(cells.get(column, "").isdecimal() for column in columns):
            return {"color": [int(cells[column]) for column in columns]}
    return {}
