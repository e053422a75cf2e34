"""Feature maps of a CLIP vision transformer, with the dense map of MaskCLIP."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import nn
from torch.utils.checkpoint import checkpoint

from sgovss.errors import InputError

_ROWS = 16
"""In half precision, the number of tokens is padded to a multiple of this, which makes matrix products 25 % faster."""


class SplitAttention(nn.Module):
    """Self-attention with separate query, key and value projections, so that each can be tuned on its own.

    Args:
        attention: CLIP's attention, whose fused weights are copied.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads = attention.num_heads
        parts = zip(attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True)
        self.query, self.key, self.value = (_linear(weight, bias) for weight, bias in parts)
        self.output = attention.out_proj

    def forward(self, x: torch.Tensor, count: int) -> torch.Tensor:
        """(B, N, C) -> (B, N, C); the tokens after the first ``count`` are padding, which is not attended to."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(q, k[..., :count, :], v[..., :count, :])
        return self.output(attended.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """One pre-norm transformer block of CLIP."""

    def __init__(self, block: ResidualAttentionBlock) -> None:
        super().__init__()
        self.ln_1, self.attention, self.scale_1 = block.ln_1, SplitAttention(block.attn), block.ls_1
        self.ln_2, self.mlp, self.scale_2 = block.ln_2, block.mlp, block.ls_2

    def forward(self, x: torch.Tensor, count: int) -> torch.Tensor:
        """(B, N, C) -> (B, N, C); see :class:`SplitAttention`."""
        x = x + self.scale_1(self.attention(self.ln_1(x), count))
        return x + self.scale_2(self.mlp(self.ln_2(x)))


class ValuePath(nn.Module):
    """Norm, value projection and output projection of the last block, applied to each location (MaskCLIP).

    The attention weights, the residual connection and the MLP of that block are left out. They gather context for the
    class token, and would blur the dense map or move it away from the joint space.
    """

    def __init__(self, block: ResidualAttentionBlock) -> None:
        super().__init__()
        attention = block.attn
        self.ln_1 = block.ln_1
        self.value = _linear(attention.in_proj_weight.chunk(3)[2], attention.in_proj_bias.chunk(3)[2])
        self.output = attention.out_proj

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, N, C) -> (B, N, C)."""
        return self.output(self.value(self.ln_1(x)))


class ViTTower(nn.Module):
    """A ViT that returns its tokens after 1/3, 2/3 and all but one of its blocks as maps, and a dense map.

    All have the resolution of the patch grid, to which the positional embeddings are interpolated.

    Args:
        visual: open_clip's vision transformer with a class token.
        recompute: whether to use gradient checkpointing for each block.

    Raises:
        InputError: the transformer does not pool by its class token.
    """

    def __init__(self, visual: VisionTransformer, recompute: bool = False) -> None:
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
        self.value_path = ValuePath(last)
        self.ln_post = visual.ln_post
        self.projection = visual.proj
        depth = len(blocks) + 1
        self.level_blocks = dict(zip((depth // 3, 2 * depth // 3, depth - 1), ("res3", "res4", "res5"), strict=True))
        width, patch = self.class_embedding.shape[0], visual.patch_size[0]
        self.shapes = {name: ShapeSpec(channels=width, stride=patch) for name in self.level_blocks.values()}
        self.shapes["dense"] = ShapeSpec(channels=self.projection.shape[1], stride=patch)

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
        maps["dense"] = _to_map(self.ln_post(self.value_path(x[:, 1:count])) @ self.projection, grid)
        return maps

    def query_value_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of all query and value projections that affect the outputs."""
        for block in self.blocks:
            assert isinstance(block, Block)
            yield from block.attention.query.parameters()
            yield from block.attention.value.parameters()
        yield from self.value_path.value.parameters()

    def _positions(self, grid: torch.Size) -> torch.Tensor:
        """Positional embeddings (1 + h * w, C) for a grid of h x w patches."""
        if tuple(grid) == tuple(self.pretrained_grid):
            return self.positional_embedding
        table = _to_map(self.positional_embedding[None, 1:], self.pretrained_grid)
        table = F.interpolate(table.float(), size=tuple(grid), mode="bicubic", antialias=True, align_corners=False)
        return torch.cat([self.positional_embedding[:1], table[0].flatten(1).T.to(self.positional_embedding.dtype)])


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data.copy_(weight.data)
    layer.bias.data.copy_(bias.data)
    return layer


def _to_map(tokens: torch.Tensor, grid: torch.Size | tuple[int, int]) -> torch.Tensor:
    """(B, h * w, C) -> (B, C, h, w)."""
    return tokens.transpose(1, 2).unflatten(2, tuple(grid))
