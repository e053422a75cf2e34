"""Mutants are made, run and counted."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

from research.checks import mutation
from research.checks.mutants import mutants
from research.checks.mutation_targets import WITHOUT_MUTANTS

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
def small(tmp_path, monkeypatch):
    """Mutates a small package in place of this one."""
    for file, content in {"sgovss/__init__.py": "", "sgovss/small.py": CODE, "tests/test_small.py": TESTS}.items():
        (tmp_path / "checkout" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "checkout" / file).write_text(content)
    monkeypatch.setattr(mutation, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.setattr(mutation, "TARGETS", {"sgovss/small.py": ("tests/test_small.py",)})
    monkeypatch.setattr(mutation, "DIGITS", ())
    monkeypatch.setattr(mutation, "_LIBRARIES", ())
    return tmp_path / "checkout"


def test_modules_and_tests_exist(checkout):
    files = [file for module, tests in mutation.TARGETS.items() for file in (module, *tests)]
    assert not [file for file in files if not (checkout / file).exists()]


@pytest.mark.parametrize("package", ["mapping", "rasters", "words"])
def test_a_new_module_of_these_packages_is_a_target_or_left_out_for_a_reason(checkout, package):
    modules = {
        path.relative_to(checkout).as_posix()
        for path in (checkout / "sgovss" / package).glob("*.py")
        if path.stem != "__init__"
    }
    left_out = {f"sgovss/{name}.py" for name in WITHOUT_MUTANTS if name.startswith(f"{package}/")}
    assert modules - mutation.TARGETS.keys() == left_out


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("x = a < b", ["(a <= b)", "(a > b)"]),
        ("x = a + b * 2", ["(a - b * 2)", "(b / 2)", "(3)"]),
        ("x = not (a and b)", ["(a and b)", "(a or b)"]),
        ("def f(a: int | None) -> int | None: return -a", ["(a)"]),
        ("logger.info(1 + 2)\n'text'", []),
        ("raise ValueError(a + b)", []),
        ("f(a)\nx += True", ["pass", "pass", "False"]),
        ("if ä is not b: g()", ["(not (ä is not b))", "(ä is b)", "pass"]),
        ("x = f'{a + b}'", []),
        ("if TYPE_CHECKING:\n    import a\nelse: f()", []),
        ("progress.update(1)\ncomm.synchronize()", []),
        ("x = zip(a, b, strict=True)\nwith tqdm(total=1, leave=False): f()", ["(2)", "pass"]),
        ("x = a.reshape(-1, 2) + b[-1]", ["(a.reshape(-1, 2) - b[-1])", "(3)", "(1)", "(2)"]),
    ],
)
def test_what_is_changed(code, expected):
    """Behaviour only: no annotation, no message."""
    assert sorted(mutant.new for mutant in mutants(code)) == sorted(expected)


def test_only_the_place_of_the_change_differs():
    code = textwrap.dedent("""
        ü = "ü" ; x = (a ==  # why
               b)
        y = 1
    """)
    (first, second) = mutants(code)
    assert first.source == code.replace("a ==  # why\n       b", "(a != b)")
    assert second.source == code.replace("y = 1", "y = (2)")


@pytest.mark.slow
def test_mutants_that_tests_miss_are_shown_and_finished_modules_are_kept(small, tmp_path, capfd):
    command = ["--count", "100", "--records", str(tmp_path / "records"), "--json", str(tmp_path / "mutants.json")]
    assert mutation.main(command) == 0
    (result,) = json.loads((tmp_path / "mutants.json").read_text())["modules"]
    # ">" becomes "<" and ">="; the latter gives the larger of two too.
    assert (result["mutants"], result["possible"], result["killed"]) == (3, 3, 2)
    assert [(each["line"], each["new"]) for each in result["survivors"]] == [(3, "(a >= b)")]
    assert (small / "sgovss/small.py").read_text() == CODE
    assert "2 of 3 mutants killed" in capfd.readouterr().out
    assert mutation.main(command) == 0
    said = capfd.readouterr().out
    assert "2 of 3 mutants killed" in said and "SURVIVED" not in said  # nothing ran again
    assert mutation.main([*command, "--quick", "3"]) == 1  # two of three are too few


@pytest.mark.slow
def test_what_only_the_stored_digits_notice_is_counted_apart(small, tmp_path, monkeypatch, capfd):
    digits = "from sgovss.small import larger\n\n\ndef test():\n    assert type(larger(1.0, 1)) is int\n"
    (small / "tests/test_digits.py").write_text(digits)
    monkeypatch.setattr(mutation, "DIGITS", ("tests/test_digits.py",))
    assert mutation.main(["--json", str(tmp_path / "mutants.json")]) == 0
    (result,) = json.loads((tmp_path / "mutants.json").read_text())["modules"]
    assert (result["mutants"], result["killed"]) == (3, 2)
    assert [each["new"] for each in result["by_digits"]] == ["(a >= b)"]
    assert result["survivors"] == []
    said = capfd.readouterr().out
    assert "3 of 3 mutants killed (100 %), 2 of them without the stored digits (67 %)" in said


@pytest.mark.slow
def test_a_mutant_that_never_ends_is_killed(small, monkeypatch, tmp_path):
    monkeypatch.setattr(mutation, "LONGEST", 1)
    (small / "sgovss/small.py").write_text("def larger(a, b):\n    while not a:\n        pass\n    return max(a, b)\n")
    assert mutation.main(["--json", str(tmp_path / "mutants.json")]) == 0
    (result,) = json.loads((tmp_path / "mutants.json").read_text())["modules"]
    assert result["mutants"] == result["killed"] > 0


@pytest.mark.slow
def test_tests_that_fail_anyway_prove_nothing(small, capfd):
    (small / "tests/test_small.py").write_text("def test(): assert False\n")
    assert mutation.main([]) == 2
    assert "tests/test_small.py fails without any mutant" in capfd.readouterr().err


@pytest.mark.slow
def test_most_mutants_of_the_last_change_are_killed(checkout):
    """In a process of its own, because this one may have registered the model with Detectron2 already."""
    options = ["--quick", "20", "--changed-since", "HEAD~1", "--jobs", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "research.checks.mutation", *options], cwd=checkout, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
