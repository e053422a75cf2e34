"""Layers that several parts of the model use: a gate that is initialised to zero, a norm, and attention."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn


class MapShape(NamedTuple):
    """The shape of a feature map. Detectron2's ``ShapeSpec``, which is slow to import, has these attributes too.

    Attributes:
        channels: number of channels.
        stride: side of a location in pixels.
    """

    channels: int
    stride: int


class LayerNorm(nn.LayerNorm):
    """Layer norm over the last axis that returns the dtype of its input.

    Under autocast torch's own returns float32 on CUDA (not on a CPU). The convolution or linear layer that follows
    would cast that back, so it costs time and memory and no digit is kept.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., C) -> the same shape and dtype."""
        with torch.autocast(x.device.type, enabled=False):
            return F.layer_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


class ChannelNorm(LayerNorm):
    """Layer norm over the channels of each location, as timm's ``LayerNorm2d``.

    Args:
        channels: number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def enlarge(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Interpolate (B, C, h, w) bilinearly to (B, C, *size), in the dtype of x.

    Under autocast torch would compute in float32 on CUDA (not on a CPU).
    """
    with torch.autocast(x.device.type, enabled=False):
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class ZeroGate(nn.Module):
    """Multiply each channel by a learned factor that is initialised to zero.

    Args:
        channels: number of channels.
        axis: the channel axis of the input.
    """

    def __init__(self, channels: int, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis
        self.scale = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A tensor with ``channels`` entries along ``axis`` -> the same shape."""
        shape = [1] * x.dim()
        shape[self.axis] = -1
        return x * self.scale.view(shape)


class Attention(nn.Module):
    """Multi-head attention with an additional key and value of zeros.

    Without them, the weight of a single key, such as that of a single bias token, would be 1 for every query.

    Args:
        dim: width of queries, keys, values and output.
        heads: number of heads; must divide ``dim``.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Queries (B, N, dim) and keys (B, M, dim) -> (B, N, dim)."""
        q = self._split(self.query(x))
        k, v = (self._split(part) for part in self.key_value(context).chunk(2, dim=-1))
        zero_key = (0, 0, 0, 1)
        attended = F.scaled_dot_product_attention(q, F.pad(k, zero_key), F.pad(v, zero_key))
        return self.output(attended.transpose(1, 2).flatten(2))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
