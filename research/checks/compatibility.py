"""Find the versions of Python and of the requirements that sgovss works with, and test some of them.

    python -m research.checks.compatibility                                 # resolve all cases
    python -m research.checks.compatibility --run 3.10:lowest 3.13:newest   # and run the tests of these

A case is a Python version with either the lowest versions of the direct requirements that setup.py allows, or the
newest versions, including all extras. Resolving finds versions that have wheels for this Python and platform; it runs
nothing. Results go to research/checks/compatibility.json and, as a table, to docs/compatibility.md. A run is kept as
long as its case resolves to the same versions. This needs the package registry. It uses uv, which is downloaded for
the run if it is not installed.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import platform
import runpy
import shutil
import subprocess
import sys
import tempfile
import venv
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from tabulate import tabulate

from sgovss.errors import InputError, command
from sgovss.files import atomic_path, write_json_atomically

CHECKOUT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("compatibility.json")
PAGE = CHECKOUT / "docs" / "compatibility.md"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
STRATEGIES = {"lowest": "lowest-direct", "newest": "highest"}
SHOWN = ("torch", "open-clip-torch", "numpy", "timm", "transformers")
SOURCE_ONLY = ("fvcore", "iopath", "antlr4-python3-runtime")
"""Pure Python packages without a wheel in the registry. All others must have a wheel."""

INTRODUCTION = """\
# Compatibility

This page is written by `python -m research.checks.compatibility`. *Lowest* are the lowest versions that `setup.py`
allows, *newest* are the newest versions; all extras are included. **Resolved** means that the package registry has
wheels that fit together, and that nothing was run. **Suite run** means that the tests ran with exactly these versions,
on a CPU, with the Detectron2 of `sgovss install-detectron2`.
"""


class Case(NamedTuple):
    """A Python version, such as ``3.10``, and ``lowest`` or ``newest``."""

    python: str
    versions: str

    @classmethod
    def parse(cls, text: str) -> Case:
        """Parse a case such as ``3.10:lowest``; raise an InputError if it is not one."""
        case = cls(*text.split(":")) if text.count(":") == 1 else None
        if case is None or case.python not in PYTHONS or case.versions not in STRATEGIES:
            raise InputError(
                f"--run: '{text}' is not a case; write one such as {PYTHONS[0]}:lowest or {PYTHONS[-1]}:newest"
            )
        return case

    def __str__(self) -> str:
        return f"{self.python}:{self.versions}"


@contextmanager
def uv_program(folder: Path) -> Iterator[str]:
    """Path of the installed uv, or of one that pip installs below ``folder``."""
    if found := shutil.which("uv"):
        yield found
        return
    venv.create(folder / "uv", with_pip=True)
    _run([folder / "uv" / "bin" / "python", "-m", "pip", "install", "--quiet", "uv"], "pip cannot fetch uv")
    yield str(folder / "uv" / "bin" / "uv")


def requirements() -> list[str]:
    """The requirements in setup.py, including all extras."""
    with mock.patch("setuptools.setup"):
        content = runpy.run_path(str(CHECKOUT / "setup.py"))
    return [*content["CORE"], *content["EXTRAS"]["all"]]


def resolve(uv: str, case: Case) -> tuple[list[str], str]:
    """Resolve a case.

    Returns:
        its pinned requirements and an empty text; or an empty list and the reason why it does not resolve.
    """
    options = ["--python-version", case.python, "--resolution", STRATEGIES[case.versions]]
    wheels = ["--only-binary", ":all:", *(word for name in SOURCE_ONLY for word in ("--no-binary", name))]
    output = ["--quiet", "--no-header", "--no-annotate"]
    compile_ = [uv, "pip", "compile", "-", *options, *wheels, *output]
    done = subprocess.run(compile_, input="\n".join(requirements()), capture_output=True, text=True)
    if done.returncode:
        return [], " ".join(done.stderr.split())[:300]
    return done.stdout.splitlines(), ""


def find_interpreter(uv: str, python: str) -> Path | None:
    """Find an interpreter of a version on PATH, in pyenv or in uv, and check that it starts."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    installed = sorted(pyenv.glob(f"{python}.*/bin/python{python}"))
    candidates = [shutil.which(f"python{python}") or "", *map(str, installed)]
    found = subprocess.run(
        [uv, "python", "find", "--no-python-downloads", python],
        capture_output=True,
        text=True,
        cwd=tempfile.gettempdir(),
    )
    candidates += found.stdout.split("\n")[:1]
    code = "import sys, ssl; print('{}.{}'.format(*sys.version_info))"
    for candidate in filter(None, candidates):
        said = subprocess.run([candidate, "-c", code], capture_output=True, text=True)
        if said.stdout.strip() == python:
            return Path(candidate)
    return None


def run_suite(uv: str, interpreter: Path, pins: list[str], tests: Sequence[str], folder: Path) -> dict[str, Any]:
    """Install pinned versions and Detectron2 into a new environment and run tests there.

    Returns:
        the version of the interpreter, the tests, and the outcomes from :func:`count`.

    Raises:
        InputError: the installation failed, or pytest did not start.
    """
    environment, junit = folder / "environment", folder / "junit.xml"
    (folder / "pins.txt").write_text("\n".join(pins))
    python = environment / "bin" / "python"
    _run([uv, "venv", "--quiet", "--seed", "--python", interpreter, environment], "uv cannot make an environment")
    _run([uv, "pip", "install", "--quiet", "--python", python, "-r", folder / "pins.txt"], "uv cannot install")
    _run([python, "-m", "sgovss", "install-detectron2"], "Detectron2 cannot be installed")
    variables = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    pytest: list[str | Path] = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={junit}", *tests]
    with (folder / "log").open("w") as log:
        subprocess.run(pytest, cwd=CHECKOUT, env=variables, stdout=log, stderr=subprocess.STDOUT)
    if not junit.is_file():
        raise InputError(f"pytest did not start: {(folder / 'log').read_text()[-300:].strip()}")
    version = subprocess.run([python, "--version"], capture_output=True, text=True).stdout.split()[-1]
    return {"interpreter": version, "tests": list(tests), **count(junit)}


def count(junit: Path) -> dict[str, Any]:
    """Count tests by outcome in pytest's XML, and list the names of those that failed."""
    cases = list(ElementTree.parse(junit).getroot().iter("testcase"))
    broken = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    names = [f"{case.get('classname')}::{case.get('name')}" for case in broken]
    return {"passed": len(cases) - len(broken) - skipped, "skipped": skipped, "failed": len(broken), "broken": names}


def record(case: Case, pins: list[str], reason: str, before: dict[str, Any]) -> dict[str, Any]:
    """Make the entry of a case. An earlier run is kept if its versions are the same."""
    versions = dict(pin.split("==", 1) for pin in pins)
    digest = hashlib.sha256("\n".join(pins).encode()).hexdigest()
    same = bool(pins) and before.get("pins_sha256") == digest
    return {
        "python": case.python,
        "versions": case.versions,
        "resolved": bool(pins),
        "reason": reason,
        "pins_sha256": digest,
        **{name: versions.get(name) for name in SHOWN},
        "run": before.get("run") if same else None,
    }


def outcome(case: dict[str, Any]) -> str:
    """Describe the outcome of a case for the table."""
    if not case["resolved"]:
        return f"does not resolve: {case['reason']}"
    run = case["run"]
    if run is None:
        return "resolved"
    if "error" in run:
        return f"resolved; no suite run: {run['error']}"
    numbers = f"{run['passed']} passed, {run['skipped']} skipped, {run['failed']} failed"
    return f"suite run on {run['interpreter']}: {numbers} ({run['date']}, {run['commit']})"


def page(results: dict[str, Any]) -> str:
    """Return the Markdown page of the results."""
    cases = results["cases"].values()
    rows = [[case["python"], case["versions"], *(case[name] or "" for name in SHOWN), outcome(case)] for case in cases]
    table = tabulate(rows, headers=["Python", "versions", *SHOWN, "outcome"], tablefmt="github", disable_numparse=True)
    lines = [INTRODUCTION, f"Resolved on {results['date']} for {results['platform']}.", "", table]
    for name, case in results["cases"].items():
        run = case["run"]
        if run and "tests" in run:
            lines += ["", f"{name} ran `pytest {' '.join(run['tests'])}`."]
            lines += [f"- failed: `{test}`" for test in run["broken"]]
    return "\n".join(lines) + "\n"


def is_broken(case: dict[str, Any]) -> bool:
    """Whether a case does not resolve, or its tests did not run or did not pass."""
    run = case["run"] or {}
    return not case["resolved"] or "error" in run or run.get("failed", 0) > 0


def _try_suite(uv: str, case: Case, pins: list[str], tests: Sequence[str], scratch: Path) -> dict[str, Any]:
    interpreter = find_interpreter(uv, case.python)
    if interpreter is None:
        return {"error": f"no Python {case.python} on this machine"}
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        try:
            return run_suite(uv, interpreter, pins, tests, Path(folder))
        except InputError as error:
            return {"error": str(error)}


def _run(arguments: Sequence[str | Path], mistake: str) -> None:
    done = subprocess.run(list(map(str, arguments)), cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"{mistake}: {' '.join((done.stderr or done.stdout).split())[-300:]}")


def _commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=CHECKOUT, capture_output=True, text=True
    ).stdout.strip()
    return described or "unknown commit"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m research.checks.compatibility",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", nargs="+", default=[], metavar="PYTHON:VERSIONS", help="cases to run tests for")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="arguments of pytest; default: the fast suite")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON file of the results")
    parser.add_argument("--page", type=Path, default=PAGE, help="Markdown file of the table")
    arguments = parser.parse_args(argv)
    wanted = [Case.parse(text) for text in arguments.run]
    commit = _commit()  # read it before the results are written, because they change this checkout
    results = {
        "date": datetime.date.today().isoformat(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cases": json.loads(arguments.results.read_text())["cases"] if arguments.results.is_file() else {},
    }
    with tempfile.TemporaryDirectory(prefix="sgovss-compatibility-") as scratch, uv_program(Path(scratch)) as uv:
        for case in (Case(python, versions) for python in PYTHONS for versions in STRATEGIES):
            pins, reason = resolve(uv, case)
            entry = record(case, pins, reason, results["cases"].get(str(case), {}))
            if case in wanted and pins:
                run = _try_suite(uv, case, pins, arguments.tests, Path(scratch))
                entry["run"] = {**run, "commit": commit, "date": results["date"]}
            results["cases"][str(case)] = entry
            # Write both at once, because a test compares the page with the results.
            write_json_atomically(arguments.results, results)
            with atomic_path(arguments.page) as partial:
                partial.write_text(page(results), encoding="utf-8")
            print(f"{case}: {outcome(entry)}", flush=True)
    return int(any(is_broken(case) for case in results["cases"].values()))


if __name__ == "__main__":
    sys.exit(main())
