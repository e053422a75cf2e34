"""Pixel loss: sigmoid cross-entropy of each class."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from detectron2.utils import comm
from torch import nn

from sgovss.config_rules import check_value


class PixelObjective(nn.Module):
    """Binary cross-entropy of every class at every pixel.

    Args:
        ignored: treatment of ignored pixels. ``MASK``: they are left out. ``NEGATIVE``: they are negatives of all
            classes, as in CAT-Seg and methods based on it; with iSAID this teaches the model to reject background.
        ignore_label: the label value of ignored pixels.

    Raises:
        InputError: ``ignored`` has another value.
    """

    def __init__(self, ignored: str, ignore_label: int) -> None:
        super().__init__()
        check_value("MODEL.SGOVSS.IGNORED_PIXELS", ignored)
        self.ignored = ignored
        self.ignore_label = ignore_label

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean loss over pixels and classes.

        Averaged over processes, it equals the loss of one process with the images of all.

        Args:
            logits: (B, T, h, w); resized to the labels.
            labels: (B, H, W) int64.
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
        # Without a labelled pixel in the batch the sum is 0, and so is the loss.
        return processes * (loss * valid[:, None]).sum() / (count.clamp_min(1) * logits.shape[1])
