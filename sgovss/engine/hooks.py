"""Training hooks that Detectron2 does not have: evaluation before a step, and the inference checkpoint."""

from __future__ import annotations

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
    """Evaluates every ``period`` steps and at the end of training.

    Detectron2's own hook evaluates after a step, when the checkpoint of that step is already written. If it is
    interrupted, a resumed run does not repeat the evaluation. This hook evaluates before the next step, which a
    resumed run does again.

    Args:
        period: in steps; 0 to evaluate at the end only.
        evaluate: returns nested metrics in the main process, and None or an empty dict in the others.
    """

    def __init__(self, period: int, evaluate: Callable[[], dict[str, Any] | None]) -> None:
        self.period = period
        self.evaluate = evaluate

    def before_step(self) -> None:
        if self.period and self.trainer.iter and self.trainer.iter % self.period == 0:
            self._run()

    def after_train(self) -> None:
        if self.trainer.iter >= self.trainer.max_iter:
            self._run()

    def _run(self) -> None:
        results = flatten_results_dict(self.evaluate() or {})
        self.trainer.storage.put_scalars(**results, smoothing_hint=False)
        comm.synchronize()


class InferenceCheckpoint(HookBase):
    """Writes the self-contained checkpoint for inference at the end of training.

    Args:
        model: the model, without a wrapper for distributed training.
        cfg: its config; the file is written to its OUTPUT_DIR.
    """

    def __init__(self, model: nn.Module, cfg: CfgNode) -> None:
        self.model = model
        self.cfg = cfg

    def after_train(self) -> None:
        if self.trainer.iter >= self.trainer.max_iter:
            save_inference_checkpoint(self.model, self.cfg, Path(self.cfg.OUTPUT_DIR) / INFERENCE_CHECKPOINT)
