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
from sgovss.word_lists import LIST_SUFFIXES, read_lines, read_text
from sgovss.word_structures import WordList, read_structure, without_marks

_NAME_COLUMNS = ("name", "class", "label", "class_name", "classname", "class name", "category", "names", "classes")
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
        content = _parsed(text, suffix, source)
        return read_text(content, source) if isinstance(content, str) else read_structure(content, source)
    if text.lstrip().startswith("<"):
        raise InputError(f"{path}: XML or HTML, not a list of class names; write one class per line")
    if items := re.findall(r"\bitem\s*\{[^}]*?\bname\s*:\s*['\"]([^'\"]+)['\"]", text):
        return WordList([(name,) for name in items])
    rows = _rows(text)
    if len(rows) > 1 and (suffix in (".csv", ".tsv") or _has_header(rows[0])):
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
    known = {*_NAME_COLUMNS, *_SYNONYM_COLUMNS, *sum(_COLOR_COLUMNS, ()), "id", "index", "value", "color", "colour"}
    return len(cells) > 1 and bool({*cells} & {*_NAME_COLUMNS}) and {*cells} <= known


def _of_table(rows: list[list[str]], source: str) -> WordList:
    """Read a table that has a column ``name``, or no header and one column that is not of numbers.

    Raises:
        InputError: the column of names cannot be told.
    """
    header = [cell.lower() for cell in rows[0]]
    column = next((header.index(name) for name in _NAME_COLUMNS if name in header), None)
    if column is None:
        width = max(map(len, rows))
        words = [
            i for i in range(width) if not all(re.fullmatch(r"[\d.]*", cell) for row in rows for cell in row[i : i + 1])
        ]
        if len(words) != 1:
            raise InputError(
                f"{source}: cannot tell the column of class names; call it 'name' in the first line of the table"
            )
        return read_lines("\n".join(row[words[0]] for row in rows if len(row) > words[0]), source)
    classes = []
    for number, row in enumerate(rows[1:], 2):
        if len(row) < len(header):
            raise InputError(f"{source}: line {number} has {len(row)} of {len(header)} columns; complete it")
        cells = dict(zip(header, row, strict=False))
        classes.append({"name": row[column], **_synonyms(cells), **_color(cells)})
    return WordList(classes)


def _synonyms(cells: dict[str, str]) -> dict[str, Any]:
    words = next((cells[key] for key in _SYNONYM_COLUMNS if key in cells), "")
    return {"synonyms": [word for word in re.split(r"[|,;]", words) if word.strip()]}


def _color(cells: dict[str, str]) -> dict[str, Any]:
    """The colour in columns r, g and b, or red, green and blue."""
    for columns in _COLOR_COLUMNS:
        if all(cells.get(column, "").isdecimal() for column in columns):
            return {"color": [int(cells[column]) for column in columns]}
    return {}
