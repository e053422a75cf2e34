"""Vocabularies: lists of classes, each with a name, synonyms and a colour."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, overload

import numpy as np

from sgovss import paths
from sgovss.class_entries import BARS_ONLY, ClassEntry, clean_name, entry_of
from sgovss.errors import InputError
from sgovss.palette import Color, distinct_colors
from sgovss.plurals import singular
from sgovss.words.files import file_meant, read_file
from sgovss.words.keys import unread_keys
from sgovss.words.lists import WordList, read_text

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


def name_key(name: str) -> str:
    """Normal form of a name, for comparisons.

    Case, hyphens, underscores, invisible characters and the Unicode form of accents are ignored.
    """
    seen = "".join(mark for mark in unicodedata.normalize("NFKC", name) if unicodedata.category(mark) != "Cf")
    return clean_name(seen.replace("-", " ").replace("_", " ")).casefold()


def _singular_key(name: str) -> str:
    """:func:`name_key`, in the singular."""
    return singular(name_key(name))


def _unprintable(name: str) -> str | None:
    """The first control character or surrogate of a name, which images and files cannot hold; None if there is none."""
    return next((mark for mark in name if unicodedata.category(mark) in ("Cc", "Cs")), None)


Words: TypeAlias = "Vocabulary | str | os.PathLike[str] | Sequence[str | ClassEntry | dict[str, Any]]"
"""Class names as Python code gives them; see :meth:`Vocabulary.of`."""


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
        notes: lines for the user, about how the names were read.

    Raises:
        InputError: there is no class, an item is no :class:`ClassEntry`, a name is empty, or a name belongs to two
            classes.
    """

    def __init__(self, classes: Iterable[ClassEntry], source: str = "vocabulary", notes: Sequence[str] = ()) -> None:
        self.classes = tuple(classes)
        self.notes = tuple(notes)
        if not self.classes:
            raise InputError(f"{source}: no class names; give at least one, such as 'building, road'")
        seen: dict[str, str] = {}
        for entry in self.classes:
            if not isinstance(entry, ClassEntry) or isinstance(entry.synonyms, str):
                raise InputError(
                    f"{source}: expected ClassEntry(name, (synonyms,)), not {entry!r:.60}; Vocabulary.of takes names"
                )
            for name in (*entry.names, *entry.words):
                if (mark := _unprintable(name)) is not None:
                    raise InputError(
                        f"{source}: the name {name[:40]!a} contains {mark!a}, which cannot be displayed; remove it"
                    )
                if not name_key(name):
                    raise InputError(f"{source}: an empty class name; remove the extra separator")
            for name in entry.names:
                if name_key(name) in seen:
                    raise InputError(
                        f"{source}: '{name}' stands twice (in '{seen[name_key(name)]}' and '{entry.name}'); keep one"
                    )
                seen[name_key(name)] = entry.name

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

    def named(self, texts: Sequence[str], key: str, owner: str) -> list[ClassEntry]:
        """The classes that a list in a config names, each text read as in :meth:`parse`, by name or synonym.

        Args:
            texts: names; a text may hold several, or be the path of a file of names.
            key: the key of the config, for messages.
            owner: what has the classes of this vocabulary, for messages.

        Raises:
            InputError: a text cannot be read, or names something else.
        """
        found = []
        for text in texts:
            if not isinstance(text, str):
                raise InputError(f"{key}: {text!r:.60} is not a class name; write names, such as ['tree', 'water']")
            whole = ClassEntry(text)
            for entry in (whole,) if self.match(whole) else self._parse_for(key, text):
                if (match := self.match(entry)) is None:
                    classes = ", ".join(self.names)
                    raise InputError(f"{key}: '{entry.name}' is not a class of {owner}; its classes are {classes}")
                found.append(match.entry)
        return found

    @cached_property
    def _by_form(self) -> dict[Callable[[str], str], dict[str, tuple[ClassEntry, str]]]:
        """Classes and the names found, by form of name: for equal names, then for those that differ in number."""
        own = [(entry, name) for entry in reversed(self.classes) for name in reversed(entry.names)]
        return {form: {form(name): (entry, name) for entry, name in own} for form in (name_key, _singular_key)}

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
            familiar = next((_COLOR_OF[name_key(name)] for name in entry.names if name_key(name) in _COLOR_OF), None)
            rows.append(entry.color if entry.color is not None else None if familiar in rows else familiar)
        stated = [entry.color for entry in self.classes if entry.color is not None]
        palette = iter(distinct_colors(rows.count(None), [*_FAMILIAR, *stated]))
        return np.asarray([next(palette) if row is None else row for row in rows], dtype=np.uint8)

    @classmethod
    def from_string(cls, text: str, source: str = "vocabulary") -> Vocabulary:
        """Parse ``"building, road, tree|forest"``: commas separate classes, bars separate synonyms.

        All rules are in :mod:`sgovss.words.lists`.

        Raises:
            InputError: the text cannot be read, or its classes are wrong.
        """
        return cls._from_words(read_text(text, source), source)

    @classmethod
    def from_file(cls, path: str | Path) -> Vocabulary:
        """Read a vocabulary file.

        A text file has one class per line, in which bars or commas separate synonyms. JSON and YAML have a list, at the
        top level or under ``classes``, whose items are strings or ``{name, synonyms, color}``. A table (CSV) has a
        column ``name``. The class lists of CAT-Seg and related projects (JSON) and of SegEarth-OV (text),
        ``coco.names`` and the labels of CVAT have one of these forms. Styles of QGIS and headers of ENVI are read too.
        See :mod:`sgovss.words.files`.

        Raises:
            InputError: the file is missing, cannot be parsed, or its classes are wrong.
        """
        return cls._from_words(read_file(path), str(Path(path).expanduser()))

    @classmethod
    def parse(cls, text: str, source: str = "vocabulary") -> Vocabulary:
        """Read a vocabulary as users give it: the path of a vocabulary file, or the class names themselves.

        Args:
            text: the path or the names.
            source: what the names are given for, for error messages.

        Raises:
            InputError: see :meth:`from_file` and :meth:`from_string`.
        """
        if (path := file_meant(text)) is not None:
            return cls.from_file(path)
        vocabulary = cls.from_string(text, source)
        if len(vocabulary) == 1 and paths.is_folder(text.strip()):
            note = f"'{text.strip()}' is taken as a class name, though a folder has this name"
            return cls(vocabulary, source, (*vocabulary.notes, note))
        return vocabulary

    @classmethod
    def _parse_for(cls, key: str, text: str) -> Vocabulary:
        """As :meth:`parse`; the message of an error starts with the key, also if it is about a file."""
        try:
            return cls.parse(text, key)
        except InputError as error:
            raise InputError(f"{key}: {str(error).removeprefix(f'{key}: ')}") from error

    @classmethod
    def of(cls, words: Words) -> Vocabulary:
        """Return the vocabulary of what is given in Python.

        Args:
            words: a vocabulary; a text or a path for :meth:`parse`; or a list or tuple of names, of
                :class:`ClassEntry`, or of ``{name, synonyms, color}``. In the names of a list, bars separate synonyms.

        Raises:
            InputError: it is none of these, or its classes are wrong.
        """
        if isinstance(words, Vocabulary):
            return words
        if isinstance(words, str):
            return cls.parse(words)
        if isinstance(words, os.PathLike):
            return cls.from_file(os.fspath(words))
        if isinstance(words, list | tuple):
            return cls(
                [item if isinstance(item, ClassEntry) else entry_of(item, "vocabulary", BARS_ONLY) for item in words],
                notes=unread_keys(words),
            )
        raise InputError(
            "vocabulary: expected class names such as 'building, road', a list of names, the path of a file or a "
            f"Vocabulary, not {type(words).__name__}"
        )

    @classmethod
    def _from_words(cls, words: WordList, source: str) -> Vocabulary:
        return cls((entry_of(item, source) for item in words.items), source, words.notes)
