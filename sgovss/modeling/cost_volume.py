"""Cost map: cosine similarity of refined dense features and text embeddings; and the head that decodes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from torch import nn

from sgovss.modeling.bias_guidance import BiasGuidedRefinement
from sgovss.modeling.decoder import MultiscaleDecoder
from sgovss.modeling.layers import LayerNorm, MapShape, enlarge

STAGE_LEVELS = ("res5", "res4", "res3")
"""The feature map that guides each decoder stage, from coarse to fine."""

_REJECTED = -50.0
"""Logit of a class name that is not decoded. Finite, so that scores of several views can be averaged."""


def correlate(dense: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Cosine similarity of dense features (B, D, h, w) and text (B, T, D): the cost map (B, T, h, w) in float32.

    Half precision is too coarse for the differences between classes.
    """
    with torch.autocast(dense.device.type, enabled=False):
        return torch.einsum("bdhw,btd->bthw", F.normalize(dense.float(), dim=1), F.normalize(text.float(), dim=-1))


class CostVolumeHead(nn.Module):
    """Bias-guided refinement, cost map, multiscale decoder and output layer.

    At initialisation the logits are ``scale * cost + bias`` of CLIP's own cost map, up-sampled eight times. The weights
    do not depend on the classes or their number.

    :mod:`sgovss.config_rules` checks the values.

    Args:
        input_shape: channels and strides of ``res3``, ``res4``, ``res5`` and ``dense``.
        bias_guidance: whether to refine text and visual features, guided by the RS-Bias.
        decoder: whether to decode the cost map; if not, the logits have its resolution.
        visual_guidance: whether feature maps guide the decoder.
        text_guidance: whether to use class attention in the decoder.
        hidden_dim: width of the refinement, a multiple of ``heads``.
        heads: attention heads.
        bias_tokens: number of RS-Bias tokens.
        text_share: at inference the cost map uses an interpolation between CLIP's text embedding (0) and the refined
            one (1). The refinement is learned on seen classes only and moves unseen ones towards them. Training and the
            decoder use the refined embedding.
        decoder_dims: channels of the cost embedding in each of the three stages, multiples of ``heads``.
        decoder_kernel: kernel size of the decoder's depthwise convolutions, odd.
        guidance_dim: channels of the visual guidance of each stage.
        logit_scale, logit_bias: initial slope (> 0) and offset of the output layer.
        recompute: whether to use gradient checkpointing for each decoder stage.
        early_rejection: at inference, decode a class name only if it is among this many best-scoring names at one
            location or more; 0 decodes all. The result is approximate: other names get a very low score and do not take
            part in class attention.
        detach_levels: whether to keep the gradient from ``res3``, ``res4`` and ``res5``.
    """

    @configurable
    def __init__(
        self,
        *,
        input_shape: Mapping[str, MapShape],
        bias_guidance: bool,
        decoder: bool,
        visual_guidance: bool,
        text_guidance: bool,
        hidden_dim: int,
        heads: int,
        bias_tokens: int,
        text_share: float,
        decoder_dims: Sequence[int],
        decoder_kernel: int,
        guidance_dim: int,
        logit_scale: float,
        logit_bias: float,
        recompute: bool = False,
        early_rejection: int = 0,
        detach_levels: bool = False,
    ) -> None:
        super().__init__()
        joint = input_shape["dense"].channels
        guiding = STAGE_LEVELS if decoder and visual_guidance else ()
        self.refinement: BiasGuidedRefinement | None = None
        if bias_guidance:
            # A feature map that nothing reads is not refined: its layers would have no gradient.
            self.refinement = BiasGuidedRefinement(
                input_shape=input_shape,
                refined=[name for name in input_shape if name in guiding or name == "dense"],
                dim=hidden_dim,
                heads=heads,
                tokens=bias_tokens,
            )
        self.text_share = text_share
        self.detach_levels = detach_levels
        self.guides = nn.ModuleDict()
        for i, level in enumerate(guiding):
            # Stage i has 2**i times the resolution of the dense map; coarser feature maps are enlarged to it.
            factor = max(1, round(2**i * input_shape[level].stride / input_shape["dense"].stride))
            self.guides[level] = _LevelGuide(input_shape[level].channels, guidance_dim, factor)
        self.decoder: MultiscaleDecoder | None = None
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
        self.log_scale = nn.Parameter(torch.tensor(math.log(logit_scale)))
        self.logit_bias = nn.Parameter(torch.tensor(float(logit_bias)))

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, MapShape]) -> dict:
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
            "text_share": node.TEXT_SHARE,
            "decoder_dims": tuple(node.DECODER_DIMS),
            "decoder_kernel": node.DECODER_KERNEL,
            "guidance_dim": node.GUIDANCE_DIM,
            "logit_scale": node.LOGIT_SCALE,
            "logit_bias": node.LOGIT_BIAS,
            "recompute": node.RECOMPUTE_DECODER,
            "early_rejection": cfg.TEST.EARLY_REJECTION,
            "detach_levels": node.DETACH_LEVELS,
        }

    def forward(self, levels: Mapping[str, torch.Tensor], text: torch.Tensor) -> torch.Tensor:
        """Compute the logits of every class name at every location.

        Args:
            levels: the encoder's feature maps (B, C, h, w) by name.
            text: (T, D) L2-normalised embeddings of the class names.

        Returns:
            (B, T, 8h, 8w), where (h, w) is the grid of the dense map; without a decoder (B, T, h, w).
        """
        return self.stages(levels, text)[-1]

    def stages(self, levels: Mapping[str, torch.Tensor], text: torch.Tensor) -> list[torch.Tensor]:
        """As :meth:`forward`, but the logits of every decoder stage, from coarse to fine; without a decoder one map."""
        if self.detach_levels:
            levels = {name: features if name == "dense" else features.detach() for name, features in levels.items()}
        cost, refined_text, refined = self.cost_map(levels, text)
        calibrated = self.log_scale.exp() * cost + self.logit_bias
        if self.decoder is None:
            return [calibrated]
        guidance = [
            guide(refined[level], _times(cost.shape[-2:], 2**i)) for i, (level, guide) in enumerate(self.guides.items())
        ] or [None] * len(STAGE_LEVELS)
        if self.early_rejection and not self.training:
            return [self._decode_best(self.decoder, calibrated, guidance, refined_text)]
        return self.decoder(calibrated, guidance, refined_text)

    def _decode_best(
        self,
        decoder: MultiscaleDecoder,
        cost: torch.Tensor,
        guidance: Sequence[torch.Tensor | None],
        text: torch.Tensor,
    ) -> torch.Tensor:
        """Run the decoder, for each image, on the class names that are among the best at one location or more."""
        count = min(self.early_rejection, cost.shape[1])
        decoded = []
        for image in range(len(cost)):
            one = slice(image, image + 1)
            kept = cost[image].topk(count, dim=0).indices.unique()
            visual = [None if each is None else each[one] for each in guidance]
            logits = decoder(cost[one, kept], visual, text[one, kept])[-1]
            every = logits.new_full((1, cost.shape[1], *logits.shape[-2:]), _REJECTED)
            decoded.append(every.index_copy_(1, kept, logits))
        return torch.cat(decoded)

    def cost_map(
        self, levels: Mapping[str, torch.Tensor], text: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, Mapping[str, torch.Tensor]]:
        """Cost map (B, T, h, w), refined text (B, T, D) and refined feature maps (B, C, h, w) by name."""
        if self.refinement is None:
            text = text.expand(levels["dense"].shape[0], -1, -1)
            return correlate(levels["dense"], text), text, levels
        refined_text, levels, _ = self.refinement(text, levels)
        correlated = refined_text if self.training else torch.lerp(text, refined_text, self.text_share)
        return correlate(levels["dense"], correlated), refined_text, levels


class _LevelGuide(nn.Module):
    """Project a feature map to few channels at the resolution of a decoder stage.

    Feature maps of a ViT are coarser than some stages. A learned pixel shuffle enlarges them by ``factor``.
    """

    def __init__(self, channels: int, guidance: int, factor: int) -> None:
        super().__init__()
        self.norm = LayerNorm(channels)
        self.project = nn.Linear(channels, guidance * factor**2)
        self.shuffle = nn.PixelShuffle(factor)

    def forward(self, features: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Feature map (B, C, h, w) -> visual guidance (B, guidance, *size)."""
        features = self.project(self.norm(features.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        features = F.gelu(self.shuffle(features))
        if tuple(features.shape[-2:]) != size:
            features = enlarge(features, size)
        return features


def _times(size: Sequence[int], factor: int) -> tuple[int, int]:
    return size[0] * factor, size[1] * factor


def build_head(cfg: CfgNode, input_shape: Mapping[str, MapShape]) -> nn.Module:
    """Build the head that MODEL.SEM_SEG_HEAD.NAME names: :class:`CostVolumeHead`, or one registered with Detectron2."""
    if CostVolumeHead.__name__ == cfg.MODEL.SEM_SEG_HEAD.NAME:
        return CostVolumeHead(cfg, input_shape)
    from detectron2.modeling import build_sem_seg_head

    return build_sem_seg_head(cfg, input_shape)
