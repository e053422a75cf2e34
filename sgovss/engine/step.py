"""Optimisation step with mixed precision, gradient accumulation and gradient clipping."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Any

import torch
from detectron2.engine import SimpleTrainer
from detectron2.utils.events import get_event_storage
from torch import nn

from sgovss.engine.nonfinite import Batch, NonFiniteGuard
from sgovss.engine.seeds import Purpose, derived_seed
from sgovss.precision import autocast


class StepTrainer(SimpleTrainer):
    """Detectron2's simple trainer with autocast on any device, gradient accumulation, and clipping of the total norm.

    The model's random numbers depend only on ``seed`` and the step, and are the same in all processes.

    Args:
        model, data_loader, optimizer: as for Detectron2; each dict of a batch has a ``file_name``.
        precision: ``float32``, ``bfloat16`` or ``float16``.
        accumulate: number of batches per step.
        max_norm: upper bound of the gradient norm over all parameters, or None.
        seed: the run's seed.
        patience: steps with a non-finite loss or gradient are skipped; training ends after this number of
            consecutive skipped steps.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable | None,
        optimizer: torch.optim.Optimizer,
        *,
        precision: str,
        accumulate: int,
        max_norm: float | None,
        seed: int,
        patience: int,
    ) -> None:
        super().__init__(model, data_loader, optimizer)
        self.device = next(model.parameters()).device
        self.precision = precision
        self.accumulate = accumulate
        self.max_norm = max_norm
        self.seed = seed
        self.guard = NonFiniteGuard(patience)
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "float16")

    def run_step(self) -> None:
        """Accumulate the gradients of the step's batches, clip them, update the weights and log the losses.

        A step whose loss or gradient is not finite is skipped.

        Raises:
            InputError: too many steps in a row had to be skipped.
        """
        waited = 0.0
        batches = []
        self.optimizer.zero_grad()
        for index in range(self.accumulate):
            asked = time.perf_counter()
            data = next(self._data_loader_iter)
            waited += time.perf_counter() - asked
            batches.append(self._add_gradients(data, index))
        self.scaler.unscale_(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.parameters, self.max_norm or float("inf")))
        storage = get_event_storage()
        if self.guard.admits(batches, norm, self.iter, self._setting()):
            self.scaler.step(self.optimizer)
            losses = {name: sum(batch.losses[name] for batch in batches) for name in batches[0].losses}
            self._write_metrics({name: torch.tensor(loss / self.accumulate) for name, loss in losses.items()}, waited)
            storage.put_scalar("gradient_norm", norm)
        self.scaler.update()
        storage.put_scalar("skipped_steps", self.guard.skipped, smoothing_hint=False)

    def _add_gradients(self, data: list[dict[str, Any]], index: int) -> Batch:
        """Run forward and backward of the step's batch number ``index``."""
        torch.manual_seed(derived_seed(self.seed, Purpose.STEP, self.iter, index))
        # Processes exchange gradients once per step, not once per batch.
        synchronized = index == self.accumulate - 1 or not hasattr(self.model, "no_sync")
        with contextlib.nullcontext() if synchronized else self.model.no_sync():
            with autocast(self.precision, self.device):
                losses = self.model(data)
                total = sum(losses.values()) / self.accumulate
            self.scaler.scale(total).backward()
        files = tuple(entry["file_name"] for entry in data)
        return Batch(files, {name: float(loss.detach()) for name, loss in losses.items()})

    def _setting(self) -> str:
        scale = f" at scale {self.scaler.get_scale():g}" if self.scaler.is_enabled() else ""
        rate = max(group["lr"] for group in self.optimizer.param_groups)
        return f"{self.precision}{scale}, learning rate {rate:.3g}"

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "scaler": self.scaler.state_dict(), "guard": self.guard.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # A run resumed at another precision has no loss scale to restore.
        scaler = state_dict.pop("scaler", None)
        if scaler and self.scaler.is_enabled():
            self.scaler.load_state_dict(scaler)
        # Checkpoints of earlier versions have no state of the guard.
        if guard := state_dict.pop("guard", None):
            self.guard.load_state_dict(guard)
        super().load_state_dict(state_dict)
