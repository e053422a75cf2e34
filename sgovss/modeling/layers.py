"""Small layers that several parts share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class ZeroGate(nn.Module):
    """A per-channel factor that starts at zero, so that the residual behind it starts as nothing.

    Args:
        channels: size of the gated axis.
        axis: which axis of the input it gates.
    """

    def __init__(self, channels: int, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis
        self.scale = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape with ``channels`` entries along ``axis``; same shape out."""
        shape = [1] * x.dim()
        shape[self.axis] = -1
        return x * self.scale.view(shape)


class Attention(nn.Module):
    """Multi-head attention in which a query may also attend to nothing.

    The extra key with a zero value makes how much is taken depend on the query even when there is
    a single key, as with one bias token.

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
        """(B, N, dim) attends to (B, M, dim), giving (B, N, dim)."""
        q = self._split(self.query(x))
        k, v = (self._split(part) for part in self.key_value(context).chunk(2, dim=-1))
        nothing = (0, 0, 0, 1)
        attended = F.scaled_dot_product_attention(q, F.pad(k, nothing), F.pad(v, nothing))
        return self.output(attended.transpose(1, 2).flatten(2))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
