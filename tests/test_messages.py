"""What messages name exists: options, subcommands, config keys, extras, and configs of sgovss."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from sgovss import paths
from sgovss.commands import SUBCOMMANDS
from sgovss.config import load_config
from sgovss.config_rules import REMOVED_KEYS
from tests.commands.parsers import parser_of

CHECKOUT = Path(__file__).resolve().parents[1]
OTHER_PROGRAMS = {"--out", "--ntasks-per-node", "--distribution"}  # of zip and srun


class Text(NamedTuple):
    """A text of the program, where it stands, and the text itself. ``{}`` stands for what is computed."""

    where: str
    text: str


def texts_of(source: str, where: str) -> Iterator[Text]:
    """The texts in the code of a module, without docstrings."""
    tree = ast.parse(source)
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in bare | parts:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield Text(f"{where}:{node.lineno}", node.value)
        elif isinstance(node, ast.JoinedStr):
            shown = (str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield Text(f"{where}:{node.lineno}", "".join(shown))


@pytest.fixture(scope="module")
def texts() -> list[Text]:
    """The texts of the package."""
    files = sorted((CHECKOUT / "sgovss").rglob("*.py"))
    return [text for file in files for text in texts_of(file.read_text(), str(file.relative_to(CHECKOUT)))]


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """The options of each subcommand."""
    parsers = {name: parser_of(subcommand.module) for name, subcommand in SUBCOMMANDS.items()}
    parsers["synthetic"] = parser_of("sgovss.synthetic.__main__")
    return {name: {*parser._option_string_actions} for name, parser in parsers.items()}


def unknown_options(texts: Sequence[Text], options: dict[str, set[str]]) -> list[str]:
    """Options that no subcommand has, or not the one that the text names with it."""
    known = {"--version", *OTHER_PROGRAMS}.union(*options.values())
    found = []
    for where, text in texts:
        alone = re.fullmatch(r"--\S+", text)  # an option for another program, such as pip
        flags = () if alone else re.findall(r"(?<![\w-])--[a-z][\w-]*", text)
        found += [f"{where}: {flag}" for flag in flags if flag not in known]
        for name, rest in re.findall(r"sgovss ([a-z][\w-]*)((?: [^\s';,)]+)*)'", text):
            its = set(re.findall(r"--[a-z][\w-]*", rest))
            found += [f"{where}: sgovss {name} {flag}" for flag in its - options.get(name, its)]
    return found


def unknown_commands(texts: Sequence[Text]) -> list[str]:
    """Subcommands in quotation marks that do not exist."""
    quoted = ((where, name) for where, text in texts for name in re.findall(r"'sgovss ([a-z][\w-]*)", text))
    return [f"{where}: {name}" for where, name in quoted if name not in SUBCOMMANDS]


def unknown_keys(texts: Sequence[Text]) -> list[str]:
    """Config keys that the config does not have. Keys that were removed are named with what replaces them."""
    cfg = load_config("base.yaml")
    found = []
    for where, text in texts:
        for key in re.findall(r"\b(?:" + "|".join(cfg) + r")(?:\.[A-Z][A-Z0-9_]*)+\b", text):
            if key not in REMOVED_KEYS and not _has(cfg, key):
                found.append(f"{where}: {key}")
    return found


def _has(cfg: object, key: str) -> bool:
    for part in key.split("."):
        if part not in cfg:
            return False
        cfg = cfg[part]
    return True


def test_options_exist(texts, options):
    assert "\n".join(unknown_options(texts, options)) == ""


def test_commands_exist(texts):
    assert unknown_commands(texts) == []


def test_config_keys_exist(texts):
    assert unknown_keys(texts) == []


def test_extras_exist(texts):
    setup = (CHECKOUT / "setup.py").read_text()
    extras = {extra for _, text in texts for extra in re.findall(r"sgovss\[([a-z]+)\]", text)}
    assert len(extras) >= 5
    assert [extra for extra in extras if not re.search(rf"\b{extra}\b", setup)] == []


def test_configs_exist(texts):
    shipped = {file.name for file in paths.config_file("base.yaml").parent.rglob("*.yaml")}
    named = {(where, name) for where, text in texts for name in re.findall(r"\bsgovss_\w+\.yaml", text)}
    assert named and [each for each in named if each[1] not in shipped] == []


@pytest.mark.parametrize(
    "text",
    ["give --restarts", "see 'sgovss segment --worst 3'", "--Output: no such", "run 'sgovss convert --licens'"],
)
def test_an_option_that_does_not_exist_is_found(text, options):
    found = unknown_options([Text("here:1", text)], options)
    assert bool(found) == ("--Output" not in text)


@pytest.mark.parametrize("text", ["set SOLVER.MAX_ITERS", "MODEL.CLIP.WEIGHT: no file", "use TEST.VIEW"])
def test_a_config_key_that_does_not_exist_is_found(text):
    assert unknown_keys([Text("here:1", text)])


@pytest.mark.parametrize("text", ["run 'sgovss eval'", "as 'sgovss predict' does", "'sgovss demo --input' does"])
def test_a_subcommand_that_does_not_exist_is_found(text):
    assert unknown_commands([Text("here:1", text)])


def test_texts_are_found_with_placeholders_and_without_docstrings():
    source = 'def f(x):\n    """Say --no."""\n    raise ValueError(f"{x}: give --yes" " or {}")\n'
    assert [text for _, text in texts_of(source, "m")] == ["{}: give --yes or {}"]
