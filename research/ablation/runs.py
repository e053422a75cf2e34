"""One run of an ablation: training and evaluation with train_net.py, and its record."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import queue
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from research.ablation.interpolation import interpolate_encoder
from research.ablation.protocol import Protocol
from sgovss.engine.environment import commit
from sgovss.errors import InputError
from sgovss.files import write_json_atomically

logger = logging.getLogger(__name__)

METRICS = ("mIoU", "seen_mIoU", "unseen_mIoU", "harmonic_mIoU", "pACC")


@dataclass(frozen=True)
class Run:
    """One variant of one task, with its settings and a seed."""

    task: str
    variant: str
    settings: Mapping[str, str] = field(hash=False)
    seed: int

    @property
    def key(self) -> str:
        """Path of the record in the folder of records, without suffix. It also names the run in logs."""
        parts = [*(f"{axis}-{value}" for axis, value in self.settings.items()), f"seed-{self.seed}"]
        return f"{self.task}/{self.variant}/{'_'.join(parts)}"


class Runner:
    """Carries out runs, and continues those that were interrupted.

    Args:
        protocol: the protocol of the runs.
        script: path of train_net.py.
        records: folder of the records, one JSON file per run.
        work: folder for checkpoints and logs; it may be removed when all runs are done.
        threads: CPU threads of each run.
        devices: GPUs as CUDA_VISIBLE_DEVICES names them, one for each run at a time; a GPU may occur several times.
            Empty to leave the choice to torch.
    """

    def __init__(
        self, protocol: Protocol, script: Path, records: Path, work: Path, threads: int, devices: Sequence[str] = ()
    ) -> None:
        self.protocol = protocol
        self.script = script
        self.records = records
        self.work = work
        self.threads = threads
        free: queue.SimpleQueue[str] = queue.SimpleQueue()
        for device in devices:
            free.put(device)
        self._free = free if devices else None

    def record(self, run: Run) -> dict[str, Any]:
        """Read the record of a run; empty if there is none.

        Raises:
            InputError: the file is not JSON.
        """
        path = self._path(run)
        if not path.is_file():
            return {}
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path}: not a record of a run ({error}); remove it to run again") from error

    def weights(self, run: Run, step: int) -> Path:
        """Path of the checkpoint of a budget; it is missing if the work folder was removed."""
        variant = self.protocol.variants[run.variant]
        if variant.interpolates is not None:
            return self._folder(run) / f"step_{step}" / "interpolated.pth"
        return self._checkpoint(run if variant.source is None else self._source(run), step)

    def carry_out(self, run: Run, steps: Sequence[int]) -> bool:
        """Train a run up to the largest of ``steps`` and evaluate it at each of them.

        Returns:
            whether anything had to be done; False if the record was complete.
        """
        variant = self.protocol.variants[run.variant]
        budgets = sorted(steps) if variant.trained else [0]
        record = self.record(run)
        scores: dict[str, Any] = dict(record.get("scores", {}))
        missing = [step for step in budgets if str(step) not in scores]
        if not missing:
            return False
        started = time.monotonic()
        options = self.protocol.run_options(run.task, run.variant, run.settings)
        if variant.trained and variant.source is None:
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
        task, variant = self.protocol.tasks[run.task], self.protocol.variants[run.variant]
        folder = self._folder(run) / f"step_{step}"
        extra = {"SEED": str(run.seed), "DATASETS.TEST": repr(task.datasets), "OUTPUT_DIR": str(folder)}
        if variant.source is not None and not (source := self._checkpoint(self._source(run), step)).is_file():
            raise InputError(f"{source}: no such checkpoint; first run the variant whose checkpoints {run.key} uses")
        if variant.interpolates is not None:
            self._interpolate(run, options, step)
        if variant.trained:
            extra["MODEL.WEIGHTS"] = str(self.weights(run, step))
        self._call(run, folder / "evaluate.log", {**options, **extra}, "--eval-only")
        return {name: _summary(folder / "evaluation" / f"{name}.json") for name in task.datasets}

    def _source(self, run: Run) -> Run:
        """Return the run whose checkpoints are used."""
        source = self.protocol.variants[run.variant].source
        assert source is not None
        return Run(run.task, source, {axis: value for axis, value in run.settings.items() if axis != "ratio"}, run.seed)

    def _interpolate(self, run: Run, options: Mapping[str, str], step: int) -> None:
        source = self._checkpoint(self._source(run), step)
        ratio, config = float(run.settings["ratio"]), self.protocol.tasks[run.task].config
        interpolate_encoder(source, config, options, ratio, self.weights(run, step))

    def _call(self, run: Run, log: Path, options: Mapping[str, str], *flags: str) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(self.script), "--config-file", self.protocol.tasks[run.task].config, *flags]
        command += [word for pair in options.items() for word in pair]
        with log.open("a", encoding="utf-8") as file, self._device() as device:
            environment = {**os.environ, **device, "OMP_NUM_THREADS": str(self.threads)}
            done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        if done.returncode:
            last = (log.read_text(encoding="utf-8").strip().splitlines() or ["no output"])[-1]
            raise InputError(f"{run.key}: train_net.py ended with status {done.returncode}; see {log} ({last[:200]})")

    @contextmanager
    def _device(self) -> Iterator[dict[str, str]]:
        """Take a GPU that no other run uses; yield the environment variable that names it."""
        if self._free is None:
            yield {}
            return
        device = self._free.get()
        try:
            yield {"CUDA_VISIBLE_DEVICES": device}
        finally:
            self._free.put(device)

    def _write(self, run: Run, options: Mapping[str, str], scores: Mapping[str, Any], minutes: float) -> None:
        content = {
            "task": run.task,
            "variant": run.variant,
            "settings": dict(run.settings),
            "seed": run.seed,
            "config": self.protocol.tasks[run.task].config,
            "options": dict(options),
            "commit": commit(),
            "machine": f"{self._hardware()}, torch {torch.__version__}",
            "minutes": round(minutes, 1),
            "scores": scores,
        }
        write_json_atomically(self._path(run), content)

    def _hardware(self) -> str:
        if self._free is not None:
            return torch.cuda.get_device_name()
        return f"{self.threads} of {os.cpu_count()} cores, {platform.machine()}"

    def _path(self, run: Run) -> Path:
        return self.records / f"{run.key}.json"

    def _folder(self, run: Run) -> Path:
        return self.work / run.key

    def _checkpoint(self, run: Run, step: int) -> Path:
        return self._folder(run) / f"model_{step - 1:07d}.pth"


def _summary(path: Path) -> dict[str, Any]:
    """Read the part of an evaluation that a record keeps: metrics, interval of mIoU and IoU of each class."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return {
        **{metric: content[metric] for metric in METRICS},
        "interval": content["interval_95"]["mIoU"],
        "iou": {row["name"]: row["iou"] for row in content["per_class"]},
    }
