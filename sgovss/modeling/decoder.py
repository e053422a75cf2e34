"""Multiscale decoder that refines and calibrates the cost map (the paper's figure 2, right)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from sgovss.modeling.chunks import chunk_size, map_chunks, update_chunks
from sgovss.modeling.layers import ChannelNorm, LayerNorm, ZeroGate, enlarge

_EPSILON = 1e-6
_MOST_INTERPOLATED = 2**31 - 1


class SpatialRefinement(nn.Module):
    """ConvNeXt-like block that refines the cost embedding of each class, guided by a visual map.

    The guidance is added to the hidden layer of every class, before the non-linearity. Its convolution runs once per
    image, not once per class.

    Args:
        dim: channels of the cost embedding.
        guidance: channels of the visual guidance; 0 for none.
        kernel: kernel size of the depthwise convolution.
    """

    def __init__(self, dim: int, guidance: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm = ChannelNorm(dim)
        self.expand = nn.Conv2d(dim, 2 * dim, 1)
        self.guide = nn.Conv2d(guidance, 2 * dim, 1, bias=False) if guidance else None
        self.contract = nn.Conv2d(2 * dim, dim, 1)

    def guided(self, guidance: torch.Tensor | None) -> torch.Tensor | None:
        """Visual map (B, G, h, w) -> term to add to the hidden layer (B, 2 * dim, h, w); None without guidance."""
        return None if self.guide is None else self.guide(guidance)

    def forward(self, x: torch.Tensor, guided: torch.Tensor | None) -> torch.Tensor:
        """Embedding (B * T, dim, h, w) and the result of :meth:`guided` -> refined embedding (B * T, dim, h, w)."""
        hidden = self.expand(self.norm(self.depthwise(x)))
        if guided is not None:
            hidden = (hidden.unflatten(0, (guided.shape[0], -1)) + guided[:, None]).flatten(0, 1)
        return x + self.contract(F.gelu(hidden))


class ClassAttention(nn.Module):
    """Linear attention across classes at each location, guided by the text; linear in the number of classes.

    It works on the grid of the dense map in every stage, so that all stages have the same cost.

    Args:
        dim: channels of the cost embedding.
        text: channels of the text embeddings.
        heads: number of heads; must divide ``dim``.
    """

    def __init__(self, dim: int, text: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = LayerNorm(dim)
        self.text = nn.Linear(text, dim)
        self.query_key = nn.Linear(2 * dim, 2 * dim)
        self.value = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, cells: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Attention across classes, to be added to the cost embedding.

        Args:
            cells: cost embedding (B, T, dim, h, w), averaged onto the dense map's grid.
            text: (B, T, D).

        Returns:
            (B, T, dim, h, w).
        """
        guide = self.text(F.normalize(text, dim=-1) * text.shape[-1] ** 0.5)
        # The layer's input is the concatenation of cell and text. The part for the text is the same at every cell.
        of_cells, of_text = self.query_key.weight.chunk(2, dim=1)
        guide = F.linear(guide, of_text, self.query_key.bias)[:, None, None]
        cells = cells.permute(0, 3, 4, 1, 2)
        # Here classes depend on each other, but cells do not, so the chunks are rows of cells instead of classes.
        size = chunk_size(cells.shape[1], cells[:, :1].numel() * 4, cells.device)
        (change,) = map_chunks(lambda rows: (self._attend_rows(self.norm(rows), of_cells, guide),), size, cells)
        return change.permute(0, 3, 4, 1, 2)

    def _attend_rows(self, cells: torch.Tensor, of_cells: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        """Attention across classes in some rows of cells: (B, rows, w, T, dim) -> the same shape."""
        q, k = (F.linear(cells, of_cells) + guide).chunk(2, dim=-1)
        return self.output(self._attend(F.elu(q) + 1, F.elu(k) + 1, self.value(cells)))

    def _attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Multi-head linear attention over axis T of (B, h, w, T, dim)."""
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for x in (q, k, v))
        total = k.mean(dim=-2, keepdim=True).transpose(-1, -2)
        mixed = q @ (k.transpose(-1, -2) @ v / k.shape[-2])
        return (mixed / (q @ total + _EPSILON)).transpose(-3, -2).flatten(-2)


class DecoderStage(nn.Module):
    """Refine the cost embedding, double the resolution, and add a correction to the cost map.

    At inference, layers that process each class on its own run in chunks of classes, which bounds their memory.

    Args:
        dim, next_dim: channels of the embedding before and after.
        guidance: channels of the visual guidance; 0 for none.
        text: channels of the text embeddings.
        heads: heads of the class attention.
        kernel: kernel size of the depthwise convolution.
        text_guidance: whether to use class attention.
        last: whether this is the last stage, which does not return the embedding.
    """

    def __init__(
        self,
        *,
        dim: int,
        next_dim: int,
        guidance: int,
        text: int,
        heads: int,
        kernel: int,
        text_guidance: bool,
        last: bool,
    ) -> None:
        super().__init__()
        self.spatial = SpatialRefinement(dim, guidance, kernel)
        self.classes = ClassAttention(dim, text, heads) if text_guidance else None
        self.narrow = nn.Conv2d(dim, next_dim, 1)
        self.smooth = nn.Conv2d(next_dim, next_dim, 3, padding=1, groups=next_dim)
        self.gate = ZeroGate(next_dim, axis=1)
        self.calibrate = nn.Conv2d(next_dim, 1, 1, bias=False)
        self.last = last

    def forward(
        self,
        x: torch.Tensor,
        cost: torch.Tensor,
        guidance: torch.Tensor | None,
        text: torch.Tensor,
        grid: tuple[int, int],
    ) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Refine, enlarge and calibrate.

        Args:
            x: cost embedding (B, T, dim, h, w); overwritten where classes are processed in chunks.
            cost: cost map (B, T, h, w).
            guidance: visual map (B, G, h, w), or None without visual guidance.
            text: (B, T, D).
            grid: height and width of the dense map.

        Returns:
            The embedding (B, T, next_dim, 2h, 2w), or None in the last stage, and the cost map (B, T, 2h, 2w).
        """
        guided = self.spatial.guided(guidance)
        # The largest tensor per class is the enlarged embedding, with about four times the elements of x. The hidden
        # layer of the spatial block has twice as many as x.
        size = chunk_size(x.shape[1], x[:, :1].numel() * 4, x.device)
        x = update_chunks(lambda part: self._refine(part, guided), x, size)
        change = None if self.classes is None else self.classes(_pool(x, grid), text)
        embedding, addition = map_chunks(self._enlarge, size, x, change)
        return embedding, upsample(cost) + addition

    def _refine(self, x: torch.Tensor, guided: torch.Tensor | None) -> torch.Tensor:
        """Apply the spatial block to (B, t, dim, h, w)."""
        return self.spatial(x.flatten(0, 1), guided).unflatten(0, x.shape[:2])

    def _enlarge(self, x: torch.Tensor, change: torch.Tensor | None) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Add the class attention's result, double the resolution and calibrate.

        Args:
            x: (B, t, dim, h, w).
            change: result of the class attention (B, t, dim, *grid), or None.

        Returns:
            The embedding (B, t, next_dim, 2h, 2w), or None in the last stage, and the correction of the cost map
            (B, t, 2h, 2w).
        """
        shape, x = x.shape[:2], x.flatten(0, 1)
        if change is not None:
            change = change.flatten(0, 1)
            if change.shape[-2:] != x.shape[-2:]:
                # In this memory format CUDA computes all channels at the same time, otherwise one after another.
                change = enlarge(change.contiguous(memory_format=torch.channels_last), _size(x))
            x = x + change
        x = F.gelu(self.smooth(upsample(self.narrow(x))))
        # The gate multiplies the weights, which are fewer than the entries of the map.
        addition = F.conv2d(x, self.gate(self.calibrate.weight)).squeeze(1).unflatten(0, shape)
        return None if self.last else x.unflatten(0, shape), addition


class MultiscaleDecoder(nn.Module):
    """Three stages that each double the resolution of the cost map, guided by a visual map and the text.

    Every stage adds a correction to the up-sampled cost map. At initialisation all corrections are zero, and the result
    is the cost map, up-sampled eight times.

    Args:
        guidance: channels of the visual guidance of each stage; 0 for none.
        text: channels of the text embeddings.
        dims: channels of the cost embedding at each of the three stages.
        heads: heads of the class attention.
        kernel: kernel size of the depthwise convolutions.
        text_guidance: whether to use class attention.
        recompute: whether to use gradient checkpointing for each stage.
    """

    def __init__(
        self,
        *,
        guidance: int,
        text: int,
        dims: Sequence[int],
        heads: int,
        kernel: int,
        text_guidance: bool,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.recompute = recompute
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
                last=number == len(dims),
            )
            for number, (dim, next_dim) in enumerate(pairs, 1)
        )

    def forward(
        self, cost: torch.Tensor, guidance: Sequence[torch.Tensor | None], text: torch.Tensor
    ) -> list[torch.Tensor]:
        """Refine a cost map.

        Args:
            cost: (B, T, h, w).
            guidance: for each stage i a visual map (B, G, h * 2**i, w * 2**i), or None without visual guidance.
            text: refined text embeddings (B, T, D).

        Returns:
            The cost map after each stage: (B, T, 2h, 2w), (B, T, 4h, 4w) and (B, T, 8h, 8w).
        """
        grid = cost.shape[-2:]
        x = self.embed(cost.flatten(0, 1)[:, None]).unflatten(0, cost.shape[:2])
        maps = []
        for stage, visual in zip(self.stages, guidance, strict=True):
            if self.recompute and torch.is_grad_enabled():
                x, cost = checkpoint(stage, x, cost, visual, text, grid, use_reentrant=False)
            else:
                x, cost = stage(x, cost, visual, text, grid)
            maps.append(cost)
        return maps


def _pool(x: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Average (B, T, dim, h, w) onto a grid: (B, T, dim, *grid)."""
    cells = x.flatten(0, 1)
    if tuple(x.shape[-2:]) != tuple(grid):
        cells = F.adaptive_avg_pool2d(cells, grid)
    return cells.unflatten(0, x.shape[:2])


def upsample(x: torch.Tensor) -> torch.Tensor:
    """Double the resolution of (B, C, h, w), bilinearly."""
    # CUDA cannot interpolate a tensor with more elements than this at once.
    images = max(1, _MOST_INTERPOLATED // (4 * x[:1].numel()))
    if images >= x.shape[0]:
        height, width = _size(x)
        return enlarge(x, (2 * height, 2 * width))
    return torch.cat([upsample(part) for part in x.split(images)])


def _size(x: torch.Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]
