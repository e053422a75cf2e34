"""Candidate words of each class: those in use, those that a user lists, and the lists that come with sgovss."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sgovss.class_entries import ClassEntry
from sgovss.errors import InputError
from sgovss.vocabulary import Vocabulary, name_key
from sgovss.yaml_text import load_yaml

_LISTS = Path(__file__).resolve().parent.parent / "assets" / "candidate_words.yaml"

Choice = tuple[tuple[int, ...], ...]
"""For each class the numbers of its words, among all words of :class:`Candidates`."""


@dataclass(frozen=True)
class Candidates:
    """Words that a choice is made from.

    Attributes:
        before: the vocabulary in use.
        words: all words, each once, N of them.
        of_class: for each class the numbers of its candidates, those in use first. A word may be in several classes.
    """

    before: Vocabulary
    words: tuple[str, ...]
    of_class: Choice

    @classmethod
    def of(cls, before: Vocabulary, lists: Sequence[Sequence[str]]) -> Candidates:
        """Make the candidates of T classes from their words in use and T lists of further words.

        Words that differ only in case, hyphens or the form of accents are one word.
        """
        numbers: dict[str, int] = {}
        words: list[str] = []

        def number(word: str) -> int:
            if numbers.setdefault(name_key(word), len(words)) == len(words):
                words.append(word)
            return numbers[name_key(word)]

        in_use = [[number(word) for word in entry.scored_names] for entry in before]
        further = [[number(word) for word in more] for more in lists]
        of_class = tuple(tuple(dict.fromkeys([*a, *b])) for a, b in zip(in_use, further, strict=True))
        return cls(before, tuple(words), of_class)

    @property
    def choice(self) -> Choice:
        """The choice that the vocabulary in use is."""
        sizes = [len(entry.scored_names) for entry in self.before]
        return tuple(words[:size] for words, size in zip(self.of_class, sizes, strict=True))

    @property
    def single(self) -> Vocabulary:
        """A vocabulary with one class for each word."""
        return Vocabulary([ClassEntry(word) for word in self.words], "candidates")

    def vocabulary(self, choice: Choice, offsets: Sequence[float] | None = None) -> Vocabulary:
        """The vocabulary of a choice.

        A class keeps its name, its synonyms and its colour, but only its chosen words are scored.

        Args:
            choice: the words of each class.
            offsets: of each class; None for none.
        """
        if choice == self.choice and offsets is None:
            return self.before
        shifts = [0.0] * len(choice) if offsets is None else offsets
        colors = [tuple(color) for color in self.before.colors().tolist()]
        entries = []
        for former, chosen, color, shift in zip(self.before, choice, colors, shifts, strict=True):
            words = tuple(self.words[word] for word in chosen)
            entries.append(ClassEntry(former.name, former.synonyms, color, shift, words))
        return Vocabulary(entries, "chosen words")


def collect(before: Vocabulary, listed: Vocabulary | None, built_in: bool) -> Candidates:
    """Collect the candidates of the classes of a vocabulary.

    Args:
        before: the vocabulary in use.
        listed: further words: each class has its candidates as names. A class is found by any name.
        built_in: whether the lists that come with sgovss are used too.

    Raises:
        InputError: a listed class is none of the vocabulary, or no class has more than one candidate.
    """
    lists: list[list[str]] = [[] for _ in before]
    for entry in listed or ():
        match = before.match(ClassEntry(entry.name)) or before.match(entry)
        if match is None:
            raise InputError(
                f"--candidates: '{entry.name}' is none of the classes {', '.join(before.names)}; begin its line with "
                "the name of one of them"
            )
        lists[before.classes.index(match.entry)] += entry.names
    if built_in:
        for words, entry in zip(lists, before, strict=True):
            words += built_in_words(entry)
    candidates = Candidates.of(before, lists)
    if all(len(words) == 1 for words in candidates.of_class):
        raise InputError(
            "--candidates: each class has only the word in use, so there is nothing to choose; list further words of "
            "at least one class"
        )
    return candidates


def built_in_words(entry: ClassEntry) -> Iterable[str]:
    """The candidates that come with sgovss for a class, found by its name, else by its synonyms; none if not found."""
    known, words = _built_in()
    match = known.match(ClassEntry(entry.name)) or known.match(entry)
    return () if match is None else words[match.entry.name]


@functools.cache
def _built_in() -> tuple[Vocabulary, dict[str, tuple[str, ...]]]:
    content = load_yaml(_LISTS.read_text(encoding="utf-8"))
    known = Vocabulary([ClassEntry(item["name"], tuple(item["also"])) for item in content], "candidate_words.yaml")
    return known, {item["name"]: tuple(item["words"]) for item in content}
