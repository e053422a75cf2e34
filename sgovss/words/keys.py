"""Keys of a class in lists of JSON, YAML and Python, and the columns of tables with the same meaning."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

NAMES = ("name", "title", "label", "display_name", "class", "class_name")
"""Keys of the name in an item of a list, the likeliest first."""
SYNONYMS = ("synonyms", "synonym", "aliases", "alias")
COLORS = ("color", "colour", "rgb", "color_rgb", "hex", "color_hint")
OTHERS = ("words", "offset")
# Other programs' keys that say nothing of words.
SILENT = ("id", "index", "value", "trainid", "train_id", "supercategory", "isthing", "attributes", "shape", "type")


def color_under(item: Mapping[Any, Any], key: str) -> Any:
    """What stands under a key of the colour; STAC writes its ``color_hint`` without ``#``."""
    found = item.get(key)
    return f"#{found}" if key == "color_hint" and re.fullmatch("[0-9a-fA-F]{6}", str(found)) else found


def split_synonyms(text: str) -> list[str]:
    """The synonyms in one text, separated by bars, commas or semicolons outside of round brackets."""
    return [word for word in re.split(r"[|,;](?![^()]*\))", text) if word.strip()]


def has_key(item: Any) -> bool:
    """Whether this is a mapping that says something of a class besides its name."""
    return isinstance(item, dict) and bool(item.keys() & {*SYNONYMS, *COLORS, *OTHERS})


def unread_keys(items: Iterable[Any]) -> list[str]:
    """A note that names the keys of items that nothing reads; none if all are read."""
    read = {*NAMES, *SYNONYMS, *COLORS, *OTHERS, *SILENT}
    keys = [str(key) for item in items if isinstance(item, dict) for key in item if str(key).lower() not in read]
    if not keys:
        return []
    shown = ", ".join(" ".join(key.split())[:40] for key in list(dict.fromkeys(keys))[:5])
    return [f"not read in the list of classes: {shown}; a class may have a name, synonyms and a color"]
