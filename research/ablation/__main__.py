#!/usr/bin/env python
"""Run a protocol's rows and write what they show; run it again after an interruption and it goes on.

    DETECTRON2_DATASETS=DATA python -m research.ablation run                     # all of it, for days on a CPU
    DETECTRON2_DATASETS=DATA python -m research.ablation run --tasks generated --rows zero-shot plain --screen
    python -m research.ablation run --rows full --cell tower_lr=0.3 weight=1.0   # these settings, no screening
    python -m research.ablation report                                           # tables and curves of what is there
    python -m research.ablation overlays --tasks generated --scene 3             # one scene as every row segments it

Screening tries every cell of a row's grid with the first seed at the short budgets; validation chooses the cell;
the final runs take that cell to the longest budget with all seeds. Every finished run is one JSON. A report has all
tasks and rows that there are records of.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from research.ablation.overlays import draw_overlays, is_generated
from research.ablation.protocol import Protocol, load_protocol
from research.ablation.report import best_cell, best_step, chosen, curves, refresh_tables, tables
from research.ablation.runs import Run, Runner
from sgovss.config import load_config
from sgovss.data import register_datasets
from sgovss.errors import InputError, command
from sgovss.evaluation.pictures import draw_curves
from sgovss.files import atomic_path

CHECKOUT = Path(__file__).resolve().parents[2]
EVIDENCE = CHECKOUT / "research" / "evidence"
PICTURES = CHECKOUT / "docs" / "evidence"

logger = logging.getLogger("ablation")


class Ablation:
    """The runs of some tasks and rows.

    Args:
        protocol: all that may be run.
        runner: carries runs out.
        tasks, rows: what to look at; empty for everything.
        jobs: runs at a time.
        given: the settings to run, instead of those that screening chooses.
    """

    def __init__(
        self,
        protocol: Protocol,
        runner: Runner,
        tasks: Sequence[str] = (),
        rows: Sequence[str] = (),
        jobs: int = 1,
        given: Mapping[str, str] | None = None,
    ) -> None:
        self.protocol = protocol
        self.runner = runner
        self.jobs = jobs
        self.given = given
        self.tasks = _known(tasks, protocol.tasks, "--tasks")
        self.rows = _known(rows, protocol.rows, "--rows")

    def screen(self) -> None:
        """Every cell, first seed, short budgets."""
        steps = [step for step in self.protocol.steps if step <= self.protocol.screening_steps]
        runs = [
            Run(task, row, cell, self.protocol.seeds[0])
            for task in self.tasks
            for row in self.rows
            for cell in self.protocol.cells(row)
        ]
        self._carry_out(runs, steps)

    def finish(self, longest: int) -> None:
        """The chosen cell of each row, all seeds, all budgets up to ``longest``."""
        runs = [run for task in self.tasks for row in self.rows for run in self._final_runs(task, row)]
        unique = {run.key: run for run in runs}
        self._carry_out(list(unique.values()), [step for step in self.protocol.steps if step <= longest])

    def _final_runs(self, task: str, row: str) -> list[Run]:
        cell = self.cell(task, row)
        if cell is None:
            raise InputError(f"{task}/{row}: no cell is chosen yet; screen this row first")
        spec = self.protocol.rows[row]
        runs = [
            Run(task, row, cell, seed) for seed in (self.protocol.seeds if spec.trained else self.protocol.seeds[:1])
        ]
        if spec.source is not None:
            # The row whose checkpoints it takes may have chosen another cell for itself.
            own = {axis: value for axis, value in cell.items() if axis != "share"}
            runs += [Run(task, spec.source, own, seed) for seed in self.protocol.seeds]
        return runs

    def cell(self, task: str, row: str) -> dict[str, str] | None:
        """The settings that were given, or that screening chose."""
        if self.given is not None:
            axes = self.protocol.cells(row)[0]
            if self.given.keys() != axes.keys():
                raise InputError(f"--cell: {row} wants a value for each of these, and no other: {', '.join(axes)}")
            return {axis: self.given[axis] for axis in axes}
        records = [
            self.runner.record(Run(task, row, cell, self.protocol.seeds[0])) for cell in self.protocol.cells(row)
        ]
        return best_cell(records, self.protocol.tasks[task], self.protocol.screening_steps)

    def final(self, task: str) -> dict[str, list[dict[str, Any]]]:
        """The records of each row at its chosen cell."""
        return {row: list(self._records(task, row)) for row in self.rows}

    def _records(self, task: str, row: str) -> Iterator[dict[str, Any]]:
        cell = self.cell(task, row)
        if cell is not None:
            records = (self.runner.record(Run(task, row, cell, seed)) for seed in self.protocol.seeds)
            yield from (record for record in records if record)

    def _carry_out(self, runs: Sequence[Run], steps: Sequence[int]) -> None:
        # What takes another row's checkpoints comes after that row.
        waves = [[run for run in runs if bool(self.protocol.rows[run.row].source) == late] for late in (False, True)]
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
        took = f"{(time.monotonic() - started) / 60:.1f} min" if worked else "was there"
        return f"{run.key}: {scores} (validation by steps; {took})"

    def models(self, task: str) -> dict[str, tuple[dict[str, str], Path | None]]:
        """Title -> options and best checkpoint of each row that was run, at its chosen cell with the first seed."""
        found: dict[str, tuple[dict[str, str], Path | None]] = {}
        for row in self.rows:
            cell, spec = self.cell(task, row), self.protocol.rows[row]
            if cell is None:
                continue
            run, weights, title = Run(task, row, cell, self.protocol.seeds[0]), None, spec.title
            if spec.trained:
                step = best_step(self.runner.record(run), self.protocol.tasks[task])
                weights, title = self.runner.weights(run, int(step)), f"{title}, {step} steps"
            found[title] = self.protocol.run_options(task, row, cell), weights
        return found


def write_overlays(ablation: Ablation, folder: Path, scene: int) -> None:
    """Write a picture for each task whose test images the project drew itself; others are not ours to show."""
    for task in ablation.tasks:
        spec = ablation.protocol.tasks[task]
        options = ablation.protocol.run_options(task, ablation.rows[0], {})
        cfg = load_config(spec.config, [word for pair in options.items() for word in pair])
        register_datasets(cfg.DATASETS.SPECIFICATIONS)
        if is_generated(spec.shown):
            path = folder / f"{task}_overlays.png"
            draw_overlays(spec, cfg, ablation.models(task), scene, path)
            print(f"overlays in {path}")


def write_report(ablation: Ablation, folder: Path) -> None:
    """Write ``tables.md`` with every row and pictures of some rows' curves, and renew the tables of ``<folder>.md``."""
    parts, brief, protocol = ["# Tables"], {}, ablation.protocol
    for task in ablation.tasks:
        final, spec = ablation.final(task), protocol.tasks[task]
        if not any(final.values()):
            continue
        main, *aside = tables(protocol, task, final, brief=False).values()
        parts += [
            f"## {spec.title}",
            main,
            *(part for each in aside for part in ("Beside it, deciding nothing:", each)),
        ]
        brief |= tables(protocol, task, final, brief=True)
        _draw_curves(protocol, task, final, folder)
    path = folder / "tables.md"
    _replace(path, "\n\n".join(parts) + "\n")
    print(f"tables in {path}")
    page = folder.with_suffix(".md")
    if page.is_file():
        _replace(page, refresh_tables(page.read_text(encoding="utf-8"), brief))
        print(f"tables renewed in {page}")


def _draw_curves(protocol: Protocol, task: str, final: Mapping[str, Sequence[Mapping[str, Any]]], folder: Path) -> None:
    spec, titles = protocol.tasks[task], [protocol.rows[row].title for row in protocol.curve_rows]
    trained = [row for row in protocol.curve_rows if final.get(row) and protocol.rows[row].trained]
    for heading, column in spec.report.items():
        series = curves(protocol, task, final, trained, column)
        name = re.sub(r"\W+", "_", f"{task} {heading}").lower() + ".png"
        draw_curves(series, f"{spec.title}: {heading}", folder / name, known_labels=titles)


def _replace(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _setting(text: str) -> tuple[str, str]:
    axis, equals, value = text.partition("=")
    if not (axis and equals and value):
        raise argparse.ArgumentTypeError(f"'{text}' is no AXIS=VALUE, such as tower_lr=0.3")
    return axis, value


def _known(names: Sequence[str], all_names: Sequence[str], flag: str) -> list[str]:
    if unknown := [name for name in names if name not in all_names]:
        raise InputError(f"{flag}: no '{unknown[0]}' in the protocol; it has {', '.join(all_names)}")
    return [name for name in all_names if not names or name in names]


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "report", "overlays"))
    parser.add_argument("--protocol", type=Path, default=EVIDENCE / "protocol.yaml")
    parser.add_argument("--records", type=Path, default=EVIDENCE / "runs", help="one JSON a run")
    parser.add_argument("--work", type=Path, default=Path("output/ablation"), help="checkpoints and logs")
    parser.add_argument("--report", type=Path, default=PICTURES, help="where tables and curves go")
    parser.add_argument("--tasks", nargs="*", default=(), help="default: all")
    parser.add_argument("--rows", nargs="*", default=(), help="default: all")
    parser.add_argument("--screen", action="store_true", help="stop after screening")
    parser.add_argument(
        "--cell", nargs="+", type=_setting, metavar="AXIS=VALUE", help="run these settings, without screening"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time, which share the cores")
    parser.add_argument("--longest", type=int, help="the longest budget of the final runs")
    parser.add_argument("--scene", type=int, default=0, help="number of the test scene to show")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    protocol = load_protocol(args.protocol)
    # Several runs of one thread each get more done than one run of several threads.
    threads = max(1, os.cpu_count() // args.jobs)
    runner = Runner(protocol, CHECKOUT / "train_net.py", args.records, args.work, threads)
    ablation = Ablation(protocol, runner, args.tasks, args.rows, args.jobs, dict(args.cell) if args.cell else None)
    if args.action == "run":
        if not args.cell:
            ablation.screen()
        if not args.screen:
            ablation.finish(args.longest or max(protocol.steps))
    if args.action == "overlays":
        write_overlays(ablation, args.report, args.scene)
    else:
        write_report(Ablation(protocol, runner), args.report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
