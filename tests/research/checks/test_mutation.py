"""Mutants that cosmic-ray makes are run and counted."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest

CODE = '''\
def larger(a: int | None, b: int | None) -> int | None:
    """Of two."""
    return a if a > b else b
'''
TESTS = """\
from sgovss.small import larger


def test_larger():
    assert larger(1, 2) == larger(2, 1) == 2
"""


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Mutates a small package in place of this one."""
    pytest.importorskip("cosmic_ray", reason="needs cosmic-ray")
    tool = import_module("research.checks.mutation")
    for file, content in {"sgovss/__init__.py": "", "sgovss/small.py": CODE, "tests/test_small.py": TESTS}.items():
        (tmp_path / "checkout" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "checkout" / file).write_text(content)
    monkeypatch.setattr(tool, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.setattr(tool, "TARGETS", {"sgovss/small.py": "tests/test_small.py"})
    return tool


def test_modules_and_tests_exist(checkout):
    targets = import_module("research.checks.mutation").TARGETS
    files = [file for module, tests in targets.items() for file in (module, *tests.split())]
    assert not [file for file in files if not (checkout / file).is_file()]


def test_annotations_are_no_behaviour():
    tool = import_module("research.checks.mutation")
    assert tool._behaviour("def f(a: int | None) -> int: return a") == tool._behaviour("def f(a: int + None): return a")
    assert tool._behaviour("a | b") != tool._behaviour("a + b")
    assert tool._behaviour("def f(/, +, a): pass") == ""


def test_mutants_that_tests_miss_are_shown(tool, tmp_path, capsys):
    assert tool.main(["--count", "100", "--modules", "sgovss/small.py", "--json", str(tmp_path / "mutants.json")]) == 0
    (result,) = json.loads((tmp_path / "mutants.json").read_text())["modules"]
    # ">" becomes each other comparison; of these only ">=" gives the larger of two too.
    assert result["mutants"] == result["possible"] >= 6
    assert [survivor["diff"][1] for survivor in result["survivors"]] == ["+    return a if a >= b else b"]
    assert f"{result['killed']} of {result['mutants']} mutants killed" in capsys.readouterr().out
    assert Path(tool.CHECKOUT, "sgovss/small.py").read_text() == CODE


def test_tests_that_fail_anyway_prove_nothing(tool, tmp_path, capsys):
    (tmp_path / "checkout/tests/test_small.py").write_text("def test(): assert False\n")
    assert tool.main(["--modules", "sgovss/small.py"]) == 2
    assert "fail without any mutant" in capsys.readouterr().err
