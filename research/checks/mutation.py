"""Check the tests with mutants, which are small changes of the code that a test should detect.

    python -m research.checks.mutation --count 230 --seed 1 --jobs 2 --records output/mutation \\
        --json research/checks/mutants.json
    python -m research.checks.mutation --quick 20 --changed-since origin/main

Mutants are drawn from all modules, in proportion to how many each has. Each runs in a copy of the checkout: the tests
of its module should fail, the most sensitive ones run first; if they pass, the test of the stored digits
(``research.checks.golden_run``) should fail. Mutants for which all pass (survivors) are printed. With
``--records`` each finished module has a file there, and a later call continues with the others. ``--quick`` draws
from six of the modules that a change touches, or of all if git tells none, and fails if fewer than three quarters are
killed: if the tests kill 90 %, that happens to 20 mutants once in a hundred draws.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
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
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from research.checks.mutants import Mutant, mutants
from sgovss.errors import InputError, command
from sgovss.files import write_json_atomically

CHECKOUT = Path(__file__).resolve().parents[2]
ENOUGH = 0.75
MOST_MODULES = 6
"""Modules of the quick form."""
DIGITS: tuple[str, ...] = ("tests/research/checks/test_golden_run.py",)
"""Run where the tests of a module pass."""
LONGEST = 60
"""Seconds of processor time that a mutant's tests may take, beyond three times those without a mutant."""
_NOT_COPIED = shutil.ignore_patterns(".*", "output", "__pycache__", "*.egg-info", "evidence")
_LIBRARIES = ("torch", "open_clip", "timm", "detectron2.engine", "detectron2.evaluation", "hypothesis", "rasterio")

_MODEL = (
    "tests/modeling/test_levels_to_logits.py tests/modeling/test_logits_to_scores.py "
    "tests/modeling/test_images_to_maps.py tests/modeling/test_text_and_maps.py"
)
_STEP = "tests/engine/test_training_rules.py"
_SCENES = "tests/rasters/test_scene.py tests/rasters/test_scene_runs.py"
TARGETS = {
    "sgovss/tiling.py": "tests/test_tiling.py",
    "sgovss/vocabulary.py": "tests/test_vocabulary.py",
    "sgovss/evaluation/metrics.py": "tests/evaluation/test_metrics.py tests/evaluation/test_evaluator.py",
    "sgovss/evaluation/evaluator.py": "tests/evaluation/test_evaluator.py",
    "sgovss/modeling/compensation.py": f"tests/modeling/test_compensation.py {_MODEL}",
    "sgovss/modeling/objective.py": f"tests/modeling/test_objective.py {_MODEL}",
    "sgovss/modeling/meta_arch.py": f"{_MODEL} tests/modeling/test_meta_arch.py tests/modeling/test_class_scores.py "
    "tests/modeling/test_parts.py tests/config_effects",
    "sgovss/modeling/cost_volume.py": f"{_MODEL} tests/modeling/test_parts.py tests/modeling/test_initialisation.py "
    "tests/modeling/test_frugality.py tests/config_effects",
    "sgovss/modeling/bias_guidance.py": f"{_MODEL} tests/modeling/test_parts.py tests/modeling/test_initialisation.py",
    "sgovss/modeling/decoder.py": f"{_MODEL} tests/modeling/test_parts.py tests/modeling/test_training_choices.py "
    "tests/modeling/test_frugality.py tests/config_effects",
    "sgovss/modeling/image_encoder.py": f"tests/modeling/test_dense_path.py tests/modeling/test_parts.py {_MODEL}",
    "sgovss/modeling/conv_tower.py": f"tests/modeling/test_dense_path.py tests/modeling/test_parts.py {_MODEL}",
    "sgovss/modeling/vit_tower.py": f"tests/modeling/test_dense_path.py tests/modeling/test_parts.py {_MODEL}",
    "sgovss/modeling/vit_blocks.py": f"tests/modeling/test_dense_path.py tests/modeling/test_frugality.py {_MODEL}",
    "sgovss/modeling/views.py": "tests/modeling/test_views.py tests/modeling/test_class_scores.py tests/config_effects",
    "sgovss/engine/step.py": f"{_STEP} tests/engine/test_step.py tests/engine/test_trainer.py",
    "sgovss/engine/trainer.py": f"{_STEP} tests/engine/test_trainer.py tests/config_effects "
    "tests/commands/test_train.py",
    "sgovss/engine/run.py": "tests/commands/test_train.py tests/test_config_changes.py",
    "sgovss/engine/preparation.py": "tests/config_effects tests/commands/test_train.py",
    "sgovss/data/preparation.py": "tests/commands/test_prepare.py tests/data/test_archives.py",
    "sgovss/rasters/source.py": f"tests/rasters/test_source.py {_SCENES}",
    "sgovss/rasters/grid.py": f"tests/rasters/test_blending.py {_SCENES}",
    "sgovss/rasters/scene.py": f"{_SCENES} tests/rasters/test_scene_errors.py",
    "sgovss/rasters/geotiff.py": _SCENES,
    "sgovss/rasters/vectors.py": _SCENES,
    "sgovss/rasters/areas.py": _SCENES,
    "sgovss/inference/segmentation.py": "tests/inference/test_segmentation.py tests/inference/test_predictor.py",
}
"""Modules and their tests, the most sensitive ones first."""


@dataclass(frozen=True)
class Task:
    """The mutants of one module; ``record`` is the file of an earlier result, if any."""

    checkout: Path
    module: str
    tests: tuple[str, ...]
    possible: int
    chosen: tuple[Mutant, ...]
    record: Path | None

    @property
    def digest(self) -> str:
        """Changes with the module, with its tests and with the draw."""
        content = [(self.checkout / self.module).read_text(encoding="utf-8"), *self.tests]
        return hashlib.sha256("\0".join([*content, *(each.source for each in self.chosen)]).encode()).hexdigest()


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
    with ProcessPoolExecutor(args.jobs, mp_context=multiprocessing.get_context("fork"), initializer=_preload) as pool:
        results = list(pool.map(check, tasks))
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
            checkout=CHECKOUT,
            module=name,
            tests=tuple(TARGETS[name].split()),
            possible=len(every[name]),
            chosen=tuple(found),
            record=records and records / f"{name.removesuffix('.py').replace('/', '.')}.json",
        )
        for name, found in sorted(chosen.items())
    ]


def check(task: Task) -> dict[str, Any]:
    """Run the tests of one module on its mutants; return the counts and the survivors.

    Raises:
        InputError: the tests fail without a mutant.
    """
    if task.record and task.record.is_file():
        earlier = json.loads(task.record.read_text())
        if earlier["digest"] == task.digest:
            return earlier
    survivors, by_digits = [], []
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(task.checkout, Path(folder, "checkout"), ignore=_NOT_COPIED)
        began = _processor_seconds()
        if not passes(copy, (*task.tests, *DIGITS), limit=1800):
            raise InputError(f"{' '.join(task.tests)} fail without any mutant; fix them first")
        limit = LONGEST + round(3 * (_processor_seconds() - began))
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


def passes(copy: Path, tests: Sequence[str], limit: int) -> bool:
    """Whether tests pass in a copy of the checkout. They run in a fork of this process.

    Its processor time is limited to ``limit`` seconds, which do not depend on what else the machine does. The time of
    the clock is limited to ten times that, for mutants that wait for ever.
    """
    process = multiprocessing.get_context("fork").Process(target=_run_tests, args=(copy, tests, limit))
    process.start()
    process.join(10 * limit)
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
    os.environ |= {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    sys.path.insert(0, str(copy))
    sys.dont_write_bytecode = True  # a mutant may have the size and the time of the one before
    for name in [
        name for name in sys.modules if name.partition(".")[0] in ("sgovss", "tests", "research", "train_net")
    ]:
        del sys.modules[name]
    with open(os.devnull, "w") as nothing:  # noqa: PTH123
        for stream in (1, 2):
            os.dup2(nothing.fileno(), stream)
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--rootdir", str(copy)]
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
