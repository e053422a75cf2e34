"""One run of an ablation: train with train_net.py, score each budget's checkpoint with it, keep one JSON."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from research.ablation.interpolation import interpolate_tower
from research.ablation.protocol import Protocol
from sgovss.engine.environment import commit
from sgovss.errors import InputError
from sgovss.files import write_json_atomically

logger = logging.getLogger(__name__)

METRICS = ("mIoU", "seen_mIoU", "unseen_mIoU", "harmonic_mIoU", "pACC")


@dataclass(frozen=True)
class Run:
    """One row of one task, with one choice of settings and one seed."""

    task: str
    row: str
    cell: Mapping[str, str] = field(hash=False)
    seed: int

    @property
    def key(self) -> str:
        """Its place below the folder of records, and its name in the log."""
        parts = [*(f"{axis}-{value}" for axis, value in self.cell.items()), f"seed-{self.seed}"]
        return f"{self.task}/{self.row}/{'_'.join(parts)}"


class Runner:
    """Carries out runs, and goes on where an earlier process was interrupted.

    Args:
        protocol: what the runs mean.
        script: train_net.py.
        records: folder of one JSON a run.
        work: folder for checkpoints and logs, which may be removed when all is done.
        threads: of each run on the CPU.
    """

    def __init__(self, protocol: Protocol, script: Path, records: Path, work: Path, threads: int) -> None:
        self.protocol = protocol
        self.script = script
        self.records = records
        self.work = work
        self.threads = threads

    def record(self, run: Run) -> dict[str, Any]:
        """What is known of a run; empty if nothing is.

        Raises:
            InputError: the file is no JSON.
        """
        path = self._path(run)
        if not path.is_file():
            return {}
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path}: not a record of a run ({error}); remove it to run anew") from error

    def weights(self, run: Run, step: int) -> Path:
        """The checkpoint that a budget was scored with; it is there unless the work folder was cleared."""
        row = self.protocol.rows[run.row]
        if row.tower_of is not None:
            return self._folder(run) / f"step_{step}" / "interpolated.pth"
        return self._checkpoint(run if row.source is None else self._source(run), step)

    def carry_out(self, run: Run, steps: Sequence[int]) -> bool:
        """Bring a run to the largest of ``steps`` and score it at each; whether there was anything to do."""
        row = self.protocol.rows[run.row]
        budgets = sorted(steps) if row.trained else [0]
        record = self.record(run)
        scores: dict[str, Any] = dict(record.get("scores", {}))
        missing = [step for step in budgets if str(step) not in scores]
        if not missing:
            return False
        started = time.monotonic()
        options = self.protocol.run_options(run.task, run.row, run.cell)
        if row.trained and row.source is None:
            self._train(run, options, max(missing))
        for step in missing:
            scores[str(step)] = self._score(run, options, step)
            minutes = record.get("minutes", 0.0) + (time.monotonic() - started) / 60
            self._write(run, options, scores, minutes)
        return True

    def _train(self, run: Run, options: Mapping[str, str], steps: int) -> None:
        folder = self._folder(run)
        if self._checkpoint(run, steps).is_file():
            return
        period = math.gcd(*self.protocol.steps)
        extra = {
            "SEED": str(run.seed),
            "SOLVER.MAX_ITER": str(steps),
            "SOLVER.CHECKPOINT_PERIOD": str(period),
            "DATASETS.TEST": "()",
            "OUTPUT_DIR": str(folder),
        }
        self._call(run, folder / "train.log", {**options, **extra}, "--resume")
        budgets = {self._checkpoint(run, step) for step in self.protocol.steps}
        for path in folder.glob("model_*.pth"):
            if path not in budgets:
                path.unlink()
        (folder / "last_checkpoint").write_text(self._checkpoint(run, steps).name, encoding="utf-8")

    def _score(self, run: Run, options: Mapping[str, str], step: int) -> dict[str, Any]:
        task, row = self.protocol.tasks[run.task], self.protocol.rows[run.row]
        folder = self._folder(run) / f"step_{step}"
        extra = {"SEED": str(run.seed), "DATASETS.TEST": repr(task.datasets), "OUTPUT_DIR": str(folder)}
        if row.source is not None and not (source := self._checkpoint(self._source(run), step)).is_file():
            raise InputError(f"{source}: no such checkpoint; run the row whose checkpoints {run.key} takes first")
        if row.tower_of is not None:
            self._interpolate(run, options, step)
        if row.trained:
            extra["MODEL.WEIGHTS"] = str(self.weights(run, step))
        self._call(run, folder / "evaluate.log", {**options, **extra}, "--eval-only")
        return {name: _summary(folder / "evaluation" / f"{name}.json") for name in task.datasets}

    def _source(self, run: Run) -> Run:
        """The run whose checkpoints this one takes."""
        cell = {axis: value for axis, value in run.cell.items() if axis != "share"}
        return Run(run.task, self.protocol.rows[run.row].source, cell, run.seed)

    def _interpolate(self, run: Run, options: Mapping[str, str], step: int) -> None:
        source = self._checkpoint(self._source(run), step)
        share, config = float(run.cell["share"]), self.protocol.tasks[run.task].config
        interpolate_tower(source, config, options, share, self.weights(run, step))

    def _call(self, run: Run, log: Path, options: Mapping[str, str], *flags: str) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(self.script), "--config-file", self.protocol.tasks[run.task].config, *flags]
        command += [word for pair in options.items() for word in pair]
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads)}
        with log.open("a", encoding="utf-8") as file:
            done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        if done.returncode:
            last = (log.read_text(encoding="utf-8").strip().splitlines() or ["no output"])[-1]
            raise InputError(f"{run.key}: train_net.py ended with status {done.returncode}; see {log} ({last[:200]})")

    def _write(self, run: Run, options: Mapping[str, str], scores: Mapping[str, Any], minutes: float) -> None:
        content = {
            "task": run.task,
            "row": run.row,
            "cell": dict(run.cell),
            "seed": run.seed,
            "config": self.protocol.tasks[run.task].config,
            "options": dict(options),
            "commit": commit(),
            "machine": f"{self.threads} of {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
            "minutes": round(minutes, 1),
            "scores": scores,
        }
        write_json_atomically(self._path(run), content)

    def _path(self, run: Run) -> Path:
        return self.records / f"{run.key}.json"

    def _folder(self, run: Run) -> Path:
        return self.work / run.key

    def _checkpoint(self, run: Run, step: int) -> Path:
        return self._folder(run) / f"model_{step - 1:07d}.pth"


def _summary(path: Path) -> dict[str, Any]:
    """What a record keeps of an evaluation: the headline metrics, the interval of mIoU, and the IoU of each class."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return {
        **{metric: content[metric] for metric in METRICS},
        "interval": content["interval_95"]["mIoU"],
        "iou": {row["name"]: row["iou"] for row in content["per_class"]},
    }
