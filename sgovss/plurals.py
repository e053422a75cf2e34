"""Singular forms of English names, to compare class names whose only difference is the number."""

from __future__ import annotations

_IRREGULAR = {
    # Other words or vowels.
    "people": "person",
    "men": "man",
    "women": "woman",
    "children": "child",
    "feet": "foot",
    # f or fe becomes ves; other words in -ves, such as groves, waves and olives, are regular.
    "leaves": "leaf",
    "loaves": "loaf",
    "lives": "life",
    "wharves": "wharf",
    "halves": "half",
    "shelves": "shelf",
    "calves": "calf",
    "wolves": "wolf",
    # One s before -es.
    "buses": "bus",
    "gases": "gas",
    "canvases": "canvas",
    "oases": "oasis",
    # A final e or i that a rule would cut off or keep.
    "prairies": "prairie",
    "avalanches": "avalanche",
    "canoes": "canoe",
    "shoes": "shoe",
    "floes": "floe",
    "axes": "axe",
    "taxis": "taxi",
}

_SAME = {"gas", "canvas", "species", "series", "headquarters", "works"}
"""Singular words that end in a single s, besides those in -us and -is."""


def singular(name: str) -> str:
    """The singular of a name: its last word is changed, since English inflects only that one ("tennis courts").

    A name that is singular already is returned as it is. The rules cover regular plurals, and the irregular ones that
    occur in names of aerial classes.

    Args:
        name: lower-case words, separated by single spaces.
    """
    start, space, word = name.rpartition(" ")
    return start + space + _singular_word(word)


def _singular_word(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _SAME or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("ches", "shes", "sses", "xes", "zzes", "oes")) or _of_us(word):
        return word[:-2]
    return word[:-1]


def _of_us(word: str) -> bool:
    """Whether a word is the plural of one in -us (campuses), and not of one in -use (houses, causes, fuses)."""
    return len(word) > 5 and word.endswith("uses") and not word.endswith(("ouses", "auses"))
