"""Feature maps of a CLIP vision transformer, with a dense map in the joint space."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from open_clip.transformer import VisionTransformer
from torch import nn
from torch.utils.checkpoint import checkpoint

from sgovss.errors import InputError
from sgovss.modeling.layers import MapShape
from sgovss.modeling.vit_blocks import Block, DensePath

_ROWS = 16
"""In half precision, the number of tokens is padded to a multiple of this, which makes matrix products 25 % faster."""


class ViTTower(nn.Module):
    """A ViT that returns its tokens after 1/3, 2/3 and all but one of its blocks as maps, and a dense map.

    All have the resolution of the patch grid, to which the positional embeddings are interpolated.

    Args:
        visual: open_clip's vision transformer with a class token.
        dense: the kind of dense map; see :class:`DensePath`.
        recompute: whether to use gradient checkpointing for each block.

    Raises:
        InputError: the transformer does not pool by its class token, or ``dense`` is unknown.
    """

    def __init__(self, visual: VisionTransformer, dense: str = "value", recompute: bool = False) -> None:
        super().__init__()
        self.recompute = recompute
        if visual.attn_pool is not None or visual.pool_type != "tok" or visual.proj is None:
            raise InputError(
                "MODEL.CLIP.NAME: this ViT does not pool by its class token, which the dense map needs; "
                "use another one such as ViT-B-16"
            )
        *blocks, last = visual.transformer.resblocks
        self.patch_embedding = visual.conv1
        self.class_embedding = visual.class_embedding
        self.positional_embedding = visual.positional_embedding
        self.pretrained_grid = visual.grid_size
        self.ln_pre = visual.ln_pre
        self.blocks = nn.ModuleList(Block(block) for block in blocks)
        # The name is that of earlier versions, whose checkpoints have it in their keys.
        self.value_path = DensePath(last, dense)
        self.ln_post = visual.ln_post
        self.projection = visual.proj
        depth = len(blocks) + 1
        self.level_blocks = dict(zip((depth // 3, 2 * depth // 3, depth - 1), ("res3", "res4", "res5"), strict=True))
        width, patch = self.class_embedding.shape[0], visual.patch_size[0]
        self.shapes = {name: MapShape(channels=width, stride=patch) for name in self.level_blocks.values()}
        self.shapes["dense"] = MapShape(channels=self.projection.shape[1], stride=patch)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """(B, 3, H, W) -> res3, res4, res5 and dense; see :class:`CLIPImageEncoder`."""
        patches = self.patch_embedding(images)
        grid = patches.shape[-2:]
        tokens = torch.cat(
            [self.class_embedding.expand(images.shape[0], 1, -1), patches.flatten(2).transpose(1, 2)], dim=1
        )
        x = self.ln_pre(tokens + self._positions(grid))
        count = x.shape[1]
        if torch.is_autocast_enabled(x.device.type):
            x = F.pad(x, (0, 0, 0, -count % _ROWS))
        maps = {}
        for number, block in enumerate(self.blocks, start=1):
            again = self.recompute and torch.is_grad_enabled()
            x = checkpoint(block, x, count, use_reentrant=False) if again else block(x, count)
            if number in self.level_blocks:
                maps[self.level_blocks[number]] = _to_map(x[:, 1:count], grid)
        maps["dense"] = _to_map(self.ln_post(self.value_path(x[:, :count], grid)) @ self.projection, grid)
        return maps

    def query_value_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of all query and value projections that affect the outputs."""
        for name, module in self.named_modules():
            if name.endswith((".query", ".value")):
                yield from module.parameters()

    def _positions(self, grid: torch.Size) -> torch.Tensor:
        """Positional embeddings (1 + h * w, C) for a grid of h x w patches."""
        if tuple(grid) == tuple(self.pretrained_grid):
            return self.positional_embedding
        table = _to_map(self.positional_embedding[None, 1:], self.pretrained_grid)
        table = F.interpolate(table.float(), size=tuple(grid), mode="bicubic", antialias=True, align_corners=False)
        return torch.cat([self.positional_embedding[:1], table[0].flatten(1).T.to(self.positional_embedding.dtype)])


def _to_map(tokens: torch.Tensor, grid: torch.Size | tuple[int, int]) -> torch.Tensor:
    """(B, h * w, C) -> (B, C, h, w)."""
    return tokens.transpose(1, 2).unflatten(2, tuple(grid))
