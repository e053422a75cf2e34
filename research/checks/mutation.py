"""Spot checks of the tests with mutants, which are small changes of the code that a test should detect.

    pip install cosmic-ray
    python -m research.checks.mutation --count 12 --seed 1 --json research/checks/mutants.json

This works on a copy of the checkout. Mutants are drawn at random from those that cosmic-ray makes of a module, except
those that change only annotations. The module's own tests are run on each mutant and should fail. Mutants for which
they pass (survivors) are printed as diffs.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sgovss.errors import InputError, command
from sgovss.files import write_json_atomically

CHECKOUT = Path(__file__).resolve().parents[2]
_NOT_COPIED = shutil.ignore_patterns(".*", "output", "__pycache__", "*.egg-info")

TARGETS = {
    "sgovss/tiling.py": "tests/test_tiling.py",
    "sgovss/modeling/compensation.py": "tests/modeling/test_compensation.py",
    "sgovss/evaluation/metrics.py": "tests/evaluation/test_metrics.py tests/evaluation/test_evaluator.py",
    "sgovss/evaluation/evaluator.py": "tests/evaluation/test_evaluator.py",
}
"""Modules and their tests."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m research.checks.mutation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=12, help="mutants of each module; default 12")
    parser.add_argument("--seed", type=int, default=1, help="seed of the draw; default 1")
    parser.add_argument(
        "--modules", nargs="+", choices=TARGETS, default=list(TARGETS), metavar="MODULE", help="default: all"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to this file")
    args = parser.parse_args(argv)
    try:
        import cosmic_ray  # noqa: F401
    except ImportError as error:
        raise InputError("cosmic-ray is not installed; run: pip install cosmic-ray") from error
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "checkout")
        shutil.copytree(CHECKOUT, copy, ignore=_NOT_COPIED)
        results = [_check(copy, module, args.count, args.seed) for module in args.modules]
    if args.json:
        write_json_atomically(args.json, {"seed": args.seed, "modules": results})
    made, killed = (sum(result[key] for result in results) for key in ("mutants", "killed"))
    print(f"{killed} of {made} mutants killed ({100 * killed / made:.0f} %)")
    return 0


def _check(copy: Path, module: str, count: int, seed: int) -> dict[str, Any]:
    """Run the tests of one module on its mutants; return the counts and the survivors."""
    from cosmic_ray.mutating import mutate_and_test
    from cosmic_ray.testing import run_tests
    from cosmic_ray.work_item import TestOutcome

    # PYTHONPATH puts the copy before the installed package. cosmic-ray does not use a shell.
    tests = " ".join(str(copy / test) for test in TARGETS[module].split())
    python = f"env -C {copy} PYTHONPATH={copy} OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 1)} {sys.executable}"
    run = f"{python} -m pytest -x -q -p no:cacheprovider --rootdir {copy} {tests}"
    begin = time.monotonic()
    outcome, said = run_tests(run, timeout=1800)
    if outcome is not TestOutcome.SURVIVED:
        raise InputError(f"{tests} fail without any mutant; fix them first ({said.strip().splitlines()[-1]})")
    patience = 60 + 5 * (time.monotonic() - begin)
    possible = sorted(_mutations(copy / module), key=lambda spec: (spec.operator_name, spec.occurrence))
    chosen = random.Random(f"{seed} {module}").sample(possible, min(count, len(possible)))
    survivors = []
    for number, spec in enumerate(chosen, start=1):
        result = mutate_and_test([spec], run, patience)
        alive = result.test_outcome is TestOutcome.SURVIVED
        print(f"{module} {number}/{len(chosen)}: {spec.operator_name} {'SURVIVED' if alive else 'killed'}", flush=True)
        if alive:
            survivors.append({"operator": spec.operator_name, "line": spec.start_pos[0], "diff": _changed(result.diff)})
            print("\n".join(survivors[-1]["diff"]), flush=True)
    return {
        "module": module,
        "tests": shlex.split(TARGETS[module]),
        "possible": len(possible),
        "mutants": len(chosen),
        "killed": len(chosen) - len(survivors),
        "survivors": survivors,
    }


def _mutations(path: Path) -> Iterator[Any]:
    """Yield the mutations of a module that change its behaviour."""
    from cosmic_ray.commands import init
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator
    from cosmic_ray.work_db import WorkDB, use_db

    source = path.read_text(encoding="utf-8")
    with use_db(":memory:", WorkDB.Mode.create) as database:
        init([path], database, {})
        items = list(database.work_items)
    for item in items:
        for spec in item.mutations:
            mutated = mutate_code(source, get_operator(spec.operator_name)(**spec.operator_args), spec.occurrence)
            if mutated is not None and _behaviour(mutated) not in ("", _behaviour(source)):
                yield spec


def _behaviour(source: str) -> str:
    """Return the syntax tree without annotations, which are never evaluated; empty for source that is not Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    return ast.dump(tree)


def _changed(diff: str) -> list[str]:
    """Return the changed lines of a diff."""
    return [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]


if __name__ == "__main__":
    sys.exit(main())
