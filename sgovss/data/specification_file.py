"""Reading a dataset specification from YAML, with errors that name the file and the line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sgovss import paths
from sgovss.data.specification import (
    ClassSpecification,
    DatasetSpecification,
    GeneratorSpecification,
    IgnoreSpecification,
    PreparationSpecification,
    RawSplitSpecification,
    SplitSpecification,
)
from sgovss.errors import InputError

# The same in C, where PyYAML has it: every start of a command reads all dataset files.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_DEEPEST = 50
_TOO_DEEP = "nested deeper than any dataset file needs to be"

_KNOWN_KEYS = sorted(
    {
        key
        for model in (
            DatasetSpecification,
            ClassSpecification,
            IgnoreSpecification,
            PreparationSpecification,
            RawSplitSpecification,
            SplitSpecification,
            GeneratorSpecification,
        )
        for key in model.model_fields
    }
)


def load_specification(path: str | Path) -> DatasetSpecification:
    """Read and validate one dataset YAML file.

    A relative ``root`` is taken relative to the file, so that a file and its data can move together.

    Raises:
        InputError: the file cannot be read, is not YAML, or its content is wrong; names the line of the key.
    """
    path = Path(path)
    node, content = _read(path)
    _refuse_repeated_keys(path, node)
    try:
        spec = DatasetSpecification.model_validate(content)
    except ValidationError as error:
        raise InputError(_message(path, node, error)) from error
    if spec.root is None:
        return spec
    return spec.model_copy(update={"root": str(path.resolve().parent / Path(spec.root).expanduser())})


def find_specification(name: str | Path) -> DatasetSpecification:
    """A dataset by the name of its file among those of sgovss, or by the path of any file.

    Raises:
        InputError: there is none; lists names like it. Or the file is wrong.
    """
    if Path(name).suffix in (".yaml", ".yml"):
        return load_specification(name)
    known = {path.stem: path for path in paths.dataset_files()}
    if str(name) not in known:
        close = difflib.get_close_matches(str(name), known, n=3) or sorted(known)
        raise InputError(
            f"dataset '{name}' is not known; there are {', '.join(close)}; or give the path of a .yaml file"
        )
    return load_specification(known[str(name)])


def _read(path: Path) -> tuple[yaml.Node, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot read this dataset file ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: this dataset file is no UTF-8 text; save it as such") from error
    try:
        _refuse_nesting(path, text)
        node, content = yaml.compose(text, Loader=_LOADER), yaml.load(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        if "nesting depth" in reason:
            # Since PyYAML 6.0.4 its reader in C has a limit, which it meets while it looks ahead.
            raise InputError(f"{path}{line}: {_TOO_DEEP}") from error
        raise InputError(f"{path}{line}: not valid YAML ({reason})") from error
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: expected a mapping with name, classes, ignore and splits; see datasets/ for examples"
        )
    return node, content


def _refuse_nesting(path: Path, text: str) -> None:
    """Before the content is built: older readers in C would end the whole process at some ten thousand levels."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise InputError(f"{path}:{event.start_mark.line + 1}: {_TOO_DEEP}")


def _refuse_repeated_keys(path: Path, top: yaml.Node) -> None:
    """YAML keeps the last of two equal keys silently; a dataset file must not lose a line that way."""
    waiting, looked_at = [top], set()
    while waiting:
        node = waiting.pop()
        # What is named and repeated (&name, *name) is looked at once, or lists of lists of it would take for ever.
        if node in looked_at or isinstance(node, yaml.ScalarNode):
            continue
        looked_at.add(node)
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
            continue
        seen: set[str] = set()
        for key, value in node.value:
            # A key may be a list, whose value has no hash; the reader refuses it.
            if str(key.value) in seen:
                raise InputError(f"{path}:{key.start_mark.line + 1}: key '{key.value}' stands twice; keep one")
            seen.add(str(key.value))
            waiting.append(value)


def _message(path: Path, node: yaml.Node, error: ValidationError) -> str:
    """The first problem in one line, with the number of the others."""
    # A misspelt key is missing too; that it is misspelt says more.
    first, *others = sorted(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
    where = tuple(first.get("ctx", {}).get("path", first["loc"]))
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".")
    more = f" (and {len(others)} more)" if others else ""
    return f"{path}:{_line(node, where)}: {shown}: {_reason(first, where)}{more}"


def _reason(error: Any, where: Sequence[str | int]) -> str:
    key = str(where[-1]) if where else ""
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(key, _KNOWN_KEYS, n=1)
        return f"unknown key '{key}'; " + (f"did you mean '{close[0]}'?" if close else "remove it")
    if error["type"] == "missing":
        hint = "; list the label values that are no class, [] if there is none" if key in ("ignore", "values") else ""
        return f"missing key '{key}'{hint}"
    if error["type"] == "too_short":
        return f"'{key}' is empty; give at least one"
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
