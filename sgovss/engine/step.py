"""One optimisation step: mixed precision, accumulated gradients, clipping."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Any

import torch
from detectron2.engine import SimpleTrainer
from detectron2.utils.events import get_event_storage
from torch import nn

from sgovss.precision import autocast


class StepTrainer(SimpleTrainer):
    """Detectron2's simple trainer with autocast on any device, accumulation and full-model clipping.

    Args:
        model, data_loader, optimizer: as for Detectron2.
        precision: ``float32``, ``bfloat16`` or ``float16``.
        accumulate: batches per step.
        max_norm: bound of the gradient norm over all parameters together, or None.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable,
        optimizer: torch.optim.Optimizer,
        *,
        precision: str,
        accumulate: int,
        max_norm: float | None,
    ) -> None:
        super().__init__(model, data_loader, optimizer)
        self.device = next(model.parameters()).device
        self.precision = precision
        self.accumulate = accumulate
        self.max_norm = max_norm
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "float16")

    def run_step(self) -> None:
        """Take batches, add up their gradients, clip, step, and note the losses."""
        waited = 0.0
        self.optimizer.zero_grad()
        for index in range(self.accumulate):
            asked = time.perf_counter()
            batch = next(self._data_loader_iter)
            waited += time.perf_counter() - asked
            last = index == self.accumulate - 1
            # Processes exchange gradients once a step, not once a batch.
            alone = last or not hasattr(self.model, "no_sync")
            with contextlib.nullcontext() if alone else self.model.no_sync():
                with autocast(self.precision, self.device):
                    losses = self.model(batch)
                    total = sum(losses.values()) / self.accumulate
                self.scaler.scale(total).backward()
        norm = self._clip()
        self._write_metrics(losses, waited)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        get_event_storage().put_scalar("gradient_norm", norm)

    def _clip(self) -> float:
        """Bound the norm of all gradients together; returns what it was."""
        self.scaler.unscale_(self.optimizer)
        return float(nn.utils.clip_grad_norm_(self.parameters, self.max_norm or float("inf")))

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # A run may be resumed at another precision; then there is no scale to take over.
        scaler = state_dict.pop("scaler", None)
        if scaler and self.scaler.is_enabled():
            self.scaler.load_state_dict(scaler)
        super().load_state_dict(state_dict)
