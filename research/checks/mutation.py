"""Check the tests with mutants, which are small changes of the code that a test should detect.

    python -m research.checks.mutation --count 200 --seed 3 --jobs 2 --records output/mutation \\
        --json research/checks/mutants.json
    python -m research.checks.mutation --quick 20 --changed-since origin/main

Mutants are drawn from all modules of ``research.checks.mutation_targets``, in proportion to how many each has. The
tests run once without a mutant. Then each mutant runs in a copy of the checkout: the tests of its module should fail,
the most sensitive ones run first; if they pass, the test of the stored digits (``research.checks.golden_run``) should
fail. Mutants for which all pass (survivors) are printed. With ``--records`` each finished module has a file there, and
a later call continues with the others. ``--quick`` draws
from three of the modules that a change touches, or of all if git tells none, and fails if fewer than three quarters are
killed: if the tests kill 90 %, that happens to 20 mutants once in a hundred draws.
"""

from __future__ import annotations

import argparse
import compileall
import hashlib
import importlib
import importlib.util
import json
import multiprocessing
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from research.checks.mutants import Mutant, mutants
from research.checks.mutation_targets import TARGETS
from sgovss.errors import InputError, command
from sgovss.files import write_json_atomically

CHECKOUT = Path(__file__).resolve().parents[2]
ENOUGH = 0.75
MOST_MODULES = 3
"""Modules of the quick form."""
DIGITS: tuple[str, ...] = ("tests/research/checks/test_golden_run.py",)
"""Run where the tests of a module pass."""
LONGEST = 20
"""Seconds of processor time that a mutant's tests may take, beyond twice those without a mutant."""
_NOT_COPIED = shutil.ignore_patterns(".*", "output", "*.egg-info", "evidence")
_LIBRARIES = (
    "torch", "open_clip", "timm", "detectron2.engine", "detectron2.evaluation", "hypothesis", "pydantic",
    "rasterio", "pyogrio", "shapely", "pyproj", "xarray", "geopandas",
)  # fmt: skip


@dataclass(frozen=True)
class Task:
    """The mutants of one module; ``record`` is the file of an earlier result, if any."""

    module: str
    tests: tuple[str, ...]
    possible: int
    chosen: tuple[Mutant, ...]
    record: Path | None

    @property
    def digest(self) -> str:
        """Changes with the module, with its tests and with the draw."""
        content = [(CHECKOUT / self.module).read_text(encoding="utf-8"), *self.tests]
        return hashlib.sha256("\0".join([*content, *(each.source for each in self.chosen)]).encode()).hexdigest()

    def earlier(self) -> dict[str, Any] | None:
        """The recorded result, or None if there is none of the same module, tests and draw."""
        if self.record is None or not self.record.is_file():
            return None
        result = json.loads(self.record.read_text())
        return result if result["digest"] == self.digest else None


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m research.checks.mutation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=230, help="mutants of all modules; default 230")
    parser.add_argument("--seed", type=int, default=1, help="seed of the draw; default 1")
    parser.add_argument("--modules", nargs="+", choices=TARGETS, metavar="MODULE", help="default: all")
    parser.add_argument("--jobs", type=int, default=1, help="modules at a time; default 1")
    parser.add_argument("--records", type=Path, metavar="FOLDER", help="keep a record of each module here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to this file")
    parser.add_argument("--quick", type=int, metavar="COUNT", help="mutants of the changed modules only")
    parser.add_argument("--changed-since", default="HEAD", metavar="REF", help="with --quick; default HEAD")
    args = parser.parse_args(argv)
    modules = args.modules or (_changed(args.changed_since) if args.quick else None) or list(TARGETS)
    if args.quick:  # because the tests of each module also run without a mutant
        modules = random.Random(args.seed).sample(modules, min(MOST_MODULES, len(modules)))
    tasks = draw(modules, args.quick or args.count, args.seed, args.records)
    for folder in ("sgovss", "research", "tests"):  # else each of the runs below compiles all modules again
        compileall.compile_dir(CHECKOUT / folder, quiet=2)
    with ProcessPoolExecutor(args.jobs, mp_context=multiprocessing.get_context("fork"), initializer=_preload) as pool:
        waiting = [task for task in tasks if task.earlier() is None]
        files = sorted({file for task in waiting for file in (*task.tests, *DIGITS)})
        seconds = dict(zip(files, pool.map(seconds_alone, files), strict=True))
        results = list(pool.map(partial(check, seconds=seconds), tasks))
    if args.json:
        write_json_atomically(args.json, {"seed": args.seed, "modules": results})
    made, alone = (sum(result[key] for result in results) for key in ("mutants", "killed"))
    killed = alone + sum(len(result["by_digits"]) for result in results)
    print(
        f"{killed} of {made} mutants killed ({100 * killed / made:.0f} %), "
        f"{alone} of them without the stored digits ({100 * alone / made:.0f} %)"
    )
    return int(bool(args.quick) and killed < ENOUGH * made)


def draw(modules: Sequence[str], count: int, seed: int, records: Path | None) -> list[Task]:
    """Draw mutants of some modules together, so that each has a share in proportion to its size."""
    every = {name: mutants((CHECKOUT / name).read_text(encoding="utf-8")) for name in modules}
    pool = [(name, index) for name, found in every.items() for index in range(len(found))]
    chosen = defaultdict(list)
    for name, index in sorted(random.Random(seed).sample(pool, min(count, len(pool)))):
        chosen[name].append(every[name][index])
    return [
        Task(
            module=name,
            tests=TARGETS[name],
            possible=len(every[name]),
            chosen=tuple(found),
            record=records and records / f"{name.removesuffix('.py').replace('/', '.')}.json",
        )
        for name, found in sorted(chosen.items())
    ]


def seconds_alone(file: str) -> float:
    """Run a file of tests without a mutant; return its processor time.

    Raises:
        InputError: a test fails.
    """
    with _copy() as copy:
        began = _processor_seconds()
        if not passes(copy, [file], limit=1800):
            raise InputError(f"{file} fails without any mutant; fix it first")
        return _processor_seconds() - began


def check(task: Task, seconds: Mapping[str, float]) -> dict[str, Any]:
    """Run the tests of one module on its mutants; return the counts and the survivors.

    Args:
        task: the module, its tests and its mutants.
        seconds: the processor time of each file of tests without a mutant.
    """
    if earlier := task.earlier():
        return earlier
    survivors: list[dict[str, Any]] = []
    by_digits: list[dict[str, Any]] = []
    limit = LONGEST + round(2 * sum(seconds[file] for file in (*task.tests, *DIGITS)))
    with _copy() as copy:
        Path(importlib.util.cache_from_source(str(copy / task.module))).unlink(missing_ok=True)
        for number, mutant in enumerate(task.chosen, start=1):
            (copy / task.module).write_text(mutant.source, encoding="utf-8")
            alive = passes(copy, task.tests, limit)
            change = f"{task.module}:{mutant.line}: {mutant.old}  ->  {mutant.new}"
            unnoticed = alive and (not DIGITS or passes(copy, DIGITS, limit))
            outcome = "SURVIVED" if unnoticed else "killed by the digits" if alive else "killed"
            print(f"{number}/{len(task.chosen)} {outcome} {change}", flush=True)
            if alive:
                found = survivors if unnoticed else by_digits
                found.append({"line": mutant.line, "old": mutant.old, "new": mutant.new})
    result = {
        "module": task.module,
        "tests": list(task.tests),
        "possible": task.possible,
        "mutants": len(task.chosen),
        "killed": len(task.chosen) - len(survivors) - len(by_digits),
        "by_digits": by_digits,
        "survivors": survivors,
        "digest": task.digest,
    }
    if task.record:
        task.record.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomically(task.record, result)
    return result


@contextmanager
def _copy() -> Iterator[Path]:
    """A copy of the checkout, removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        yield shutil.copytree(CHECKOUT, Path(folder, "checkout"), ignore=_NOT_COPIED)


def passes(copy: Path, tests: Sequence[str], limit: int) -> bool:
    """Whether tests pass in a copy of the checkout. They run in a fork of this process.

    Its processor time is limited to ``limit`` seconds, which do not depend on what else the machine does. The time of
    the clock is limited to four times that, for mutants that wait for ever.
    """
    process = multiprocessing.get_context("fork").Process(target=_run_tests, args=(copy, tests, limit))
    process.start()
    process.join(4 * limit)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode == 0


def _processor_seconds() -> float:
    """Of all finished child processes and theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _run_tests(copy: Path, tests: Sequence[str], limit: int) -> None:
    import pytest

    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    os.chdir(copy)
    os.environ |= {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    sys.path.insert(0, str(copy))
    sys.dont_write_bytecode = True  # a mutant may have the size and the time of the one before
    for name in [
        name for name in sys.modules if name.partition(".")[0] in ("sgovss", "tests", "research", "train_net")
    ]:
        del sys.modules[name]
    with open(os.devnull, "w") as nothing:  # noqa: PTH123
        for stream in (1, 2):
            os.dup2(nothing.fileno(), stream)
    options = ["-x", "-q", "-p", "no:cacheprovider", "--rootdir", str(copy)]
    os._exit(int(pytest.main([*options, *tests])))


def _preload() -> None:
    """Import the libraries once; each run of the tests is a fork."""
    for name in _LIBRARIES:
        importlib.import_module(name)


def _changed(reference: str) -> list[str]:
    """The modules in TARGETS that differ from a commit; none if git cannot tell."""
    command_line = ["git", "-C", str(CHECKOUT), "diff", "--name-only", reference]
    done = subprocess.run(command_line, capture_output=True, text=True, check=False)
    return [name for name in TARGETS if name in done.stdout.split()]


if __name__ == "__main__":
    sys.exit(main())
