"""Vocabularies."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.robustness.case import Case, refused, works
from tests.robustness.cases.images import labelled, read
from tests.robustness.place import Place, noise


def words(text: str):
    """The demo with these words."""
    return lambda place: place.demo(None, text)


def file(name: str, content: bytes | str):
    """The demo with a vocabulary file of this content."""
    return lambda place: place.demo(None, str(place.write(name, content)))


def ten_thousand(*last: str):
    """A list of that many names, and more at its end."""
    lines = [f"thing number {number}" for number in range(10_000)]

    def build(place: Place) -> list[str]:
        path = place.write("words.txt", "\n".join([*lines, *last]))
        return place.demo(
            place.picture("photo.png", noise((8, 8))), str(path), "--opts", "MODEL.CLIP.TEMPLATES", "single"
        )

    return build


def of_many(folder: Path) -> None:
    labelled((8, 8))(folder)
    labels = read(folder / "out" / "photo_labels.png")
    assert labels.dtype != np.uint8 and labels.max() < 10_000


CASES: list[Case] = [
    refused(
        "no word",
        "demo",
        words(""),
        "vocabulary: no class names; give at least one, such as 'building, road'",
    ),
    refused(
        "one comma too many",
        "demo",
        words("road,,water"),
        "vocabulary: an empty class name in ''; remove the extra ',' or '|'",
    ),
    refused(
        "a word twice, but for case and hyphen",
        "demo",
        words("bare soil, Bare-Soil"),
        "vocabulary: 'Bare-Soil' stands twice (in 'bare soil' and 'Bare-Soil'); keep one",
    ),
    refused(
        "a word twice, its accent put together in two ways",
        "demo",
        words("café, cafe\u0301"),
        "vocabulary: 'cafe\u0301' stands twice (in 'café' and 'cafe\u0301'); keep one",
    ),
    refused(
        "a word that nobody sees",
        "demo",
        words("road, \u200b"),
        "vocabulary: an empty class name; remove the extra separator",
    ),
    refused(
        "a word with a control mark",
        "demo",
        file("words.txt", "road\x07\n"),
        "…/words.txt: the name 'road\\x07' holds '\\x07', which nothing shows; remove it",
    ),
    refused(
        "a word of 500 tokens",
        "demo",
        words("very " * 499 + "long, water"),
        "'very very very very very very very very …' is too long for the text encoder, which reads 64 tokens; "
        "shorten it",
    ),
    works("emoji beside words", "demo", words("🌳 tree, 🏠 house"), "a map; the legend names them", labelled((40, 60))),
    refused(
        "emoji alone, which the embedded model's text encoder does not know (CLIP's do)",
        "demo",
        words("🌳, 🏠"),
        "'🌳' is unknown to the text encoder; use another name",
    ),
    refused(
        "words that the text encoder takes for one",
        "demo",
        words("naïve art, naive art"),
        "'naive art' and 'naïve art' are the same to the text encoder; rename one of them",
    ),
    works("10,000 words", "demo", ten_thousand(), "a map, as PNG of 16 bits", of_many),
    refused(
        "10,000 words of which the last stands twice",
        "demo",
        ten_thousand("Thing Number 1"),
        "…/words.txt: 'Thing Number 1' stands twice (in 'thing number 1' and 'Thing Number 1'); keep one",
    ),
    refused(
        "a background word that is a class",
        "demo",
        lambda place: place.demo(None, "road, ground", "--background", "ground"),
        "--background: 'ground' stands twice (in 'ground' and 'ground'); keep one",
    ),
    refused(
        "vocabulary file that is not there",
        "demo",
        words("words.txt"),
        "words.txt: cannot read this vocabulary file (No such file or directory)",
    ),
    refused(
        "vocabulary file of zero bytes",
        "demo",
        file("words.txt", ""),
        "…/words.txt: no class names; give at least one, such as 'building, road'",
    ),
    refused(
        "vocabulary file that is no UTF-8",
        "demo",
        file("words.txt", "Straße".encode("latin-1")),
        "…/words.txt: this vocabulary file is no UTF-8 text; save it as such",
    ),
    refused(
        "JSON cut short",
        "demo",
        file("words.json", '["road", "wat'),
        "…/words.json: not a valid json file (Unterminated string starting at: line 1 column 10 (char 9))",
    ),
    refused(
        "JSON of 100,000 lists in each other",
        "demo",
        file("words.json", "[" * 100_000),
        "…/words.json: not a valid json file (maximum recursion depth exceeded …)",
    ),
    refused(
        "YAML with numbers for names",
        "demo",
        file("words.yaml", "- 5\n"),
        "…/words.yaml: a class is a name or {name, synonyms, color}, not 5",
    ),
]
