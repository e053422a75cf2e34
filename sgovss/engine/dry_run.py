"""The dry run of a training: ten steps and one image of each test set, with what they cost, and no file left."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.engine import HookBase, TrainerBase, hooks
from detectron2.utils import comm

from sgovss.data.registration import training_vocabulary
from sgovss.engine.metrics_file import MetricsFile
from sgovss.engine.trainer import Trainer
from sgovss.resources import peak_megabytes

STEPS = 10
_WARM_UP = 2  # steps that are slower than the others


class StepTimes(HookBase):
    """The seconds of each step, in ``seconds``."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def before_train(self) -> None:
        self._since = time.perf_counter()

    def after_step(self) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self._since)
        self._since = now


class DryRun(Trainer):
    """A trainer for the first :data:`STEPS` steps of a run, which writes nothing but metrics.json.

    Args:
        cfg: a frozen config; OUTPUT_DIR is a temporary folder.
    """

    def __init__(self, cfg: CfgNode) -> None:
        self.times = StepTimes()
        super().__init__(cfg)
        self.max_iter = min(STEPS, self.max_iter)

    def build_hooks(self) -> list[HookBase]:
        built = [hooks.LRScheduler(), self.times]
        if comm.is_main_process():
            built.append(hooks.PeriodicWriter([MetricsFile(self._metrics_file)], period=1))
        return built

    def before_train(self) -> None:
        # A signal ends the process at once, because there is nothing to save.
        TrainerBase.before_train(self)

    def losses(self) -> list[float]:
        """The total loss of each step that was made."""
        lines = map(json.loads, Path(self._metrics_file).read_text(encoding="utf-8").splitlines())
        return [line["total_loss"] for line in lines if "total_loss" in line]


def dry_run(cfg: CfgNode) -> None:
    """Train for :data:`STEPS` steps, score one image of each test set, and print what they cost.

    Args:
        cfg: a frozen config; OUTPUT_DIR is a temporary folder.

    Raises:
        InputError: as training does.
    """
    trainer = DryRun(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    for name in cfg.DATASETS.TEST:
        _score_one(trainer, name)
    if comm.is_main_process():
        print("\n".join(["", *_report(trainer)]), flush=True)


def _score_one(trainer: DryRun, name: str) -> None:
    """Segment one image of a test set and compare it with its label, as an evaluation does."""
    model = trainer.checkpointer.model.eval()
    inputs = next(iter(trainer.build_test_loader(trainer.cfg, name)))
    with torch.no_grad():
        trainer.build_evaluator(trainer.cfg, name).process(inputs, model(inputs))


def _report(trainer: DryRun) -> list[str]:
    """The lines of the report; each starts with what it is about."""
    cfg, parameters = trainer.cfg, list(trainer.checkpointer.model.parameters())
    total, trained = (
        sum(each.numel() for each in parameters if each.requires_grad or not only) / 1e6 for only in (False, True)
    )
    losses, steps = trainer.losses(), cfg.SOLVER.MAX_ITER
    seconds = statistics.median(trainer.times.seconds[_WARM_UP:] or trainer.times.seconds)
    precision = cfg.SOLVER.AMP.DTYPE if cfg.SOLVER.AMP.ENABLED else "float32"
    shared = f" in {comm.get_world_size()} processes" if comm.get_world_size() > 1 else ""
    images = cfg.SOLVER.IMS_PER_BATCH * cfg.SOLVER.ACCUMULATE
    return [
        f"dry run: {trainer.max_iter} of {steps:,} steps of {images} images{shared}, {precision} on {cfg.MODEL.DEVICE}",
        f"parameters: {total:.2f} M, {trained:.2f} M of them trained; {cfg.MODEL.CLIP.NAME} from "
        f"{cfg.MODEL.WEIGHTS or cfg.MODEL.CLIP.WEIGHTS}",
        f"training data: {_sizes(cfg.DATASETS.TRAIN)}; classes: "
        f"{', '.join(training_vocabulary(cfg.DATASETS.TRAIN, cfg.DATASETS.UNSEEN).names)}",
        f"test data: {_sizes(cfg.DATASETS.TEST) or 'none'}",
        f"loss: {losses[0]:.4g} at the first step, {losses[-1]:.4g} at the last" if losses else "loss: never finite",
        f"memory: {_memory(torch.device(cfg.MODEL.DEVICE))}",
        f"time: {seconds:.3g} s a step, {_duration(seconds * steps)} for {steps:,} steps, without evaluations",
        "nothing was kept; leave out --dry-run to train",
    ]


def _sizes(names: Sequence[str]) -> str:
    return ", ".join(f"{name} ({len(DatasetCatalog.get(name)):,} images)" for name in names)


def _memory(device: torch.device) -> str:
    if device.type == "cuda":
        used, reserved = (
            measure(device) / 2**20 for measure in (torch.cuda.max_memory_allocated, torch.cuda.max_memory_reserved)
        )
        return f"{reserved:,.0f} MB of the device at most, {used:,.0f} MB of them in tensors"
    return f"{peak_megabytes():,.0f} MB at most in one training process, without its loader workers"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
