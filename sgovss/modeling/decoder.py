"""The multiscale decoder that refines and calibrates the cost map (figure 2, right)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.layers import LayerNorm2d
from torch import nn

from sgovss.modeling.layers import ZeroGate

_EPSILON = 1e-6


class SpatialRefinement(nn.Module):
    """A ConvNeXt-like block over space in which the level's visual map guides every class alike.

    The guidance enters the hidden layer, where the non-linearity couples it with each class; its
    own convolution runs once per image, not once per class.

    Args:
        dim: channels of the cost embedding.
        guidance: channels of the visual guidance; 0 for none.
        kernel: side of the depthwise convolution.
    """

    def __init__(self, dim: int, guidance: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm = LayerNorm2d(dim)
        self.expand = nn.Conv2d(dim, 2 * dim, 1)
        self.guide = nn.Conv2d(guidance, 2 * dim, 1, bias=False) if guidance else None
        self.contract = nn.Conv2d(2 * dim, dim, 1)

    def forward(self, x: torch.Tensor, guidance: torch.Tensor | None) -> torch.Tensor:
        """Embedding (B * T, dim, h, w) and guidance (B, G, h, w), if there is one -> (B * T, dim, h, w)."""
        hidden = self.expand(self.norm(self.depthwise(x)))
        if self.guide is not None:
            hidden = (hidden.unflatten(0, (len(guidance), -1)) + self.guide(guidance)[:, None]).flatten(0, 1)
        return x + self.contract(F.gelu(hidden))


class ClassAttention(nn.Module):
    """Linear attention across classes at each cell, guided by the text; cost linear in T.

    Works on the dense map's grid whatever the stage's resolution: which classes compete is a
    matter of regions, and the price stays the same at every stage.

    Args:
        dim: channels of the cost embedding.
        text: channels of the text embeddings.
        heads: number of heads; must divide ``dim``.
    """

    def __init__(self, dim: int, text: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.text = nn.Linear(text, dim)
        self.query_key = nn.Linear(2 * dim, 2 * dim)
        self.value = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor, text: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """Embedding (B * T, dim, h, w), text (B, T, D), grid of cells -> (B * T, dim, h, w)."""
        cells = F.adaptive_avg_pool2d(x, grid) if tuple(x.shape[-2:]) != tuple(grid) else x
        cells = self.norm(cells.unflatten(0, text.shape[:2]).permute(0, 3, 4, 1, 2))
        guide = self.text(F.normalize(text, dim=-1) * text.shape[-1] ** 0.5)[:, None, None].expand_as(cells)
        q, k = self.query_key(torch.cat([cells, guide], dim=-1)).chunk(2, dim=-1)
        attended = self.output(self._attend(F.elu(q) + 1, F.elu(k) + 1, self.value(cells)))
        change = attended.permute(0, 3, 4, 1, 2).flatten(0, 1)
        if change.shape[-2:] != x.shape[-2:]:
            change = F.interpolate(change, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return x + change

    def _attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Linear attention over the class axis of (B, h, w, T, dim)."""
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for x in (q, k, v))
        total = k.mean(dim=-2, keepdim=True).transpose(-1, -2)
        mixed = q @ (k.transpose(-1, -2) @ v / k.shape[-2])
        return (mixed / (q @ total + _EPSILON)).transpose(-3, -2).flatten(-2)


class DecoderStage(nn.Module):
    """Refine the cost embedding with its level and the text, double the resolution, calibrate.

    Args:
        dim, next_dim: channels of the embedding before and after.
        guidance: channels of the visual guidance; 0 for none.
        text: channels of the text embeddings.
        heads: heads of the class attention.
        kernel: side of the depthwise convolution.
        text_guidance: whether classes attend to each other under the text.
    """

    def __init__(
        self, *, dim: int, next_dim: int, guidance: int, text: int, heads: int, kernel: int, text_guidance: bool
    ) -> None:
        super().__init__()
        self.spatial = SpatialRefinement(dim, guidance, kernel)
        self.classes = ClassAttention(dim, text, heads) if text_guidance else None
        self.narrow = nn.Conv2d(dim, next_dim, 1)
        self.smooth = nn.Conv2d(next_dim, next_dim, 3, padding=1, groups=next_dim)
        self.gate = ZeroGate(next_dim, axis=1)
        self.calibrate = nn.Conv2d(next_dim, 1, 1, bias=False)

    def forward(
        self,
        x: torch.Tensor,
        cost: torch.Tensor,
        guidance: torch.Tensor | None,
        text: torch.Tensor,
        grid: tuple[int, int],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Embedding (B * T, dim, h, w) and cost (B, T, h, w) -> the same at (2h, 2w)."""
        x = self.spatial(x, guidance)
        if self.classes is not None:
            x = self.classes(x, text, grid)
        x = F.gelu(self.smooth(upsample(self.narrow(x))))
        change = self.calibrate(self.gate(x)).view(len(cost), -1, *x.shape[-2:])
        return x, upsample(cost) + change


class MultiscaleDecoder(nn.Module):
    """Three stages, each doubling the cost map with its level's visual map and the text.

    Every stage adds to the up-sampled cost it was given: it calibrates, it does not replace. At
    first all additions are zero and the result is the cost map, up-sampled eight times.

    Args:
        guidance: channels of the visual guidance of each stage; 0 for none.
        text: channels of the text embeddings.
        dims: channels of the cost embedding at each of the three stages.
        heads: heads of the class attention.
        kernel: side of the depthwise convolutions.
        text_guidance: whether classes attend to each other under the text.
    """

    def __init__(
        self, *, guidance: int, text: int, dims: Sequence[int], heads: int, kernel: int, text_guidance: bool
    ) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, dims[0], kernel, padding=kernel // 2)
        pairs = zip(dims, [*dims[1:], dims[-1]], strict=True)
        self.stages = nn.ModuleList(
            DecoderStage(
                dim=dim,
                next_dim=next_dim,
                guidance=guidance,
                text=text,
                heads=heads,
                kernel=kernel,
                text_guidance=text_guidance,
            )
            for dim, next_dim in pairs
        )

    def forward(self, cost: torch.Tensor, guidance: Sequence[torch.Tensor | None], text: torch.Tensor) -> torch.Tensor:
        """Refine a cost map.

        Args:
            cost: (B, T, h, w).
            guidance: one visual map (B, G, h * 2**i, w * 2**i), or None, for each stage i.
            text: refined text embeddings (B, T, D).

        Returns:
            (B, T, 8h, 8w).
        """
        grid = cost.shape[-2:]
        x = self.embed(cost.flatten(0, 1)[:, None])
        for stage, visual in zip(self.stages, guidance, strict=True):
            x, cost = stage(x, cost, visual, text, grid)
        return cost


def upsample(x: torch.Tensor) -> torch.Tensor:
    """Double the resolution of (B, C, h, w), bilinearly."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
