"""The values of options as Python code gives them, brought into the form of the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from sgovss.errors import InputError

_FLAGS = ("mosaic", "stack", "fit_gcps", "edges", "confidence", "probabilities", "resume", "restart", "finish")
_NUMBERS = ("threshold", "gsd", "simplify", "overlap")
_SEPARATORS = {
    "bands": ",",
    "stretch": ",",
    "bounds": ",",
    "views": ",",
    "asset": ",",
    "square": ",",
    "background": "|",
}
_PRECISIONS = ("auto", "float32", "bfloat16")


def read_value(name: str, value: Any) -> Any:
    """Bring the value of an option into the form of the command line.

    Args:
        name: of the option, a field of :class:`sgovss.mapping.options.SegmentOptions`.
        value: as given, not None.

    Raises:
        InputError: its type is wrong.
    """
    if name in _FLAGS:
        return value if isinstance(value, bool) else _refuse(name, value, "True or False")
    if name in _NUMBERS:
        return float(value) if _is_number(value) else _refuse(name, value, "a number")
    if name == "workers":
        return int(value) if isinstance(value, Integral) and _is_number(value) else _refuse(name, value, "a number")
    if name == "opts":
        return _config_options(value)
    if name == "shared_folder":
        return {True: "yes", False: "no"}[value] if isinstance(value, bool) else _choice(name, value, ("yes", "no"))
    if name == "polygons" and isinstance(value, bool):
        return value
    if name == "precision":
        return _choice(name, value, _PRECISIONS)
    return _text(name, value)


def _text(name: str, value: Any) -> str:
    """A text or path; a number in the place of its text; a list where the command line has commas or bars."""
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if _is_number(value) and name in ("no_data", "min_area", "views"):
        return str(value)
    items = value if name in _SEPARATORS and isinstance(value, list | tuple) else ()
    if items and all(isinstance(item, str) or _is_number(item) for item in items):
        return _SEPARATORS[name].join(map(str, items))
    listed = ", or a list of them" if name in _SEPARATORS else ""
    return _refuse(name, value, f"a text{listed}")


def _config_options(value: Any) -> tuple[str, ...]:
    """Config keys and values: a dict, or a list in which they alternate."""
    if isinstance(value, Mapping):
        return tuple(str(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return tuple(map(str, value))
    return _refuse("opts", value, "a dict of config keys and values, or a list in which they alternate")


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    return value if value in choices else _refuse(name, value, " or ".join(choices))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _refuse(name: str, value: Any, wanted: str) -> Any:
    shown = f"'{value}'" if isinstance(value, str) else f"{type(value).__name__} {value!r:.60}"
    raise InputError(f"segment: {name}={shown} is of a wrong kind; give {wanted}")
