"""Bias-guided image-text collaborative optimisation (the paper's figure 2, middle)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from sgovss.modeling.layers import Attention, LayerNorm, MapShape, ZeroGate

_BIAS_GRID = 4
"""Rows and columns of the grid that each feature map is averaged onto before the bias tokens attend to it."""


class RSBias(nn.Module):
    """Aggregate the feature maps of an image into a few bias tokens.

    Args:
        channels: channels of each feature map, by name.
        dim: width of the tokens.
        tokens: number of tokens.
        heads: attention heads.
    """

    def __init__(self, channels: Mapping[str, int], dim: int, tokens: int, heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(tokens, dim) * dim**-0.5)
        self.inputs = nn.ModuleDict(
            {name: nn.Sequential(LayerNorm(count), nn.Linear(count, dim)) for name, count in channels.items()}
        )
        self.gather = Attention(dim, heads)
        self.norm = LayerNorm(dim)

    def forward(self, levels: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Feature maps (B, C, h, w) by name -> bias tokens (B, tokens, dim)."""
        cells = []
        for name, layer in self.inputs.items():
            pooled = F.adaptive_avg_pool2d(levels[name], _BIAS_GRID)
            cells.append(layer(pooled.flatten(2).transpose(1, 2)))
        context = torch.cat(cells, dim=1)
        queries = self.queries.expand(context.shape[0], -1, -1)
        return self.norm(queries + self.gather(queries, context))


class BiasGuidedRefinement(nn.Module):
    """Refine text embeddings and feature maps, guided by the RS-Bias.

    1. Self-attention across the text embeddings.
    2. First cross-attention: the text attends to the bias, and the bias to the text.
    3. Second cross-attention: every location of the feature maps attends to the refined text and bias.
    4. Element-wise product (figure 1): a factor per channel (B, D, 1, 1), computed from the refined bias, multiplies
       the dense map (B, D, h, w).

    Each refinement is a residual scaled by a :class:`ZeroGate`, so at initialisation CLIP's features are unchanged.

    Args:
        input_shape: channels of ``res3``, ``res4``, ``res5`` and ``dense``.
        refined: names of the feature maps to refine, ``dense`` among them; those that no other part reads are left out.
        dim: hidden width.
        heads: attention heads.
        tokens: number of bias tokens.
    """

    def __init__(
        self, *, input_shape: Mapping[str, MapShape], refined: Sequence[str], dim: int, heads: int, tokens: int
    ) -> None:
        super().__init__()
        channels = {name: shape.channels for name, shape in input_shape.items()}
        joint = channels["dense"]
        self.bias = RSBias(channels, dim, tokens, heads)
        self.text_input = nn.Linear(joint, dim)
        self.text_attention = Attention(dim, heads)
        self.text_from_bias = Attention(dim, heads)
        self.bias_from_text = Attention(dim, heads)
        self.norms = nn.ModuleDict({name: LayerNorm(dim) for name in ("text", "text_bias", "bias", "refined")})
        self.text_output = _GatedOutput(dim, joint)
        self.channel_output = _GatedOutput(dim, joint)
        self.visual = nn.ModuleDict({name: _LevelRefinement(channels[name], dim, heads) for name in refined})

    def forward(
        self, text: torch.Tensor, levels: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """Refine text embeddings and feature maps; the refined text differs between images.

        Args:
            text: (T, D) L2-normalised embeddings.
            levels: feature maps (B, C, h, w) by name.

        Returns:
            The refined text (B, T, D); the feature maps with unchanged shapes, those in ``refined`` refined; and the
            refined bias (B, tokens, dim).
        """
        bias = self.bias(levels)
        # Entries of unit vectors are about D ** -0.5; the scaling makes them about 1.
        hidden = self.text_input(text * text.shape[-1] ** 0.5).expand(bias.shape[0], -1, -1)
        norm = self.norms["text"]
        hidden = hidden + self.text_attention(norm(hidden), norm(hidden))
        refined_bias = bias + self.bias_from_text(self.norms["bias"](bias), hidden)
        hidden = hidden + self.text_from_bias(self.norms["text_bias"](hidden), bias)
        context = self.norms["refined"](torch.cat([hidden, refined_bias], dim=1))
        refined_text = text + self.text_output(context[:, : text.shape[0]])
        refined = {**levels, **{name: layer(levels[name], context) for name, layer in self.visual.items()}}
        factor = 1 + self.channel_output(context[:, text.shape[0] :].mean(dim=1))
        refined["dense"] = refined["dense"] * factor[:, :, None, None]
        return refined_text, refined, refined_bias


class _GatedOutput(nn.Module):
    """Zero gate and linear layer, for a residual: (..., dim) -> (..., channels)."""

    def __init__(self, dim: int, channels: int) -> None:
        super().__init__()
        self.gate = ZeroGate(dim)
        self.linear = nn.Linear(dim, channels, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # The gate multiplies the weights, which are fewer than the entries of x.
        return F.linear(x, self.gate(self.linear.weight))


class _LevelRefinement(nn.Module):
    """Second cross-attention for one feature map: its locations attend to text and bias."""

    def __init__(self, channels: int, dim: int, heads: int) -> None:
        super().__init__()
        self.input = nn.Sequential(LayerNorm(channels), nn.Linear(channels, dim))
        self.attention = Attention(dim, heads)
        self.output = _GatedOutput(dim, channels)

    def forward(self, features: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Feature map (B, C, h, w) and context (B, M, dim) -> refined feature map (B, C, h, w)."""
        locations = features.flatten(2).transpose(1, 2)
        residual = self.output(self.attention(self.input(locations), context))
        return features + residual.transpose(1, 2).view_as(features)
