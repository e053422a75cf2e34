"""Plan of an ablation: which runs are needed, in which order, and with which settings."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from research.ablation.protocol import Protocol
from research.ablation.report import best_settings, best_step, chosen
from research.ablation.runs import Run, Runner
from sgovss.errors import InputError

logger = logging.getLogger("ablation")


class Study:
    """The runs of some tasks and variants.

    Args:
        protocol: all tasks and variants.
        runner: carries runs out.
        tasks, variants: names of the tasks and variants to run or show; empty for all.
        jobs: number of runs at a time.
        given: settings to use instead of those that screening chooses.

    Raises:
        InputError: the protocol has no such task or variant.
    """

    def __init__(
        self,
        protocol: Protocol,
        runner: Runner,
        tasks: Sequence[str] = (),
        variants: Sequence[str] = (),
        jobs: int = 1,
        given: Mapping[str, str] | None = None,
    ) -> None:
        self.protocol = protocol
        self.runner = runner
        self.jobs = jobs
        self.given = given
        self.tasks = _known(tasks, protocol.tasks, "--tasks")
        self.variants = _known(variants, protocol.variants, "--variants")

    def screen(self) -> None:
        """Run all settings of the grid with the first seed and the short budgets."""
        steps = [step for step in self.protocol.steps if step <= self.protocol.screening_steps]
        runs = [
            Run(task, variant, settings, self.protocol.seeds[0])
            for task in self.tasks
            for variant in self.variants
            for settings in self.protocol.grid_settings(variant)
        ]
        self._carry_out(runs, steps)

    def finish(self, longest: int) -> None:
        """Run the chosen settings of each variant with all seeds and all budgets up to ``longest``.

        Raises:
            InputError: no settings of a variant are chosen yet.
        """
        runs = [run for task in self.tasks for variant in self.variants for run in self._final_runs(task, variant)]
        unique = {run.key: run for run in runs}
        self._carry_out(list(unique.values()), [step for step in self.protocol.steps if step <= longest])

    def _final_runs(self, task: str, variant: str) -> list[Run]:
        settings = self.settings(task, variant)
        if settings is None:
            raise InputError(f"{task}/{variant}: no settings are chosen yet; screen this variant first")
        spec = self.protocol.variants[variant]
        seeds = self.protocol.seeds if spec.trained else self.protocol.seeds[:1]
        runs = [Run(task, variant, settings, seed) for seed in seeds]
        if spec.source is not None:
            # Screening may have chosen other settings for the variant that provides the checkpoints.
            own = {axis: value for axis, value in settings.items() if axis != "ratio"}
            runs += [Run(task, spec.source, own, seed) for seed in self.protocol.seeds]
        return runs

    def settings(self, task: str, variant: str) -> dict[str, str] | None:
        """Return the given settings, or those that screening chose; None if there is no record.

        Raises:
            InputError: the axes of the given settings are not those of the variant.
        """
        grid = self.protocol.grid_settings(variant)
        if self.given is not None:
            axes = grid[0]
            if self.given.keys() != axes.keys():
                raise InputError(f"--settings: {variant} needs exactly these settings: {', '.join(axes)}")
            return {axis: self.given[axis] for axis in axes}
        records = [self.runner.record(Run(task, variant, each, self.protocol.seeds[0])) for each in grid]
        return best_settings(records, self.protocol.tasks[task], self.protocol.screening_steps)

    def final(self, task: str) -> dict[str, list[dict[str, Any]]]:
        """Return the records of each variant with its chosen settings, one per seed."""
        return {variant: list(self._records(task, variant)) for variant in self.variants}

    def _records(self, task: str, variant: str) -> Iterator[dict[str, Any]]:
        settings = self.settings(task, variant)
        if settings is not None:
            records = (self.runner.record(Run(task, variant, settings, seed)) for seed in self.protocol.seeds)
            yield from (record for record in records if record)

    def _carry_out(self, runs: Sequence[Run], steps: Sequence[int]) -> None:
        # Variants that use the checkpoints of another one run after it.
        waves = [
            [run for run in runs if bool(self.protocol.variants[run.variant].source) == late] for late in (False, True)
        ]
        with ThreadPoolExecutor(self.jobs) as pool:
            for wave in waves:
                pending = [pool.submit(self._carry_out_one, run, steps) for run in wave]
                try:
                    for number, done in enumerate(as_completed(pending), 1):
                        logger.info("%d/%d %s", number, len(wave), done.result())
                finally:
                    for future in pending:
                        future.cancel()

    def _carry_out_one(self, run: Run, steps: Sequence[int]) -> str:
        started = time.monotonic()
        worked = self.runner.carry_out(run, steps)
        record, task = self.runner.record(run), self.protocol.tasks[run.task]
        scores = "; ".join(f"{step}: {chosen(record, task, step):.1f}" for step in record["scores"])
        took = f"{(time.monotonic() - started) / 60:.1f} min" if worked else "already done"
        return f"{run.key}: {scores} (validation by steps; {took})"

    def models(self, task: str) -> dict[str, tuple[dict[str, str], Path | None]]:
        """Return the best model of each variant that has a record, for the first seed and the chosen settings.

        Returns:
            title -> config options and checkpoint; the checkpoint is None for the model before training.
        """
        found: dict[str, tuple[dict[str, str], Path | None]] = {}
        for variant in self.variants:
            settings, spec = self.settings(task, variant), self.protocol.variants[variant]
            if settings is None:
                continue
            run, weights, title = Run(task, variant, settings, self.protocol.seeds[0]), None, spec.title
            if spec.trained:
                step = best_step(self.runner.record(run), self.protocol.tasks[task])
                weights, title = self.runner.weights(run, int(step)), f"{title}, {step} steps"
            found[title] = self.protocol.run_options(task, variant, settings), weights
        return found


def _known(names: Sequence[str], all_names: Mapping[str, Any], flag: str) -> list[str]:
    if unknown := [name for name in names if name not in all_names]:
        raise InputError(f"{flag}: no '{unknown[0]}' in the protocol; it has {', '.join(all_names)}")
    return [name for name in all_names if not names or name in names]
