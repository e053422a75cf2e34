"""The compatibility table distinguishes cases that were run from those that were only resolved."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest
from packaging.requirements import Requirement

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.a" name="test_one"/>
<testcase classname="tests.a" name="test_two"><failure message="no"/></testcase>
<testcase classname="tests.b" name="test_three"><error message="worse"/></testcase>
<testcase classname="tests.b" name="test_four"><skipped message="later"/></testcase>
</testsuite></testsuites>"""
PINS = ["numpy==1.26.0", "open-clip-torch==2.32.0", "timm==1.0.16", "torch==2.5.0", "transformers==4.40.0"]
RAN = {"interpreter": "3.10.13", "tests": ["tests"], "passed": 7, "skipped": 2, "failed": 0, "broken": []}


@pytest.fixture
def tool(monkeypatch):
    """The tool with a registry that knows one set of versions and a machine that has Python 3.10 alone."""
    tool = import_module("research.checks.compatibility")
    monkeypatch.setattr(tool.shutil, "which", lambda program: "/bin/uv" if program == "uv" else None)
    monkeypatch.setattr(tool, "resolve", lambda uv, case: (PINS, "") if case.python != "3.14" else ([], "no wheel"))
    monkeypatch.setattr(
        tool, "find_interpreter", lambda uv, python: sys.executable if python in ("3.10", "3.12") else None
    )
    monkeypatch.setattr(tool, "run_suite", lambda *arguments: RAN)
    return tool


def flags(folder) -> list[str]:
    return ["--results", str(folder / "compatibility.json"), "--page", str(folder / "compatibility.md")]


def lines(path) -> dict[str, str]:
    """The table's rows by Python and versions."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in path.read_text().splitlines() if "|" in line]
    return {f"{row[0]}:{row[1]}": row[-1] for row in rows[2:]}


def test_what_was_not_run_is_only_resolved(tool, tmp_path):
    assert tool.main(flags(tmp_path)) == 1  # 3.14 does not resolve
    table = lines(tmp_path / "compatibility.md")
    assert len(table) == len(tool.PYTHONS) * 2
    assert table["3.10:lowest"] == table["3.13:newest"] == "resolved"
    assert table["3.14:lowest"] == "does not resolve: no wheel"


def test_a_run_is_shown_with_its_interpreter_and_numbers_and_kept(tool, tmp_path):
    results = flags(tmp_path)
    tool.main([*results, "--run", "3.10:lowest", "3.13:newest"])
    table = lines(tmp_path / "compatibility.md")
    assert table["3.10:lowest"].startswith("suite run on 3.10.13: 7 passed, 2 skipped, 0 failed (")
    assert table["3.10:newest"] == "resolved"
    assert table["3.13:newest"] == "resolved; no suite run: no Python 3.13 on this machine"
    assert "3.10:lowest ran `pytest tests`." in (tmp_path / "compatibility.md").read_text()
    tool.main(results)
    assert lines(tmp_path / "compatibility.md")["3.10:lowest"] == table["3.10:lowest"]


def test_a_run_does_not_count_for_other_versions(tool, tmp_path, monkeypatch):
    results = flags(tmp_path)
    tool.main([*results, "--run", "3.10:newest"])
    monkeypatch.setattr(tool, "resolve", lambda uv, case: ([*PINS, "yacs==9"], ""))
    assert tool.main(results) == 0
    assert lines(tmp_path / "compatibility.md")["3.10:newest"] == "resolved"


@pytest.mark.parametrize("broken", [{"failed": 1, "broken": ["tests.a::test_two"]}, None])
def test_a_run_that_fails_or_does_not_start_is_told_and_returned(tool, tmp_path, monkeypatch, broken):
    def run_suite(*arguments):
        if broken is None:
            raise tool.InputError("uv cannot install: no space")
        return {**RAN, **broken}

    monkeypatch.setattr(tool, "resolve", lambda uv, case: (PINS, ""))
    monkeypatch.setattr(tool, "run_suite", run_suite)
    assert tool.main([*flags(tmp_path), "--run", "3.12:lowest"]) == 1
    page = (tmp_path / "compatibility.md").read_text()
    assert ("- failed: `tests.a::test_two`" in page) == (broken is not None)
    assert ("resolved; no suite run: uv cannot install: no space" in page) == (broken is None)


def test_outcomes_are_counted_from_the_tests_themselves(tmp_path):
    (tmp_path / "junit.xml").write_text(JUNIT)
    assert import_module("research.checks.compatibility").count(tmp_path / "junit.xml") == {
        "passed": 1,
        "skipped": 1,
        "failed": 2,
        "broken": ["tests.a::test_two", "tests.b::test_three"],
    }


@pytest.mark.parametrize("case", ["3.10", "2.7:lowest", "3.10:middle", "3.10:lowest:x"])
def test_an_unknown_case_is_one_line(tool, case, capsys):
    assert tool.main(["--run", case]) == 2
    assert capsys.readouterr().err.startswith(f"error: --run: '{case}' is not a case; write one such as 3.10:lowest")


def test_the_requirements_are_those_of_setup():
    names = {Requirement(text).name for text in import_module("research.checks.compatibility").requirements()}
    assert {"torch", "numpy", "open_clip_torch", "rasterio", "flask", "pytest"} <= names


def test_an_interpreter_has_to_start_and_be_of_that_version(tmp_path, monkeypatch):
    """pyenv's stand-ins are on PATH for versions that are not active; they only print how to activate them."""
    tool = import_module("research.checks.compatibility")
    version = "{}.{}".format(*sys.version_info)
    stand_in = tmp_path / f"python{version}"
    stand_in.write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(tool.shutil, "which", lambda program: str(stand_in))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    quiet = tmp_path / "uv"
    quiet.write_text("#!/bin/sh\nexit 2\n")
    quiet.chmod(0o755)
    assert tool.find_interpreter(str(quiet), version) is None
    own = tmp_path / "pyenv" / "versions" / f"{version}.9" / "bin" / f"python{version}"
    own.parent.mkdir(parents=True)
    own.symlink_to(sys.executable)
    assert tool.find_interpreter(str(quiet), version) == own


def test_the_written_page_is_that_of_the_written_results(checkout):
    """And every case of it resolves, and every run of it passed."""
    tool = import_module("research.checks.compatibility")
    results = tool.json.loads(tool.RESULTS.read_text())
    assert tool.PAGE.read_text() == tool.page(results)
    assert not [name for name, case in results["cases"].items() if tool.is_broken(case)]
