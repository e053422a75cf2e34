"""The multiscale decoder that refines and calibrates the cost map (figure 2, right)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.layers import LayerNorm2d
from torch import nn
from torch.utils.checkpoint import checkpoint

from sgovss.modeling.layers import ZeroGate

_EPSILON = 1e-6
_AT_ONCE = 2**22  # elements between two layers at inference: what a core's cache and a little more can hold


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

    def guided(self, guidance: torch.Tensor | None) -> torch.Tensor | None:
        """Guidance (B, G, h, w), if there is one -> what it adds to the hidden layer of every class."""
        return None if self.guide is None else self.guide(guidance)

    def forward(self, x: torch.Tensor, guided: torch.Tensor | None) -> torch.Tensor:
        """Embedding (B * T, dim, h, w) and the result of :meth:`guided` -> (B * T, dim, h, w)."""
        hidden = self.expand(self.norm(self.depthwise(x)))
        if guided is not None:
            hidden = (hidden.unflatten(0, (guided.shape[0], -1)) + guided[:, None]).flatten(0, 1)
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

    def forward(self, cells: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """What each class takes from the others.

        Args:
            cells: embedding (B, T, dim, h, w), averaged onto the dense map's grid.
            text: (B, T, D).

        Returns:
            (B, T, dim, h, w), to be added to the embedding.
        """
        guide = self.text(F.normalize(text, dim=-1) * text.shape[-1] ** 0.5)
        # The layer takes cells and text side by side; the text's part is the same at every cell.
        of_cells, of_text = self.query_key.weight.chunk(2, dim=1)
        guide = F.linear(guide, of_text, self.query_key.bias)
        rows = [
            self._attend_row(self.norm(row.permute(0, 3, 4, 1, 2)), of_cells, guide[:, None, None])
            for row in _split(cells, _part(cells.shape[-2], cells[..., :1, :].numel() * 4), -2)
        ]
        return torch.cat(rows, dim=1).permute(0, 3, 4, 1, 2)

    def _attend_row(self, cells: torch.Tensor, of_cells: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        """(B, rows, w, T, dim) -> the same shape; cells do not see each other."""
        q, k = (F.linear(cells, of_cells) + guide).chunk(2, dim=-1)
        return self.output(self._attend(F.elu(q) + 1, F.elu(k) + 1, self.value(cells)))

    def _attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Linear attention over the class axis of (B, h, w, T, dim)."""
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for x in (q, k, v))
        total = k.mean(dim=-2, keepdim=True).transpose(-1, -2)
        mixed = q @ (k.transpose(-1, -2) @ v / k.shape[-2])
        return (mixed / (q @ total + _EPSILON)).transpose(-3, -2).flatten(-2)


class DecoderStage(nn.Module):
    """Refine the cost embedding with its level and the text, double the resolution, calibrate.

    Where no gradient is asked for, classes are worked on some at a time wherever they do not see each other: what
    lies between the layers then stays small, whatever the number of classes.

    Args:
        dim, next_dim: channels of the embedding before and after.
        guidance: channels of the visual guidance; 0 for none.
        text: channels of the text embeddings.
        heads: heads of the class attention.
        kernel: side of the depthwise convolution.
        text_guidance: whether classes attend to each other under the text.
        last: whether nothing comes after: the embedding is not kept then.
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
        """Embedding (B, T, dim, h, w) and cost (B, T, h, w) -> the same at (2h, 2w)."""
        guided = self.spatial.guided(guidance)
        # The widest that is held for a class: the hidden layer here, the enlarged embedding below.
        count = _part(x.shape[1], x[:, :1].numel() * 4)
        if count == x.shape[1]:
            x = self._refine(x, guided)
        else:
            # Nothing else needs the embedding as it was, which with a thousand classes is what memory is full of.
            for part in x.split(count, 1):
                part.copy_(self._refine(part, guided))
        changes: Sequence[torch.Tensor | None] = [None] * -(-x.shape[1] // count)
        if self.classes is not None:
            cells = x.flatten(0, 1)
            cells = F.adaptive_avg_pool2d(cells, grid) if tuple(x.shape[-2:]) != tuple(grid) else cells
            changes = _split(self.classes(cells.unflatten(0, x.shape[:2]), text), count)
        embeddings, costs = _Gathered(x.shape[1]), []
        for part, change in zip(_split(x, count), changes, strict=True):
            embedding, addition = self._enlarge(part, change)
            costs.append(addition)
            if not self.last:
                embeddings.add(embedding)
        return embeddings.whole, upsample(cost) + torch.cat(costs, dim=1)

    def _refine(self, x: torch.Tensor, guided: torch.Tensor | None) -> torch.Tensor:
        """Some classes (B, t, dim, h, w) after the spatial block."""
        return self.spatial(x.flatten(0, 1), guided).unflatten(0, x.shape[:2])

    def _enlarge(self, x: torch.Tensor, change: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Some classes (B, t, dim, h, w), with what they took from others on the dense map's grid: embedding
        (B, t, next_dim, 2h, 2w), and what it adds to the cost (B, t, 2h, 2w)."""
        shape, x = x.shape[:2], x.flatten(0, 1)
        if change is not None:
            change = change.flatten(0, 1)
            if change.shape[-2:] != x.shape[-2:]:
                change = F.interpolate(change, size=x.shape[-2:], mode="bilinear", align_corners=False)
            x = x + change
        x = F.gelu(self.smooth(upsample(self.narrow(x))))
        return x.unflatten(0, shape), self.calibrate(self.gate(x)).squeeze(1).unflatten(0, shape)


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
        recompute: whether the backward pass computes each stage again instead of finding it in memory.
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
        x = self.embed(cost.flatten(0, 1)[:, None]).unflatten(0, cost.shape[:2])
        for stage, visual in zip(self.stages, guidance, strict=True):
            if self.recompute and torch.is_grad_enabled():
                x, cost = checkpoint(stage, x, cost, visual, text, grid, use_reentrant=False)
            else:
                x, cost = stage(x, cost, visual, text, grid)
        return cost


def _part(count: int, elements: int) -> int:
    """How many of ``count`` items, of so many elements each, to work on at a time; all if gradients are asked for, and
    while a program is made of the model, since how many would be a constant in it."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return count
    return min(count, max(1, _AT_ONCE // elements))


def _split(x: torch.Tensor, count: int, dim: int = 1) -> Sequence[torch.Tensor]:
    """Parts of ``count`` items; the whole as it is, since exported programs cannot hold a split of unknown size."""
    return [x] if count == x.shape[dim] else x.split(count, dim)


class _Gathered:
    """Puts parts (B, t, C, h, w) together along their second axis as they come, so that none is held twice.

    Args:
        count: length of that axis in the end.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.whole: torch.Tensor | None = None
        self._filled = 0

    def add(self, part: torch.Tensor) -> None:
        images, classes, *shape = part.shape
        if classes == self.count:
            self.whole = part
            return
        if self.whole is None:
            # Convolutions go on from the order of memory they left.
            last = part.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
            order = torch.channels_last if last else torch.contiguous_format
            size = (images * self.count, *shape)
            whole = torch.empty(size, dtype=part.dtype, device=part.device, memory_format=order)
            self.whole = whole.unflatten(0, (images, self.count))
        self.whole[:, self._filled : self._filled + classes] = part
        self._filled += classes


def upsample(x: torch.Tensor) -> torch.Tensor:
    """Double the resolution of (B, C, h, w), bilinearly."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
