"""Blocks of a CLIP vision transformer with separate projections, and the dense map that its last block gives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import nn

from sgovss.config_rules import check_value

_COMPARED: dict[str, tuple[str, ...]] = {
    "value": (),
    "qq": ("query",),
    "qq+kk": ("query", "key"),
    "qq+kk+vv": ("query", "key", "value"),
    "neighbours": ("key",),
}
"""The projections that each kind of dense map compares with themselves."""


class SplitAttention(nn.Module):
    """Self-attention with separate query, key and value projections, so that each can be tuned on its own.

    Args:
        attention: CLIP's attention, whose fused weights are copied.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads = attention.num_heads
        self.query, self.key, self.value = (_projection(attention, name) for name in ("query", "key", "value"))
        self.output = attention.out_proj

    def forward(self, x: torch.Tensor, count: int) -> torch.Tensor:
        """(B, N, C) -> (B, N, C); the tokens after the first ``count`` are padding, which is not attended to."""
        q, k, v = (_to_heads(layer(x), self.heads) for layer in (self.query, self.key, self.value))
        return self.output(_from_heads(F.scaled_dot_product_attention(q, k[..., :count, :], v[..., :count, :])))


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


class DensePath(nn.Module):
    """The part of the last block that gives the dense map: its norm, an attention of our choice, its output projection.

    CLIP trains this block for the class token. Its own attention gathers what that token needs and blurs the map, and
    its residual connection and MLP move the map away from the joint space, so all three are left out. With q, k and v
    the projections of one head, d its width, and A(m) = softmax(m mᵀ / √d), a location's value becomes

    ==============  ======================================  =======================================================
    ``dense``       attention                               source
    ==============  ======================================  =======================================================
    ``value``       none: v itself                          MaskCLIP (Zhou, Loy, Dai, ECCV 2022)
    ``qq``          A(q) v                                  ClearCLIP (Lan et al., ECCV 2024)
    ``qq+kk``       (A(q) + A(k)) v                         SCLIP (Wang, Mei, Yuille, ECCV 2024), which also keeps
                                                            the residual connection
    ``qq+kk+vv``    (A(q) + A(k) + A(v)) v                  SegEarth-OV (Li et al., CVPR 2025)
    ``neighbours``  softmax(k kᵀ / √d + g) v                NACLIP (Hajimiri, Ben Ayed, Dolz, WACV 2025)
    ==============  ======================================  =======================================================

    where g is :func:`neighbour_bias`. The class token is one of the keys and values, as in these methods. Sums are not
    divided by the number of their terms: the norm that follows removes a common factor, except in relation to the bias
    of the output projection.

    The module has only the projections that affect its output, so each of its parameters gets a gradient.

    Args:
        block: CLIP's last block, whose weights are copied.
        dense: the kind of dense map, a value of MODEL.CLIP.DENSE.

    Raises:
        InputError: ``dense`` is unknown.
    """

    value: nn.Linear

    def __init__(self, block: ResidualAttentionBlock, dense: str) -> None:
        super().__init__()
        check_value("MODEL.CLIP.DENSE", dense)
        self.heads = block.attn.num_heads
        self.compared = _COMPARED[dense]
        self.weighs_distance = dense == "neighbours"
        self.ln_1 = block.ln_1
        for name in dict.fromkeys((*self.compared, "value")):
            self.add_module(name, _projection(block.attn, name))
        self.output = block.attn.out_proj

    def forward(self, x: torch.Tensor, grid: torch.Size) -> torch.Tensor:
        """Class token and locations (B, 1 + h * w, C), grid (h, w) -> locations (B, h * w, C)."""
        if not self.compared:
            return self.output(self.value(self.ln_1(x[:, 1:])))
        x = self.ln_1(x)
        value = _to_heads(self.value(x), self.heads)
        bias = neighbour_bias(grid, value) if self.weighs_distance else None
        attended = []
        for name in self.compared:
            part = value if name == "value" else _to_heads(self.get_submodule(name)(x), self.heads)
            # With queries as keys, PyTorch's fused kernels need no matrix of all pairs of locations.
            attended.append(F.scaled_dot_product_attention(part[..., 1:, :], part, value, attn_mask=bias))
        return self.output(_from_heads(torch.stack(attended).sum(dim=0)))


def neighbour_bias(grid: torch.Size, like: torch.Tensor) -> torch.Tensor:
    """What attention adds for close locations: exp(-distance² / 2), the distance in locations.

    NACLIP adds it to the scaled products before the softmax. Its standard deviation is one location here; the command
    in NACLIP's documentation sets five.

    Args:
        grid: (h, w).
        like: a tensor with the dtype and device of the result.

    Returns:
        (h * w, 1 + h * w); the column of the class token is 0.
    """
    places = [torch.arange(side, device=like.device, dtype=torch.float32) for side in grid]
    down, across = (torch.exp(-((place[:, None] - place) ** 2) / 2) for place in places)
    close = down[:, None, :, None] * across[None, :, None, :]
    return F.pad(close.flatten(2).flatten(0, 1), (1, 0)).to(like.dtype)


def _projection(attention: nn.MultiheadAttention, name: str) -> nn.Linear:
    """Copy the query, key or value projection out of CLIP's fused weights."""
    index = ("query", "key", "value").index(name)
    weight, bias = attention.in_proj_weight.chunk(3)[index], attention.in_proj_bias.chunk(3)[index]
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data.copy_(weight.data)
    layer.bias.data.copy_(bias.data)
    return layer


def _to_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, N, C) -> (B, heads, N, C / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _from_heads(x: torch.Tensor) -> torch.Tensor:
    """(B, heads, N, C / heads) -> (B, N, C)."""
    return x.transpose(1, 2).flatten(2)
