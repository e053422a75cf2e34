"""What happens between the steps of training, beside what Detectron2's own hooks do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm
from torch import nn

from sgovss.engine.checkpoint import save_inference_checkpoint

INFERENCE_CHECKPOINT = "model_inference.pth"


class Evaluation(HookBase):
    """Evaluates every so many steps, and at the end.

    Detectron2's own hook does it after a step, when that step's checkpoint is already written: an evaluation that is
    interrupted there never comes again. This one begins the next step, so that a resumed run begins with it.

    Args:
        period: in steps; 0 for the end only.
        evaluate: gives nested metrics in the main process, and nothing elsewhere.
    """

    def __init__(self, period: int, evaluate: Callable[[], dict[str, Any] | None]) -> None:
        self.period = period
        self.evaluate = evaluate

    def before_step(self) -> None:
        if self.period and self.trainer.iter and self.trainer.iter % self.period == 0:
            self._note()

    def after_train(self) -> None:
        if self.trainer.iter >= self.trainer.max_iter:
            self._note()

    def _note(self) -> None:
        results = flatten_results_dict(self.evaluate() or {})
        self.trainer.storage.put_scalars(**results, smoothing_hint=False)
        comm.synchronize()


class InferenceCheckpoint(HookBase):
    """Writes the self-contained checkpoint for inference when training has come to its end.

    Args:
        model: the bare model.
        cfg: its config.
    """

    def __init__(self, model: nn.Module, cfg: CfgNode) -> None:
        self.model = model
        self.cfg = cfg

    def after_train(self) -> None:
        if self.trainer.iter >= self.trainer.max_iter:
            save_inference_checkpoint(self.model, self.cfg, Path(self.cfg.OUTPUT_DIR) / INFERENCE_CHECKPOINT)


def trim_metrics(path: str | Path, step: int) -> None:
    """Cut a file of one JSON a line off, in place, at the first that is not whole or is of ``step`` or later."""
    kept = 0
    with Path(path).open("rb") as file:
        for line in file:
            if not _is_before(line, step):
                break
            kept += len(line)
    os.truncate(path, kept)


def _is_before(line: bytes, step: int) -> bool:
    try:
        return line.endswith(b"\n") and json.loads(line)["iteration"] < step
    except (ValueError, KeyError, TypeError):
        return False
