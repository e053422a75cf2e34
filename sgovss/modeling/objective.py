"""Pixel loss: sigmoid cross-entropy of each class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from sgovss.config_rules import check_value
from sgovss.modeling.shared_mean import shared_mean


class PixelObjective(nn.Module):
    """Binary cross-entropy of every class at every pixel.

    Args:
        ignored: treatment of ignored pixels. ``MASK``: they are left out. ``NEGATIVE``: they are negatives of all
            classes, as in CAT-Seg and methods based on it; with iSAID this teaches the model to reject background.
        ignore_label: the label value of ignored pixels.
        least_share: with ``MASK``, the lower bound of the share of labelled pixels that the loss is divided by; see
            :func:`sgovss.modeling.shared_mean.shared_mean`.

    Raises:
        InputError: ``ignored`` or ``least_share`` has another value.
    """

    def __init__(self, ignored: str, ignore_label: int, least_share: float) -> None:
        super().__init__()
        check_value("MODEL.SGOVSS.IGNORED_PIXELS", ignored)
        check_value("MODEL.SGOVSS.LEAST_SHARE", least_share)
        self.class_weights: torch.Tensor | None = None
        self.ignored = ignored
        self.ignore_label = ignore_label
        self.least_share = least_share

    def weigh(self, weights: torch.Tensor) -> None:
        """Weigh the pixels by their class from now on; pixels without a class weigh 1.

        The weights are no part of the model's state, because they belong to the training classes.

        Args:
            weights: (T,) float32.
        """
        self.class_weights = weights

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean loss over pixels and classes, with the pixels weighed by their class after :meth:`weigh`.

        Averaged over processes, it equals the loss of one process with the images of all.

        Args:
            logits: (B, T, h, w); resized to the labels.
            labels: (B, H, W) int64.
        """
        logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False)
        valid = labels != self.ignore_label
        # The cross-entropy of all classes is the sum of their softplus minus the logit of the true class. Targets
        # (B, T, H, W) would need as much memory as the logits.
        true = logits.gather(1, labels.where(valid, 0)[:, None])[:, 0]
        per_pixel = (F.softplus(logits).sum(dim=1) - true.where(valid, 0.0)) / logits.shape[1]
        counted = (torch.ones_like(valid) if self.ignored == "NEGATIVE" else valid).float()
        if self.class_weights is not None:
            self.class_weights = self.class_weights.to(logits.device)
            counted = counted * self.class_weights[labels.where(valid, 0)].where(valid, 1.0)
        return shared_mean(per_pixel, counted, self.least_share)
