"""Reading a dataset specification from YAML, with errors that name the file and the line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from sgovss import paths
from sgovss.data.specification import DatasetSpecification
from sgovss.data.specification_fields import (
    ClassSpecification,
    GeneratorSpecification,
    IgnoreSpecification,
    PreparationSpecification,
    RawSplitSpecification,
    SplitSpecification,
)
from sgovss.data.variants import VariantSpecification, resolve_variant, variant_problems
from sgovss.errors import InputError
from sgovss.yaml_text import LOADER

_DEEPEST = 50
_TOO_DEEP = "nested deeper than any dataset file needs to be"

_MODELS: tuple[type[BaseModel], ...] = (
    DatasetSpecification,
    VariantSpecification,
    ClassSpecification,
    IgnoreSpecification,
    PreparationSpecification,
    RawSplitSpecification,
    SplitSpecification,
    GeneratorSpecification,
)
_KNOWN_KEYS = sorted({key for model in _MODELS for key in model.model_fields})


def load_specification(path: str | Path) -> DatasetSpecification:
    """Read and validate one dataset file (YAML).

    A relative ``root`` is relative to the file, so that a file and its data can move together. A file with
    ``variant_of`` is resolved with the file of its base.

    Raises:
        InputError: the file cannot be read, is not YAML, or its content is wrong; the message gives the line.
    """
    path = Path(path)
    node, content = _read(path)
    if "variant_of" in content:
        return _load_variant(path, node, content)
    try:
        spec = DatasetSpecification.model_validate(content)
    except ValidationError as error:
        raise InputError(_message(path, node, error)) from error
    if spec.root is None:
        return spec
    return spec.model_copy(update={"root": str(path.resolve().parent / Path(spec.root).expanduser())})


def _load_variant(path: Path, node: yaml.Node, content: dict[str, Any]) -> DatasetSpecification:
    try:
        variant = VariantSpecification.model_validate(content)
    except ValidationError as error:
        raise InputError(_message(path, node, error)) from error
    base_path = _base_file(path, node, variant.variant_of)
    if "variant_of" in _read(base_path)[1]:
        problem = f"'{variant.variant_of}' is a variant itself; name the dataset that it is a variant of"
        raise InputError(_located(path, node, ("variant_of",), problem))
    base = load_specification(base_path)
    for where, problem in variant_problems(variant, base):
        raise InputError(_located(path, node, where, problem))
    try:
        return resolve_variant(variant, base)
    except ValidationError as error:
        raise InputError(_message(path, node, error)) from error


def _base_file(path: Path, node: yaml.Node, name: str) -> Path:
    """The file of a variant's base: beside the variant's file, else among those of sgovss."""
    shipped = {file.stem: file for file in paths.dataset_files()}
    for candidate in (path.with_name(f"{name}.yaml"), path.with_name(f"{name}.yml"), shipped.get(name)):
        if candidate is not None and candidate.is_file() and candidate.resolve() != path.resolve():
            return candidate
    if name == path.stem:
        raise InputError(_located(path, node, ("variant_of",), f"'{name}' is this file itself; name another dataset"))
    close = difflib.get_close_matches(name, shipped, n=3) or sorted(shipped)
    problem = f"no dataset file '{name}.yaml' beside this file, nor in sgovss, which has {', '.join(close)}"
    raise InputError(_located(path, node, ("variant_of",), problem))


def find_specification(name: str | Path) -> DatasetSpecification:
    """Load a dataset by its name, if it comes with sgovss, or by the path of its file.

    Raises:
        InputError: no dataset has this name (the message lists similar names), or the file is wrong.
    """
    if Path(name).suffix.lower() in (".yaml", ".yml") or paths.is_file(name):
        return load_specification(name)
    known = {path.stem: path for path in paths.dataset_files()}
    if str(name) not in known:
        close = difflib.get_close_matches(str(name), known, n=3) or sorted(known)
        raise InputError(
            f"dataset '{name}' is not known; there are {', '.join(close)}; or give the path of a .yaml file"
        )
    return load_specification(known[str(name)])


def _read(path: Path) -> tuple[yaml.Node, dict[str, Any]]:
    """Read the file as YAML nodes, which record their lines, and as plain values.

    Raises:
        InputError: the file cannot be read or is not a YAML mapping, or a key is repeated.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot read this dataset file ({error.strerror}); correct the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: this dataset file is not UTF-8 text; save it as UTF-8") from error
    try:
        _refuse_nesting(path, text)
        node, content = yaml.compose(text, Loader=LOADER), yaml.load(text, Loader=LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        if "nesting depth" in reason:
            # The C loader of PyYAML 6.0.4 and later has its own limit.
            raise InputError(f"{path}{line}: {_TOO_DEEP}") from error
        raise InputError(f"{path}{line}: not valid YAML ({reason}); correct this line") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping with name, classes and splits; see datasets/ for examples")
    assert node is not None  # as content is not None
    _refuse_repeated_keys(path, node)
    return node, content


def _refuse_nesting(path: Path, text: str) -> None:
    """Refuse deep nesting before the content is built, because older C loaders crash at some ten thousand levels."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            line = f":{event.start_mark.line + 1}" if event.start_mark is not None else ""
            raise InputError(f"{path}{line}: {_TOO_DEEP}")


def _refuse_repeated_keys(path: Path, top: yaml.Node) -> None:
    """Refuse repeated keys: YAML silently keeps only the last of two equal keys."""
    waiting, looked_at = [top], set()
    while waiting:
        node = waiting.pop()
        # Anchored nodes (&name, *name) are visited once; nested aliases would otherwise take exponential time.
        if node in looked_at or isinstance(node, yaml.ScalarNode):
            continue
        looked_at.add(node)
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
            continue
        seen: set[str] = set()
        for key, value in node.value:
            # str, because a key may be an unhashable list; the loader refuses such a key later.
            if str(key.value) in seen:
                raise InputError(f"{path}:{key.start_mark.line + 1}: key '{key.value}' stands twice; keep one")
            seen.add(str(key.value))
            waiting.append(value)


def _message(path: Path, node: yaml.Node, error: ValidationError) -> str:
    """The first problem in one line, with the number of further problems."""
    # A misspelt required key is also reported as missing; the message about the misspelling is more useful.
    first, *others = sorted(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
    where = tuple(first.get("ctx", {}).get("path", first["loc"]))
    more = f" (and {len(others)} more)" if others else ""
    return _located(path, node, where, f"{_reason(first, where)}{more}")


def _located(path: Path, node: yaml.Node, where: Sequence[str | int], problem: str) -> str:
    """``file:line: key: problem``"""
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".")
    return f"{path}:{_line(node, where)}: {shown}: {problem}"


def _reason(error: Any, where: Sequence[str | int]) -> str:
    key = str(where[-1]) if where else ""
    if error["type"] == "extra_forbidden":
        if key in _KNOWN_KEYS:
            return f"key '{key}' does not belong here; remove it"
        close = difflib.get_close_matches(key, _KNOWN_KEYS, n=1)
        return f"unknown key '{key}'; " + (f"did you mean '{close[0]}'?" if close else "remove it")
    if error["type"] == "missing":
        hint = "; list the label values without a class, or [] if there are none" if key == "values" else ""
        return f"missing key '{key}'{hint}"
    if error["type"] == "too_short":
        return f"'{key}' is empty; give at least one"
    if error["type"] == "tuple_type":
        return "give a list, such as [a, b]"
    if error["type"] in ("dict_type", "model_type"):
        return "give a mapping of keys to values"
    return error["msg"][0].lower() + error["msg"][1:]


def _line(node: yaml.Node, path: Sequence[str | int]) -> int:
    """1-based line of the key or item at ``path``, or of the deepest existing part of it."""
    line = node.start_mark.line
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: (key, value) for key, value in node.value}
            if str(part) not in pairs:
                break
            key, node = pairs[str(part)]
            line = key.start_mark.line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return line + 1
