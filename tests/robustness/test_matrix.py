"""All cases: exit status, one line of message, and no partial file; in this process and as processes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from tests.robustness.case import COMMANDS, Case
from tests.robustness.cases import CASES
from tests.robustness.conftest import Outcome, run_process, run_processes

pytest.importorskip("rasterio", reason="needs the extra 'geo'")

IDS = [case.what for case in CASES]
PROCESSES = [case for case in CASES if case.as_process]

_UNFINISHED = re.compile(r"^\..*\.\d+(\.\w+)?$")  # temporary files of atomic_path


def judge(case: Case, outcome: Outcome, folder: Path) -> None:
    said = outcome.out + outcome.err
    assert outcome.status == case.status, said[-3000:]
    assert "Traceback" not in said, said[-3000:]
    assert "Warning" not in outcome.err, outcome.err[-3000:]
    stream = outcome.out if case.marker == "problem: " else outcome.err
    lines = [line.rpartition("\r")[2] for line in stream.splitlines()]
    problems = [line.removeprefix(case.marker) for line in lines if line.startswith(case.marker)]
    if case.status:
        assert len(problems) == 1, problems
        assert case.line.fullmatch(problems[0]), f"saw:      {problems[0]}\nexpected: {case.sees}"
    else:
        assert problems == []
    left = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    assert [path for path in left if _UNFINISHED.match(path.name) or path.suffix == ".parts"] == []
    output = folder / "out"
    for path in output.rglob("*.png"):
        with Image.open(path) as picture:
            picture.load()
    if case.status == 2:
        assert list(output.rglob("*.pth")) == []
        if case.command in ("demo", "check"):
            assert [path for path in left if output in path.parents] == []
    if case.proves is not None:
        case.proves(folder)


def test_there_are_enough_cases_with_different_names():
    assert len(CASES) >= 60 and len(set(IDS)) == len(CASES)
    assert len(PROCESSES) >= 10 and {case.command for case in PROCESSES} == {"train_net", "demo", "prepare", "check"}


HEAVY = "image of 30,000 x 50 pixels with 300 classes, too large to be segmented at once"
MARKED = [pytest.param(case, marks=[pytest.mark.slow] if case.what == HEAVY else [], id=case.what) for case in CASES]


@pytest.mark.parametrize("case", MARKED)
def test_in_this_process(case, run_here, tmp_path):
    judge(case, run_here(case, tmp_path), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", PROCESSES, ids=[case.what for case in PROCESSES])
def test_as_a_process(case, tmp_path):
    judge(case, run_process(case, tmp_path), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_all_as_processes(command, tmp_path):
    """All cases of a command at once, because the command is then imported once."""
    places = {case.what: (case, tmp_path / str(number)) for number, case in enumerate(CASES) if case.command == command}
    for _, folder in places.values():
        folder.mkdir()
    outcomes = run_processes(places)
    wrong = {}
    for name, (case, folder) in places.items():
        try:
            judge(case, outcomes[name], folder)
        except AssertionError as error:
            wrong[name] = str(error)
    assert wrong == {}
