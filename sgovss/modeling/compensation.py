"""Generalization compensation: the soft guidance by a frozen twin (figure 2, "LFE + Avg Pooling")."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from torch import nn

from sgovss.errors import InputError

LEVELS = {"res3": "gc3", "res4": "gc4", "res5": "gc5", "dense": "gcd"}


class GeneralizationCompensation(nn.Module):
    """Pulls the low frequencies of the tuned encoder's maps towards those of its frozen twin.

    Each pair of maps goes through a fixed binomial low-pass and average pooling onto one coarse
    grid; what remains is compared by the cosine, as a distance that is exactly 0 for equal maps.
    Detail above that grid stays free to adapt to pixels: the guidance is soft.

    Which filter, distance and weights the paper uses is not public; these are our choices.

    Args:
        weights: factor of each level's loss, in the order res3, res4, res5, dense; 0 leaves it out.
        pool: side of the coarse grid's cells, in cells of the dense map.
        labelled: factor of the guidance where pixels are labelled; elsewhere, where nothing but the twin
            speaks, it is 1.

    Raises:
        InputError: not four weights, a cell below 1, or a negative factor.
    """

    @configurable
    def __init__(self, *, weights: tuple[float, ...], pool: int, labelled: float) -> None:
        super().__init__()
        if len(weights) != len(LEVELS) or min(weights) < 0:
            raise InputError(
                "MODEL.SGOVSS.COMPENSATION.WEIGHTS: give four numbers >= 0, for res3, res4, res5 and dense"
            )
        if pool < 1:
            raise InputError("MODEL.SGOVSS.COMPENSATION.POOL: the pooling cell must be at least 1")
        if labelled < 0:
            raise InputError("MODEL.SGOVSS.COMPENSATION.LABELLED: the factor must not be negative")
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
        """Compare two encoders' maps of the same images.

        Args:
            tuned, frozen: maps (B, C, h, w) by level, as :class:`CLIPImageEncoder` returns them.
            labelled: (B, H, W) bool, which pixels of the images have a label; None for all.

        Returns:
            the weighted scalar losses ``loss_gc3``, ``loss_gc4``, ``loss_gc5`` and ``loss_gcd``.
        """
        grid = tuple(max(1, side // self.pool) for side in tuned["dense"].shape[-2:])
        emphasis: torch.Tensor | float = self.labelled
        if labelled is not None:
            share = F.adaptive_avg_pool2d(labelled[:, None].float(), grid)[:, 0]
            emphasis = 1 + (self.labelled - 1) * share
        losses = {}
        for level, weight in self.weights.items():
            if weight > 0:
                distances = _distances(*(self.coarse(maps[level], grid) for maps in (tuned, frozen)))
                losses[f"loss_{LEVELS[level]}"] = weight * (emphasis * distances).mean()
        return losses

    def coarse(self, features: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """The low frequencies of (B, C, h, w) on a coarse grid, in float32."""
        features = features.float()
        channels = features.shape[1]
        kernel = self.low_pass.expand(channels, 1, -1, -1)
        smooth = F.conv2d(F.pad(features, (2, 2, 2, 2), mode="replicate"), kernel, groups=channels)
        return F.adaptive_avg_pool2d(smooth, grid)


def _distances(tuned: torch.Tensor, frozen: torch.Tensor) -> torch.Tensor:
    """1 - cosine of each cell: (B, C, h, w) twice -> (B, h, w)."""
    # Half the squared distance of unit vectors is the same, and exactly 0 for equal ones.
    difference = F.normalize(tuned, dim=1) - F.normalize(frozen, dim=1)
    return 0.5 * difference.square().sum(dim=1)
