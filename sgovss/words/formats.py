"""Class names in files of other programs: label maps of TensorFlow, headers of ENVI, styles of QGIS."""

from __future__ import annotations

import re
from itertools import zip_longest
from xml.etree import ElementTree

from sgovss.errors import InputError
from sgovss.words.names import checked_name
from sgovss.words.structures import WordList


def read_known(text: str, source: str) -> WordList | None:
    """The class names of a file in one of these forms; None for another text.

    Raises:
        InputError: it has this form and no class names.
    """
    if text.lstrip().startswith("<"):
        return _of_style(text, source)
    if items := re.findall(r"\bitem\s*:?\s*\{([^}]*)\}", text):
        return WordList([(_name_of_item(item, source),) for item in items])
    return _of_header(text, source) if re.match(r"\s*ENVI\s*\n", text) else None


def _of_style(text: str, source: str) -> WordList:
    """The labels and colours of a style for rasters, of QGIS or as SLD."""
    try:
        found = [element.attrib for element in ElementTree.fromstring(text).iter()]
    except ElementTree.ParseError:
        found = []
    entries = [entry for entry in found if entry.keys() >= {"label", "color"}]
    for i, entry in enumerate(entries, 1):
        if not entry["label"].strip():
            value = " ".join(entry.get("value", entry.get("quantity", "")).split())
            raise InputError(f"{source}: entry {i}, of value '{value}', has an empty label; write a class name there")
    items = [{"name": checked_name(entry["label"], source, in_list=True), "color": entry["color"]} for entry in entries]
    if not items:
        raise InputError(f"{source}: XML or HTML, not a list of class names; write one class per line")
    return WordList(items)


def _of_header(text: str, source: str) -> WordList:
    """The classes of a header of ENVI, and their colours if there is one for each."""
    fields = {name.strip().lower(): value for name, value in re.findall(r"^([\w ]+?)\s*=\s*\{([^}]*)\}", text, re.M)}
    if "class names" not in fields:
        raise InputError(f"{source}: a header of ENVI without 'class names'; write one class per line")
    names = [checked_name(name, source) for name in fields["class names"].split(",")]
    numbers = [int(number) for number in re.findall(r"\d+", fields.get("class lookup", ""))]
    colors = [numbers[i : i + 3] for i in range(0, len(numbers), 3)] if len(numbers) == 3 * len(names) else []
    return WordList([{"name": name, "color": color} for name, color in zip_longest(names, colors)])


def _name_of_item(item: str, source: str) -> str:
    """The name of an item of a label map of TensorFlow; ``name`` may be an identifier beside ``display_name``."""
    for field in ("display_name", "name"):
        if found := re.search(rf"\b{field}\s*:\s*(['\"])((?:\\.|(?!\1).)*)\1", item):
            return re.sub(r"\\(.)", r"\1", found[2])
    raise InputError(f"{source}: an item has no name; write name: 'building' in every item")
