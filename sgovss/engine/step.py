"""Optimisation step with mixed precision, gradient accumulation and gradient clipping."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import torch
from detectron2.engine import SimpleTrainer
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from torch import nn

from sgovss.engine.gradient_ratio import gradient_ratio
from sgovss.engine.nonfinite import Batch, NonFiniteGuard
from sgovss.engine.seeds import Purpose, derived_seed
from sgovss.engine.step_numbers import StepNumbers
from sgovss.precision import autocast

# Steps between two measurements of the gradient ratio, which takes about one more backward pass.
_RATIO_PERIOD = 50


class _Step(NamedTuple):
    """A step whose numbers are not read yet."""

    number: int
    batches: Sequence[Batch]
    numbers: StepNumbers
    learning_rate: float


class StepTrainer(SimpleTrainer):
    """Detectron2's simple trainer with autocast on any device, gradient accumulation, and clipping of the total norm.

    The model's random numbers depend only on ``seed`` and the step, and are the same in all processes.

    A step whose loss or gradient is not finite is skipped. The device itself decides this, so that the host need not
    wait for it. On CUDA the host reads the numbers of a step (losses, gradient norm, ...) after it queued the next one.

    Args:
        model, data_loader, optimizer: as for Detectron2; each dict of a batch has a ``file_name``.
        precision: ``float32``, ``bfloat16`` or ``float16``.
        accumulate: number of batches per step.
        max_norm: upper bound of the gradient norm over all parameters, or None.
        seed: the run's seed.
        patience: training ends after this number of consecutive skipped steps.
        encoder: parameters of the image encoder. At every 50th step ``gradient_ratio`` is logged for them, see
            :func:`sgovss.engine.gradient_ratio.gradient_ratio`.
        signal: returns the number of the signal that this process received, 0 for none.

    Attributes:
        received: the largest number that ``signal`` returned in any process, at the last step that was read.
        late: number of steps whose numbers are not read at the end of a step: 1 on CUDA, else 0.
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
        encoder: Sequence[nn.Parameter] = (),
        signal: Callable[[], int] = int,
    ) -> None:
        super().__init__(model, data_loader, optimizer)
        self.device = next(model.parameters()).device
        self.precision = precision
        self.accumulate = accumulate
        self.max_norm = max_norm
        self.seed = seed
        self.guard = NonFiniteGuard(patience)
        self.encoder = encoder
        self.signal = signal
        self.received = 0
        self.late = int(self.device.type == "cuda")
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "float16")
        self._unread: deque[_Step] = deque()

    def run_step(self) -> None:
        """Accumulate the gradients of the step's batches, clip them and update the weights.

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
        numbers = self._numbers(batches, waited)
        self._update(numbers.finite(*batches[0].losses, "gradient_norm"))
        rate = max(group["lr"] for group in self.optimizer.param_groups)
        self._unread.append(_Step(self.iter, batches, numbers, rate))
        self.read_numbers(unread=self.late)

    def _add_gradients(self, data: list[dict[str, Any]], index: int) -> Batch:
        """Run forward and backward of the step's batch number ``index``."""
        torch.manual_seed(derived_seed(self.seed, Purpose.STEP, self.iter, index))
        # Processes exchange gradients once per step, not once per batch.
        synchronized = index == self.accumulate - 1 or not hasattr(self.model, "no_sync")
        with contextlib.nullcontext() if synchronized else self.model.no_sync():
            with autocast(self.precision, self.device):
                losses = self.model(data)
                total = sum(losses.values()) / self.accumulate
            ratio = None
            if index == 0 and self.iter % _RATIO_PERIOD == 0:
                # Scaled, because the gradient could underflow in float16.
                ratio = gradient_ratio({name: self.scaler.scale(loss) for name, loss in losses.items()}, self.encoder)
            self.scaler.scale(total).backward()
        files = tuple(entry["file_name"] for entry in data)
        return Batch(files, {name: loss.detach() for name, loss in losses.items()}, ratio)

    def _numbers(self, batches: Sequence[Batch], waited: float) -> StepNumbers:
        """Clip the gradient; collect the numbers of this step. Those added here appear in metrics.json by their name.

        A number may be left out at some steps, if it is left out in all processes.
        """
        numbers: dict[str, torch.Tensor | float] = {
            name: torch.stack([batch.losses[name] for batch in batches]).sum() / self.accumulate
            for name in batches[0].losses
        }
        numbers["gradient_norm"] = nn.utils.clip_grad_norm_(self.parameters, self.max_norm or float("inf"))
        if batches[0].gradient_ratio is not None:
            numbers["gradient_ratio"] = batches[0].gradient_ratio
        if self.scaler.is_enabled():
            numbers["loss_scale"] = self.scaler.scale(torch.ones((), device=self.device))
        numbers["data_time"] = waited
        numbers["signal"] = self.signal()
        return StepNumbers(numbers, self.device)

    def _update(self, finite: torch.Tensor) -> None:
        """Update the weights if ``finite``, a bool scalar on the device, is true."""
        if getattr(self.optimizer, "_step_supports_amp_scaling", False):
            # The kernel of the fused optimizer leaves weights and state as they are if this is 1, as for GradScaler.
            self.optimizer.found_inf = (~finite).float()
            self.optimizer.step()
        elif finite:
            self.optimizer.step()
        self.scaler.update()

    def read_numbers(self, unread: int = 0) -> None:
        """Read and log the numbers of all steps but the last ``unread``. All processes must call this alike.

        Raises:
            InputError: too many steps in a row had to be skipped.
        """
        while len(self._unread) > unread:
            self._read(self._unread.popleft())

    def _read(self, step: _Step) -> None:
        of_processes = step.numbers.read()
        self.received = int(max(of_processes.pop("signal")))
        waited = of_processes.pop("data_time")
        means = {name: fmean(values) for name, values in of_processes.items()}
        losses = {name: means[name] for name in step.batches[0].losses}
        scalars = {"data_time": max(waited), "rank_data_time": waited[comm.get_rank()]}
        if self._was_made(step, losses, means):
            scalars |= {"total_loss": sum(losses.values()), **means}
        storage = get_event_storage()
        storage.put_scalars(cur_iter=step.number, **scalars)
        # The last one of a step, see MetricsFile.
        storage.put_scalar("skipped_steps", self.guard.skipped, smoothing_hint=False, cur_iter=step.number)

    def _was_made(self, step: _Step, losses: dict[str, float], means: dict[str, float]) -> bool:
        sound, norm, scale = all(map(math.isfinite, losses.values())), means["gradient_norm"], means.get("loss_scale")
        if sound and math.isfinite(norm):
            self.guard.made()
            return True
        if not (sound and scale is not None and self.guard.expects_overflow(step.number, scale)):
            at = "" if scale is None else f" at scale {scale:g}"
            setting = f"{self.precision}{at}, learning rate {step.learning_rate:.3g}"
            self.guard.skip(step.batches, norm, step.number, setting)
        return False

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
        # The kernel depends on the device, which may be another one than that of the saved run.
        for saved, group in zip(state_dict["optimizer"]["param_groups"], self.optimizer.param_groups, strict=False):
            saved["fused"] = group.get("fused")
        super().load_state_dict(state_dict)
