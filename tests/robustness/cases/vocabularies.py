"""Vocabularies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.robustness.case import Case, refused, works
from tests.robustness.cases.images import labelled, read
from tests.robustness.place import Place, noise


def names(text: str):
    """Segment with this vocabulary."""
    return lambda place: place.demo(None, text)


def file(name: str, content: bytes | str):
    """Segment with a vocabulary file of this content."""
    return lambda place: place.demo(None, str(place.write(name, content)))


def ten_thousand(*last: str):
    """Segment with a file of 10,000 class names, and ``last`` at its end."""
    lines = [f"thing number {number}" for number in range(10_000)]

    def build(place: Place) -> list[str]:
        path = place.write("words.txt", "\n".join([*lines, *last]))
        return place.demo(
            place.picture("photo.png", noise((8, 8))), str(path), "--opts", "MODEL.CLIP.TEMPLATES", "single"
        )

    return build


def of_three(folder: Path) -> None:
    labelled((40, 60))(folder)
    assert list(json.loads((folder / "out/photo_shares.json").read_text())["shares"]) == ["building", "road", "tree"]


def of_many(folder: Path) -> None:
    labelled((8, 8))(folder)
    labels = read(folder / "out" / "photo_labels.png")
    assert labels.dtype != np.uint8 and labels.max() < 10_000


CASES: list[Case] = [
    refused(
        "empty vocabulary",
        "demo",
        names(""),
        "vocabulary: no class names; give at least one, such as 'building, road'",
    ),
    refused(
        "one comma too many",
        "demo",
        names("road,,water"),
        "vocabulary: an empty class name behind 'road'; remove the extra separator",
    ),
    refused(
        "class name given twice, with other case and hyphen",
        "demo",
        names("bare soil, Bare-Soil"),
        "vocabulary: 'Bare-Soil' stands twice (in 'bare soil' and 'Bare-Soil'); keep one",
    ),
    refused(
        "class name given twice, in two Unicode forms",
        "demo",
        names("café, cafe\u0301"),
        "vocabulary: 'cafe\u0301' stands twice (in 'café' and 'cafe\u0301'); keep one",
    ),
    refused(
        "class name of invisible characters",
        "demo",
        names("road, \u2061"),
        "vocabulary: an empty class name; remove the extra separator",
    ),
    refused(
        "class name with a control character",
        "demo",
        file("words.txt", "road\x07\n"),
        "…/words.txt: the name 'road\\x07' contains '\\x07', which cannot be displayed; remove it",
    ),
    refused(
        "class name of 500 tokens",
        "demo",
        names("very " * 499 + "long, water"),
        "'very very very very very very very very …' is too long for the text encoder, which reads 64 tokens; "
        "shorten it",
    ),
    works(
        "class names with emoji",
        "demo",
        names("🌳 tree, 🏠 house"),
        "a label map; the legend shows the emoji",
        labelled((40, 60)),
    ),
    refused(
        "class names of emoji only, which the embedded model's text encoder does not support (CLIP's do)",
        "demo",
        names("🌳, 🏠"),
        "'🌳' is unknown to the text encoder; use another name",
    ),
    refused(
        "class names that are the same to the text encoder",
        "demo",
        names("naïve art, naive art"),
        "'naive art' and 'naïve art' are the same to the text encoder; rename one of them",
    ),
    works("10,000 class names", "demo", ten_thousand(), "a label map, as 16-bit PNG", of_many),
    refused(
        "10,000 words of which the last is given twice",
        "demo",
        ten_thousand("Thing Number 1"),
        "…/words.txt: 'Thing Number 1' stands twice (in 'thing number 1' and 'Thing Number 1'); keep one",
    ),
    refused(
        "background name that is also a class",
        "demo",
        lambda place: place.demo(None, "road, ground", "--background", "ground"),
        "--background: 'ground' stands twice (in 'ground' and 'ground'); keep one",
    ),
    refused(
        "vocabulary file that does not exist",
        "demo",
        names("words.txt"),
        "words.txt: cannot read this vocabulary file (No such file or directory); correct the path",
    ),
    refused(
        "empty vocabulary file",
        "demo",
        file("words.txt", ""),
        "…/words.txt: no class names; give at least one, such as 'building, road'",
    ),
    refused(
        "vocabulary file that is not UTF-8",
        "demo",
        file("words.txt", "Straße".encode("latin-1")),
        "…/words.txt: this vocabulary file is not UTF-8 text; save it as UTF-8 text, one class per line",
    ),
    refused(
        "truncated JSON vocabulary",
        "demo",
        file("words.json", '["road", "wat'),
        "…/words.json: not a valid json file (Unterminated string starting at: line 1 column 10 (char 9)); "
        "correct it, or save one class per line as .txt",
    ),
    refused(
        "JSON vocabulary of 100,000 nested lists",
        "demo",
        file("words.json", "[" * 100_000),
        "…/words.json: not a valid json file (maximum recursion depth exceeded …); correct it, or save …",
    ),
    refused(
        "YAML vocabulary with numbers as names",
        "demo",
        file("words.yaml", "- 5\n"),
        "…/words.yaml: a class is a name or {name, synonyms, color}, not 5",
    ),
    works(
        "class names separated by the full stops of Grounding DINO",
        "demo",
        names("building . road . tree ."),
        "three classes",
        of_three,
    ),
    works(
        "class names separated by the commas of Chinese and Japanese keyboards",
        "demo",
        names("building，road、tree"),
        "three classes",
        of_three,
    ),
    works("list pasted from Python", "demo", names("['building', 'road', 'tree']"), "three classes", of_three),
    works("numbered lines of classes", "demo", names("1. building\n2. road\n3. tree"), "three classes", of_three),
    works(
        "table of class names with colours",
        "demo",
        file("classes.csv", "name,r,g,b\nbuilding,1,2,3\nroad,4,5,6\ntree,7,8,9\n"),
        "three classes",
        of_three,
    ),
    works("separator behind the last class name", "demo", names("building, road, tree,"), "three classes", of_three),
    works(
        "numbered, lettered or bulleted class names",
        "demo",
        names("• building\n• road\n• tree"),
        "three classes",
        of_three,
    ),
    works(
        "class names of labelme, in UTF-16",
        "demo",
        file("labels.txt", "__ignore__\r\nbuilding\r\nroad\r\ntree\r\n".encode("utf-16")),
        "three classes; a note that labelme's '__ignore__' is left out",
        of_three,
    ),
    works(
        "colour map of QGIS as class names",
        "demo",
        file("map.clr", "1 1 2 3 255 building\n2 4 5 6 255 road\n3 7 8 9 255 tree\n"),
        "three classes with these colours",
        of_three,
    ),
    refused(
        "class name of punctuation",
        "demo",
        names("building, road, …"),
        "vocabulary: '…' has no letter, not a class name; write names as in 'building, road'",
    ),
    refused(
        "keys with values as class names",
        "demo",
        names("building=0 road=1"),
        "vocabulary: 'building=0 road=1' has an equals sign, not a class name; write names as in 'building, road'",
    ),
    refused(
        "vocabulary file of comments only",
        "demo",
        file("words.txt", "#building\n#road\n"),
        "…/words.txt: '#building' is a comment, because of the sign in front, and there is no other line; remove the "
        "sign",
    ),
    refused(
        "address in place of a vocabulary file",
        "demo",
        names("s3://bucket/words.txt"),
        "s3://bucket/words.txt: an address, not a file; save the file and give its path",
    ),
    refused(
        "class names separated by commas and semicolons",
        "demo",
        names("building, house; road, street"),
        "vocabulary: both commas and semicolons separate names in 'building, house; road, street'; separate classes "
        "with ',' and synonyms with '|'",
    ),
    refused(
        "table of class names without a column of names",
        "demo",
        file("classes.csv", "building,house\nroad,street\n"),
        "…/classes.csv: cannot tell the column of class names; call it 'name' in the first line of the table",
    ),
    refused(
        "folder where a vocabulary file is wanted",
        "demo",
        lambda place: place.demo(None, f"{place.folder}/"),
        "…: is a folder; name a file of class names in it, or write names as in 'building, road'",
    ),
]
