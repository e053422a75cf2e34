"""Files of class names: plain text, JSON, YAML, tables, and the class lists of other programs."""

from __future__ import annotations

import codecs
import json
import os
import re
from pathlib import Path
from typing import Any

import yaml

from sgovss import paths
from sgovss.errors import InputError
from sgovss.words.formats import read_known
from sgovss.words.lists import read_lines, read_structure, read_text
from sgovss.words.names import LIST_SUFFIXES, unquoted
from sgovss.words.structures import WordList, groups, inside_plain_list, without_marks
from sgovss.words.tables import is_table, read_table, table_rows

_PATH = re.compile(r"~?[/\\]|\.{1,2}[/\\]|[A-Za-z]:[/\\]|[a-z][a-z0-9+]+://")


def file_meant(text: str) -> str | None:
    """The path of the file that a text means: it is one, begins like a path, or ends like a file of class names.

    Quotation marks around the path and invisible marks are left out: Windows copies paths with U+202A in front. A text
    with line ends is never a file. A folder counts only if the text begins or ends like a path.
    """
    plain = unquoted(without_marks(text).strip())
    for path in (unquoted(text.strip()), plain):
        if path and len(path.splitlines()) == 1 and _exists(path):
            return path
    return plain if looks_like_file(plain) else None


def looks_like_file(text: str) -> bool:
    """Whether a text begins like a path, or ends like a file of class names."""
    if len(text.splitlines()) != 1:
        return False
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

    Other forms are in :mod:`sgovss.words.formats`. Text is UTF-8, or UTF-16 or UTF-32 with a byte
    order mark.

    Raises:
        InputError: the file is missing, is not text, cannot be parsed, or holds no list of class names.
    """
    if re.match(r"[a-z][a-z0-9+]+:/", str(path)):
        raise InputError(f"{path}: an address, not a file; save the file and give its path")
    path = Path(path).expanduser()
    text = _text(path)
    suffix, source = path.suffix.lower(), str(path)
    if suffix in (".json", ".yaml", ".yml") or text.lstrip()[:1] in ("[", "{"):
        if inside_plain_list(text) is not None or groups(text):
            return read_text(text, source)
        content = _parsed(text, suffix, source)
        # YAML folds plain lines into one.
        return read_lines(text, source) if isinstance(content, str) else read_structure(content, source)
    if (known := read_known(text, source)) is not None:
        return known
    rows = table_rows(text)
    if is_table(rows, suffix in (".csv", ".tsv")):
        return read_table(rows, source)
    return read_lines(text, source)


def _text(path: Path) -> str:
    if paths.is_folder(path):
        raise InputError(
            f"{path}: is a folder; name a file of class names in it, or write names as in 'building, road'"
        )
    try:
        content = path.read_bytes()
        utf_32 = content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE))
        utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not utf_32
        text = content.decode("utf-32" if utf_32 else "utf-16" if utf_16 else "utf-8")
        if text.count("\0") * 3 > len(text):  # every second byte of UTF-16 without a mark at the start
            raise UnicodeDecodeError("utf-8", content, 0, 1, "UTF-16 or UTF-32")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: this vocabulary file is not UTF-8 text; save it as UTF-8 text, one class per line"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: cannot read this vocabulary file ({reason}); correct the path") from error
    if text.startswith("{\\rtf"):
        raise InputError(f"{path}: formatted text (RTF); save it as plain text, one class per line")
    return without_marks(text)


def _parsed(text: str, suffix: str, source: str) -> Any:
    try:
        return json.loads(text) if suffix == ".json" else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        kind = "json" if suffix == ".json" else "yaml"
        raise InputError(
            f"{source}: not a valid {kind} file ({reason}); correct it, or save one class per line as .txt"
        ) from error
