"""Generalization compensation: soft guidance by a frozen encoder (the paper's figure 2, "LFE + Avg Pooling")."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from torch import nn

from sgovss.config_rules import check_value

LEVELS = {"res3": "gc3", "res4": "gc4", "res5": "gc5", "dense": "gcd"}


class GeneralizationCompensation(nn.Module):
    """Losses on the difference between the feature maps of the tuned and the frozen encoder at low frequencies.

    Both maps are low-pass filtered with a fixed binomial kernel and averaged onto a coarse grid. The loss is the cosine
    distance of the results, which is exactly 0 for equal maps. The guidance is soft: finer detail is not restrained.

    The paper does not state its filter, distance and weights; these are choices of this implementation.

    Args:
        weights: factors of the losses on res3, res4, res5 and dense; 0 leaves a loss out.
        pool: side of a cell of the coarse grid, in locations of the dense map.
        labelled: factor of the losses on labelled pixels; on other pixels it is 1.

    Raises:
        InputError: there are not four weights, ``pool`` is below 1, or a factor is negative.
    """

    low_pass: torch.Tensor

    @configurable
    def __init__(self, *, weights: tuple[float, ...], pool: int, labelled: float) -> None:
        super().__init__()
        check_value("MODEL.SGOVSS.COMPENSATION.WEIGHTS", weights)
        check_value("MODEL.SGOVSS.COMPENSATION.POOL", pool)
        check_value("MODEL.SGOVSS.COMPENSATION.LABELLED", labelled)
        self.weights = dict(zip(LEVELS, weights, strict=True))
        self.pool = pool
        self.labelled = labelled
        taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        self.register_buffer("low_pass", torch.outer(taps, taps), persistent=False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        compensation = cfg.MODEL.SGOVSS.COMPENSATION
        return {
            "weights": tuple(compensation.WEIGHTS),
            "pool": compensation.POOL,
            "labelled": compensation.LABELLED,
        }

    def forward(
        self,
        tuned: Mapping[str, torch.Tensor],
        frozen: Mapping[str, torch.Tensor],
        labelled: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Compare the feature maps of two encoders for the same images.

        Args:
            tuned, frozen: feature maps (B, C, h, w) by name, as :class:`CLIPImageEncoder` returns them.
            labelled: (B, H, W) bool, True for pixels that have a label; None if all have one.

        Returns:
            The weighted scalar losses ``loss_gc3``, ``loss_gc4``, ``loss_gc5`` and ``loss_gcd``.
        """
        height, width = tuned["dense"].shape[-2:]
        grid = max(1, height // self.pool), max(1, width // self.pool)
        emphasis: torch.Tensor | float = self.labelled
        if labelled is not None:
            fraction = F.adaptive_avg_pool2d(labelled[:, None].float(), grid)[:, 0]
            emphasis = 1 + (self.labelled - 1) * fraction
        losses = {}
        for level, weight in self.weights.items():
            if weight > 0:
                distances = _distances(*(self.coarse(maps[level], grid) for maps in (tuned, frozen)))
                losses[f"loss_{LEVELS[level]}"] = weight * (emphasis * distances).mean()
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
