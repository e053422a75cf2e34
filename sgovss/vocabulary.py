"""Vocabularies: lists of classes, each with a name, synonyms and a colour."""

from __future__ import annotations

import json
import re
import reprlib
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
import yaml

from sgovss.errors import InputError
from sgovss.palette import Color, distinct_colors
from sgovss.plurals import singular

# Conventional map colours; all other classes get a colour of the palette.
_FAMILIAR: dict[Color, tuple[str, ...]] = {
    (40, 110, 200): ("water", "sea", "river", "lake"),
    (25, 105, 45): ("tree", "trees", "forest", "woods", "vegetation"),
    (125, 200, 85): ("grass", "lawn", "meadow", "low vegetation"),
    (200, 65, 55): ("building", "buildings", "house", "houses", "roof"),
    (110, 110, 120): ("road", "roads", "street", "runway", "highway"),
    (190, 185, 175): ("pavement", "parking lot", "impervious surface"),
    (225, 200, 75): ("farmland", "cropland", "field", "agriculture"),
    (165, 115, 70): ("bare soil", "soil", "bare land", "bare ground", "land", "sand", "desert"),
    (255, 120, 220): ("car", "cars", "vehicle", "vehicles"),
}
_COLOR_OF = {word: color for color, words in _FAMILIAR.items() for word in words}


def _clean(name: str) -> str:
    return " ".join(str(name).split())


def _key(name: str) -> str:
    """Normal form of a name, for comparisons.

    Case, hyphens, underscores, invisible characters and the Unicode form of accents are ignored.
    """
    seen = "".join(mark for mark in unicodedata.normalize("NFKC", name) if unicodedata.category(mark) != "Cf")
    return _clean(seen.replace("-", " ").replace("_", " ")).casefold()


def _singular_key(name: str) -> str:
    """:func:`_key`, in the singular."""
    return singular(_key(name))


def _unprintable(name: str) -> str | None:
    """The first control character or surrogate of a name, which images and files cannot hold; None if there is none."""
    return next((mark for mark in name if unicodedata.category(mark) in ("Cc", "Cs")), None)


@dataclass(frozen=True)
class ClassEntry:
    """One class of a vocabulary.

    Args:
        name: class name in tables and legends.
        synonyms: other names of the class. At inference the highest score of all names is used.
        color: RGB in 0..255 for overlays; None to choose one.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    color: Color | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The name and its synonyms, in order."""
        return (self.name, *self.synonyms)


class Match(NamedTuple):
    """A class that two vocabularies have in common.

    Attributes:
        name: name or synonym of the class that was looked up.
        entry: the class that was found.
        entry_name: its name or synonym that equals ``name``, except for case, hyphens and number.
    """

    name: str
    entry: ClassEntry
    entry_name: str


class Vocabulary(Sequence[ClassEntry]):
    """An ordered list of classes. The class axis of every output has the same order.

    Args:
        classes: at least one class.
        source: how error messages refer to this vocabulary.

    Raises:
        InputError: there is no class, a name is empty, or a name belongs to two classes.
    """

    def __init__(self, classes: Iterable[ClassEntry], source: str = "vocabulary") -> None:
        self.classes = tuple(classes)
        if not self.classes:
            raise InputError(f"{source}: no class names; give at least one, such as 'building, road'")
        seen: dict[str, str] = {}
        for entry in self.classes:
            for name in entry.names:
                if (mark := _unprintable(name)) is not None:
                    raise InputError(
                        f"{source}: the name {name[:40]!a} contains {mark!a}, which cannot be displayed; remove it"
                    )
                if not _key(name):
                    raise InputError(f"{source}: an empty class name; remove the extra separator")
                if _key(name) in seen:
                    raise InputError(
                        f"{source}: '{name}' stands twice (in '{seen[_key(name)]}' and '{entry.name}'); keep one"
                    )
                seen[_key(name)] = entry.name

    def __len__(self) -> int:
        return len(self.classes)

    @overload
    def __getitem__(self, index: int) -> ClassEntry: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[ClassEntry, ...]: ...

    def __getitem__(self, index: int | slice) -> ClassEntry | tuple[ClassEntry, ...]:
        return self.classes[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.classes == other.classes

    def __hash__(self) -> int:
        return hash(self.classes)

    def __repr__(self) -> str:
        return f"Vocabulary({', '.join('|'.join(entry.names) for entry in self.classes)})"

    @property
    def names(self) -> list[str]:
        """The names of the classes, without synonyms."""
        return [entry.name for entry in self.classes]

    def match(self, entry: ClassEntry) -> Match | None:
        """Find the class of this vocabulary that has a name or synonym in common with an entry; None if none has.

        Singular and plural count as one name. Equal names are preferred, then the order of the entry's names.
        """
        for form, found in self._by_form.items():
            for name in entry.names:
                if form(name) in found:
                    return Match(name, *found[form(name)])
        return None

    @cached_property
    def _by_form(self) -> dict[Callable[[str], str], dict[str, tuple[ClassEntry, str]]]:
        """Classes and the names found, by form of name: for equal names, then for those that differ in number."""
        own = [(entry, name) for entry in reversed(self.classes) for name in reversed(entry.names)]
        return {form: {form(name): (entry, name) for entry, name in own} for form in (_key, _singular_key)}

    def knows(self, entry: ClassEntry) -> bool:
        """Whether the entry's name or one of its synonyms is in this vocabulary; singular and plural count as one."""
        return self.match(entry) is not None

    def colors(self) -> np.ndarray:
        """(T, 3) uint8 RGB colours of the classes.

        A class has its own ``color`` if one is given. Otherwise it has the conventional colour of its name, unless an
        earlier class has that one. Otherwise it has a colour of the palette that differs from all given and
        conventional colours.
        """
        rows: list[Color | None] = []
        for entry in self.classes:
            familiar = next((_COLOR_OF[_key(name)] for name in entry.names if _key(name) in _COLOR_OF), None)
            rows.append(entry.color if entry.color is not None else None if familiar in rows else familiar)
        stated = [entry.color for entry in self.classes if entry.color is not None]
        palette = iter(distinct_colors(rows.count(None), [*_FAMILIAR, *stated]))
        return np.asarray([next(palette) if row is None else row for row in rows], dtype=np.uint8)

    @classmethod
    def from_string(cls, text: str, source: str = "vocabulary") -> Vocabulary:
        """Parse ``"building, road, tree|forest"``: commas separate classes, bars separate synonyms."""
        if not text.strip():
            return cls([], source)
        return cls((_entry_from_names(part.split("|"), source) for part in text.split(",")), source)

    @classmethod
    def from_file(cls, path: str | Path) -> Vocabulary:
        """Read a vocabulary file.

        A .txt file has one class per line; empty lines and lines that start with # are skipped. A .json or .yaml file
        has a list, at the top level or under ``classes``, whose items are strings or ``{name, synonyms, color}``. In a
        line or string, bars or commas separate synonyms. The class lists of CAT-Seg and related projects (JSON) and of
        SegEarth-OV (text) have this form.

        Raises:
            InputError: the file is missing, cannot be parsed, or its classes are wrong.
        """
        path = Path(path)
        source = str(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise InputError(f"{path}: cannot read this vocabulary file ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: this vocabulary file is not UTF-8 text; save it as UTF-8") from error
        suffix = path.suffix.lower()
        if suffix == ".txt":
            lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
            return cls([_entry_from_item(line, source) for line in lines], source)
        try:
            content = json.loads(text) if suffix == ".json" else yaml.safe_load(text)
        except (ValueError, RecursionError, yaml.YAMLError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{path}: not a valid {suffix.lstrip('.') or 'YAML'} file ({reason})") from error
        if isinstance(content, dict):
            content = content.get("classes")
        if not isinstance(content, list):
            raise InputError(f"{path}: expected a list of class names, at the top level or under 'classes'")
        return cls([_entry_from_item(item, source) for item in content], source)

    @classmethod
    def parse(cls, text: str) -> Vocabulary:
        """Read a vocabulary from a command line value: the path of a vocabulary file, or the class names themselves."""
        if text.lower().endswith((".txt", ".json", ".yaml", ".yml")):
            return cls.from_file(text)
        return cls.from_string(text)


def _short(item: object) -> str:
    """A shortened ``repr``. With YAML aliases, the full text of a list from a small file could fill the memory."""
    shortened = reprlib.Repr()
    shortened.maxlevel = 2
    return shortened.repr(item)


def _entry_from_names(raw_names: Sequence[str], source: str) -> ClassEntry:
    names = [_clean(name) for name in raw_names]
    if not all(names):
        raise InputError(f"{source}: an empty class name in '{'|'.join(names)}'; remove the extra ',' or '|'")
    return ClassEntry(names[0], tuple(names[1:]))


def _entry_from_item(item: object, source: str) -> ClassEntry:
    if isinstance(item, str):
        return _entry_from_names(re.split(r"[|,]", item), source)
    if isinstance(item, dict) and isinstance(item.get("name"), str):
        color = item.get("color")
        if color is not None and (
            not isinstance(color, list | tuple)
            or len(color) != 3
            or not all(isinstance(c, int) and 0 <= c <= 255 for c in color)
        ):
            raise InputError(
                f"{source}: colour of '{item['name']}' must be three numbers from 0 to 255, not {_short(color)}"
            )
        synonyms = item.get("synonyms") or ()
        synonyms = [synonyms] if isinstance(synonyms, str) else synonyms
        if not isinstance(synonyms, list | tuple) or not all(isinstance(word, str) for word in synonyms):
            raise InputError(f"{source}: synonyms of '{item['name']}' must be strings, not {_short(synonyms)}")
        entry = _entry_from_names([item["name"], *synonyms], source)
        return ClassEntry(entry.name, entry.synonyms, tuple(color) if color is not None else None)
    raise InputError(f"{source}: a class is a name or {{name, synonyms, color}}, not {_short(item)}")
