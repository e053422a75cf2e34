"""The pixel objective: per-class sigmoid cross-entropy."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from detectron2.utils import comm
from torch import nn

from sgovss.errors import InputError

IGNORED_PIXELS = ("MASK", "NEGATIVE")


class PixelObjective(nn.Module):
    """Every class answers yes or no for every pixel.

    Args:
        ignored: what ignored pixels do. ``MASK``: nothing. ``NEGATIVE``: they count as none of the
            classes, as in CAT-Seg and its descendants; with iSAID's background this teaches rejection.
        ignore_label: the label value of ignored pixels.

    Raises:
        InputError: an unknown way to treat ignored pixels.
    """

    def __init__(self, ignored: str, ignore_label: int) -> None:
        super().__init__()
        if ignored not in IGNORED_PIXELS:
            raise InputError(f"MODEL.SGOVSS.IGNORED_PIXELS: '{ignored}' is not one of {', '.join(IGNORED_PIXELS)}")
        self.ignored = ignored
        self.ignore_label = ignore_label

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean over pixels and classes of logits (B, T, h, w) against labels (B, H, W) int64.

        The mean of it over processes is what one process would give for all their images together.
        """
        logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False)
        valid = labels != self.ignore_label
        targets = F.one_hot(labels.masked_fill(~valid, logits.shape[1]), logits.shape[1] + 1)[..., :-1]
        targets = targets.permute(0, 3, 1, 2).to(logits.dtype)
        if self.ignored == "NEGATIVE":
            return F.binary_cross_entropy_with_logits(logits, targets)
        loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        count, processes = valid.sum(), comm.get_world_size()
        if processes > 1:
            dist.all_reduce(count)
        # With nothing labelled in the whole batch the sum is 0, and so is the loss.
        return processes * (loss * valid[:, None]).sum() / (count.clamp_min(1) * logits.shape[1])
