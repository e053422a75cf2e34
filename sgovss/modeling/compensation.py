"""Generalization compensation: soft guidance by a frozen encoder, the "LFE + Avg Pooling" of the paper's figure 2."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from torch import nn

from sgovss.config_rules import check_value
from sgovss.modeling.shared_mean import shared_mean

LEVELS = {"res3": "gc3", "res4": "gc4", "res5": "gc5", "dense": "gcd"}


class GeneralizationCompensation(nn.Module):
    """Losses on the difference between the feature maps of the tuned and the frozen encoder at low frequencies.

    Both maps are low-pass filtered with a fixed binomial kernel and averaged onto a coarse grid. The loss is the cosine
    distance of the results, which is exactly 0 for equal maps. The guidance is soft: finer detail is not restrained.

    The strength of the guidance relative to the pixel loss does not depend on the number T of classes or on the share
    of labelled pixels: each loss is a weighted mean of the distances, divided by T. The pixel loss is a mean over T
    classes, of which one is positive at a pixel, so its gradient falls with T as well.

    The paper does not state its filter, distance and weights; these are choices of this implementation.

    Args:
        weights: factors of the losses on res3, res4, res5 and dense; 0 leaves a loss out.
        pool: side of a cell of the coarse grid, in locations of the dense map.
        labelled: weight of a labelled pixel in the mean; that of another pixel is 1. With 0 the losses apply to pixels
            without a label only.
        least_share: lower bound of the mean weight, so that guidance of a few pixels does not have the strength of
            guidance of all; see :func:`sgovss.modeling.shared_mean.shared_mean`.

    Raises:
        InputError: there are not four weights, ``pool`` is below 1, or another value is out of its range.
    """

    low_pass: torch.Tensor

    @configurable
    def __init__(self, *, weights: tuple[float, ...], pool: int, labelled: float, least_share: float) -> None:
        super().__init__()
        check_value("MODEL.SGOVSS.COMPENSATION.WEIGHTS", weights)
        check_value("MODEL.SGOVSS.COMPENSATION.POOL", pool)
        check_value("MODEL.SGOVSS.COMPENSATION.LABELLED", labelled)
        check_value("MODEL.SGOVSS.LEAST_SHARE", least_share)
        self.weights = dict(zip(LEVELS, weights, strict=True))
        self.pool = pool
        self.labelled = labelled
        self.least_share = least_share
        taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        self.register_buffer("low_pass", torch.outer(taps, taps), persistent=False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        compensation = cfg.MODEL.SGOVSS.COMPENSATION
        return {
            "weights": tuple(compensation.WEIGHTS),
            "pool": compensation.POOL,
            "labelled": compensation.LABELLED,
            "least_share": cfg.MODEL.SGOVSS.LEAST_SHARE,
        }

    def forward(
        self,
        tuned: Mapping[str, torch.Tensor],
        frozen: Mapping[str, torch.Tensor],
        labelled: torch.Tensor,
        classes: int,
    ) -> dict[str, torch.Tensor]:
        """Compare the feature maps of two encoders for the same images.

        Args:
            tuned, frozen: feature maps (B, C, h, w) by name, as :class:`CLIPImageEncoder` returns them.
            labelled: (B, H, W) bool, True for pixels that have a label.
            classes: number of classes of the pixel loss.

        Returns:
            The weighted scalar losses ``loss_gc3``, ``loss_gc4``, ``loss_gc5`` and ``loss_gcd``.
        """
        *_, height, width = tuned["dense"].shape
        grid = max(1, height // self.pool), max(1, width // self.pool)
        fraction = F.adaptive_avg_pool2d(labelled[:, None].float(), grid)[:, 0]
        emphasis = 1 + (self.labelled - 1) * fraction
        losses = {}
        for level, weight in self.weights.items():
            if weight > 0:
                distances = _distances(*(self.coarse(maps[level], grid) for maps in (tuned, frozen)))
                mean = shared_mean(distances, emphasis, self.least_share)
                losses[f"loss_{LEVELS[level]}"] = weight / classes * mean
        return losses

    def coarse(self, features: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """Low frequencies of (B, C, h, w) on a coarse grid: (B, C, *grid) in float32."""
        features = features.float()
        channels = features.shape[1]
        kernel = self.low_pass.expand(channels, 1, -1, -1)
        smooth = F.conv2d(F.pad(features, (2, 2, 2, 2), mode="replicate"), kernel, groups=channels)
        return F.adaptive_avg_pool2d(smooth, grid)


def _distances(tuned: torch.Tensor, frozen: torch.Tensor) -> torch.Tensor:
    """Cosine distance of each cell: (B, C, h, w) twice -> (B, h, w)."""
    # Half the squared Euclidean distance of unit vectors; unlike 1 - cosine, it is exactly 0 for equal vectors.
    difference = F.normalize(tuned, dim=1) - F.normalize(frozen, dim=1)
    return 0.5 * difference.square().sum(dim=1)
