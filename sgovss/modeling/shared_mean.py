"""Weighted means over the images of all processes."""

from __future__ import annotations

import torch
import torch.distributed as dist
from detectron2.utils import comm


def shared_mean(values: torch.Tensor, weights: torch.Tensor, least: float) -> torch.Tensor:
    """Weighted mean in which few values do not count as much as many.

    ``sum(weights * values) / max(sum(weights), least * number of values)``, with sums over the images of all processes.

    Args:
        values: float32 of any shape.
        weights: the same shape, 0 or more.
        least: lower bound of the mean weight.

    Returns:
        A scalar. Averaged over processes, as DistributedDataParallel averages gradients, it is the mean over the values
        of all. It is 0 if all weights are 0.
    """
    weights = weights.to(values.dtype)
    # Filling does not wait for a CUDA device; copying a Python number to it would.
    total = torch.stack([weights.sum(), weights.new_full((), weights.numel())])
    processes = comm.get_world_size()
    if processes > 1:
        dist.all_reduce(total)
    divisor = torch.maximum(total[0], least * total[1])
    # With no weight and no lower bound the sum is 0, and so is the result.
    divisor = torch.where(divisor > 0, divisor, torch.ones_like(divisor))
    return processes * (weights * values).sum() / divisor
