"""The cost volume: correlation of refined dense features with refined text, and its decoding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import nn

from sgovss.errors import InputError
from sgovss.modeling.bias_guidance import BiasGuidedRefinement
from sgovss.modeling.decoder import MultiscaleDecoder
from sgovss.modeling.layers import ZeroGate

STAGE_LEVELS = ("res5", "res4", "res3")
"""Which level guides which decoder stage: coarse to fine."""


_REJECTED = -50.0
"""Logit of a name that was not decoded."""


def correlate(dense: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Cosine of dense features (B, D, h, w) and text (B, T, D): the cost map (B, T, h, w), in float32.

    Classes often differ by less than what half precision can tell apart.
    """
    with torch.autocast(dense.device.type, enabled=False):
        return torch.einsum("bdhw,btd->bthw", F.normalize(dense.float(), dim=1), F.normalize(text.float(), dim=-1))


@SEM_SEG_HEADS_REGISTRY.register()
class CostVolumeHead(nn.Module):
    """Bias-guided refinement, cost map, multiscale decoder and output layer.

    At initialisation the logits are ``scale * cost + bias`` of plain CLIP's cost map, up-sampled
    eight times. Nothing in the weights depends on how many or which classes there are.

    Args:
        input_shape: channels and strides of ``res3``, ``res4``, ``res5`` and ``dense``.
        bias_guidance: whether text and visual features are refined under the RS-Bias.
        decoder: whether the cost map is decoded; else the logits are its affine map and stay on its grid.
        visual_guidance: whether the levels guide the decoder.
        text_guidance: whether classes attend to each other in the decoder, guided by the text.
        hidden_dim: width of the refinement.
        heads: attention heads.
        bias_tokens: number of RS-Bias tokens.
        text_share: how much of the text's refinement the correlation uses after training, 0 to 1. It is learned on
            the seen names alone and takes others to them; the decoder, which only compares names, has all of it.
        decoder_dims: channels of the cost embedding at each of the three stages.
        decoder_kernel: side of the decoder's depthwise convolutions, odd.
        guidance_dim: channels of the visual guidance of each stage.
        logit_scale, logit_bias: first values of the output layer's slope (> 0) and offset.
        recompute: whether the backward pass computes the decoder's stages again, for less memory.
        early_rejection: at inference only those names are decoded that are among so many best of some location; 0
            decodes all. The others score nothing, and those that are left do not see them: nearly the same result.

    Raises:
        InputError: not three decoder widths, widths that the heads do not divide, or a negative number of names.
    """

    @configurable
    def __init__(
        self,
        *,
        input_shape: Mapping[str, ShapeSpec],
        bias_guidance: bool,
        decoder: bool,
        visual_guidance: bool,
        text_guidance: bool,
        hidden_dim: int,
        heads: int,
        bias_tokens: int,
        bias_grid: int,
        gates_start: float,
        text_share: float,
        decoder_dims: Sequence[int],
        decoder_kernel: int,
        guidance_dim: int,
        logit_scale: float,
        logit_bias: float,
        recompute: bool = False,
        early_rejection: int = 0,
    ) -> None:
        super().__init__()
        if early_rejection < 0:
            raise InputError("TEST.EARLY_REJECTION: give a number of names >= 0; 0 decodes all")
        if len(decoder_dims) != len(STAGE_LEVELS) or any(dim % heads for dim in (*decoder_dims, hidden_dim)):
            raise InputError(
                f"MODEL.SGOVSS.DECODER_DIMS: give three widths, each (and HIDDEN_DIM) a multiple of HEADS ({heads})"
            )
        joint = input_shape["dense"].channels
        self.refinement = (
            BiasGuidedRefinement(input_shape=input_shape, dim=hidden_dim, heads=heads, tokens=bias_tokens)
            if bias_guidance
            else None
        )
        self.text_share = text_share
        self.guides = nn.ModuleDict()
        for i, level in enumerate(STAGE_LEVELS if decoder and visual_guidance else ()):
            # Stage i works at 2**i times the dense grid; a level that is coarser than that is enlarged.
            factor = max(1, round(2**i * input_shape[level].stride / input_shape["dense"].stride))
            self.guides[level] = _LevelGuide(input_shape[level].channels, guidance_dim, factor)
        self.decoder = None
        if decoder:
            self.decoder = MultiscaleDecoder(
                guidance=guidance_dim if visual_guidance else 0,
                text=joint,
                dims=decoder_dims,
                heads=heads,
                kernel=decoder_kernel,
                text_guidance=text_guidance,
                recompute=recompute,
            )
        self.early_rejection = early_rejection
        if self.refinement is not None:
            self.refinement.bias.grid = bias_grid
        for module in self.modules():
            if isinstance(module, ZeroGate):
                nn.init.constant_(module.scale, gates_start)
        self.log_scale = nn.Parameter(torch.tensor(math.log(logit_scale)))
        self.logit_bias = nn.Parameter(torch.tensor(float(logit_bias)))

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict:
        node = cfg.MODEL.SGOVSS
        return {
            "input_shape": input_shape,
            "bias_guidance": node.BIAS_GUIDANCE,
            "decoder": node.DECODER,
            "visual_guidance": node.VISUAL_GUIDANCE,
            "text_guidance": node.TEXT_GUIDANCE,
            "hidden_dim": node.HIDDEN_DIM,
            "heads": node.HEADS,
            "bias_tokens": node.BIAS_TOKENS,
            "bias_grid": node.BIAS_GRID,
            "gates_start": node.GATES_START,
            "text_share": node.TEXT_SHARE,
            "decoder_dims": tuple(node.DECODER_DIMS),
            "decoder_kernel": node.DECODER_KERNEL,
            "guidance_dim": node.GUIDANCE_DIM,
            "logit_scale": node.LOGIT_SCALE,
            "logit_bias": node.LOGIT_BIAS,
            "recompute": node.RECOMPUTE_DECODER,
            "early_rejection": cfg.TEST.EARLY_REJECTION,
        }

    def forward(self, levels: Mapping[str, torch.Tensor], text: torch.Tensor) -> torch.Tensor:
        """Score every location for every name.

        Args:
            levels: the encoder's maps (B, C, h, w) by name.
            text: (T, D) L2-normalised embeddings of the names.

        Returns:
            logits (B, T, 8h, 8w), where (h, w) is the dense map's grid; without a decoder (B, T, h, w).
        """
        cost, refined_text, refined = self.cost_map(levels, text)
        calibrated = self.log_scale.exp() * cost + self.logit_bias
        if self.decoder is None:
            return calibrated
        guidance = [
            guide(refined[level], _times(cost.shape[-2:], 2**i)) for i, (level, guide) in enumerate(self.guides.items())
        ] or [None] * len(STAGE_LEVELS)
        if self.early_rejection and not self.training:
            return self._decode_best(calibrated, guidance, refined_text)
        return self.decoder(calibrated, guidance, refined_text)

    def _decode_best(
        self, cost: torch.Tensor, guidance: Sequence[torch.Tensor | None], text: torch.Tensor
    ) -> torch.Tensor:
        """As the decoder, for the names that are among the best of some location of their own image."""
        count = min(self.early_rejection, cost.shape[1])
        decoded = []
        for image in range(len(cost)):
            one = slice(image, image + 1)
            kept = cost[image].topk(count, dim=0).indices.unique()
            visual = [None if each is None else each[one] for each in guidance]
            logits = self.decoder(cost[one, kept], visual, text[one, kept])
            # Not infinitely little, of which no average can be taken.
            every = logits.new_full((1, cost.shape[1], *logits.shape[-2:]), _REJECTED)
            decoded.append(every.index_copy_(1, kept, logits))
        return torch.cat(decoded)

    def cost_map(
        self, levels: Mapping[str, torch.Tensor], text: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, Mapping[str, torch.Tensor]]:
        """The cost map (B, T, h, w), the refined text (B, T, D), and the refined maps (B, C, h, w) by level."""
        if self.refinement is None:
            text = text.expand(levels["dense"].shape[0], -1, -1)
            return correlate(levels["dense"], text), text, levels
        refined_text, levels, _ = self.refinement(text, levels)
        correlated = refined_text if self.training else torch.lerp(text, refined_text, self.text_share)
        return correlate(levels["dense"], correlated), refined_text, levels


class _LevelGuide(nn.Module):
    """Brings a level to its stage's resolution and to few channels.

    A ViT's levels are coarser than the stages want; the missing ``factor`` is learned as sub-pixels.
    """

    def __init__(self, channels: int, guidance: int, factor: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.project = nn.Linear(channels, guidance * factor**2)
        self.shuffle = nn.PixelShuffle(factor)

    def forward(self, features: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """(B, C, h, w) -> (B, guidance, *size)."""
        features = self.project(self.norm(features.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        features = F.gelu(self.shuffle(features))
        if tuple(features.shape[-2:]) != size:
            features = F.interpolate(features, size=size, mode="bilinear", align_corners=False)
        return features


def _times(size: Sequence[int], factor: int) -> tuple[int, int]:
    return size[0] * factor, size[1] * factor
