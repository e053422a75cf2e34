"""Endings of file names: their case does not matter, and some formats have two."""

from __future__ import annotations

import re

_TWINS = ({".jpg", ".jpeg"}, {".tif", ".tiff"})


def same_suffix(suffix: str, other: str) -> bool:
    """Whether two suffixes, such as ``.jpg`` and ``.JPEG``, mean the same format."""
    first, second = suffix.lower(), other.lower()
    return first == second or {first, second} in _TWINS


def suffix_pattern(ending: str) -> str:
    """Return a regular expression for an ending of file names, such as ``_mask.png``, in any of its forms."""
    start, dot, suffix = ending.rpartition(".")
    twins = next((twins for twins in _TWINS if f"{dot}{suffix}".lower() in twins), {f"{dot}{suffix}"})
    return f"(?i:{re.escape(start)}(?:{'|'.join(map(re.escape, sorted(twins)))}))"
