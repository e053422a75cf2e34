"""Errors of Detectron2 and YAML about configs, told in plain words: which key or value is wrong, and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

import yaml
from detectron2.config import CfgNode

from sgovss.config_rules import REMOVED_KEYS, removed_key_message

ERRORS = (KeyError, ValueError, AssertionError, AttributeError, TypeError)
"""What Detectron2 raises for a wrong key or value."""

_UNKNOWN = re.compile(r"Non-existent (?:config )?key: (.*)", re.DOTALL)
_TYPES = re.compile(
    r"Type mismatch \(<class '(.+?)'> vs\. <class '(.+?)'>\) with values \(.* vs\. (.*)\) for config key: (\S+)",
    re.DOTALL,
)
_WANTED = {
    "int": "a whole number",
    "bool": "True or False",
    "str": "text",
    "tuple": "a tuple, such as \"('fields_train',)\", with the comma",
    "list": "a list, such as \"['tree','water']\"",
}


def explain(error: Exception, cfg: CfgNode, key: str = "") -> str:
    """Return what is wrong with a config, and the remedy, in one line.

    Args:
        error: what reading a file or merging a key raised: one of :data:`ERRORS`, or an error of YAML or the disk.
        cfg: the config, for the names of the keys that there are.
        key: the key that was to be set, if it is known.
    """
    message = str(error.args[0] if isinstance(error, KeyError) and error.args else error) or type(error).__name__
    if isinstance(error, TypeError) and key:  # a key below one that has a value
        return _unknown(key, cfg)
    if found := _UNKNOWN.fullmatch(message):
        return _unknown(found[1], cfg)
    if found := _TYPES.fullmatch(message):
        wanted, given, value, name = found.groups()
        return _wrong_type(wanted, given, value, name, cfg)
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8 text; save it as UTF-8"
    if isinstance(error, OSError):
        return f"cannot read {error.filename} ({error.strerror}); correct _BASE_ or the path"
    kind = "not valid YAML: " if isinstance(error, yaml.YAMLError) else ""
    return f"{f'{key}: ' if key else kind}{' '.join(message.split())[:300]}"


def _unknown(key: str, cfg: CfgNode) -> str:
    if key in REMOVED_KEYS:
        return removed_key_message(key)
    close = difflib.get_close_matches(key.upper(), _keys(cfg), 1, cutoff=0.8)
    remedy = f"did you mean {close[0]}?" if close else "configs/base.yaml and sgovss/config.py list the keys"
    return f"there is no key '{key}'; {remedy}"


def _wrong_type(wanted: str, given: str, value: str, key: str, cfg: CfgNode) -> str:
    if wanted.endswith("CfgNode"):
        first = next(name for name in _keys(cfg) if name.startswith(f"{key}."))
        return f"{key}: a group of keys; set one of them, such as {first}"
    shown = " ".join(value.split())[:60]
    return f"{key}: '{shown}' is of type {given.rpartition('.')[2]}; give {_WANTED.get(wanted, 'a number')}"


def _keys(cfg: CfgNode, prefix: str = "") -> Iterator[str]:
    for name, value in cfg.items():
        if isinstance(value, CfgNode):
            yield from _keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
