"""CLIP image encoders that return feature maps instead of one vector (the paper's figure 2, left)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from detectron2.config import CfgNode, configurable
from torch import nn

from sgovss.config_rules import check_value
from sgovss.errors import InputError
from sgovss.modeling.conv_tower import ConvTower
from sgovss.modeling.layers import MapShape

if TYPE_CHECKING:
    from sgovss.modeling.vit_tower import ViTTower


class CLIPImageEncoder(nn.Module):
    """The image encoder of a CLIP model, changed to return feature maps. It adds no parameters.

    Feature maps for normalised images (B, 3, H, W):

    ======  ======================  =========================================
    name    shape                   stride or content
    ======  ======================  =========================================
    res3    (B, C3, H/s3, W/s3)     convolutional: stride 8; ViT: patch size
    res4    (B, C4, H/s4, W/s4)     convolutional: stride 16; ViT: patch size
    res5    (B, C5, H/s5, W/s5)     convolutional: stride 32; ViT: patch size
    dense   (B, D, H/s5, W/s5)      joint image-text space, not normalised
    ======  ======================  =========================================

    Drop-out, stochastic depth and norm statistics stay in inference mode during training, so that at step 0 the outputs
    of the tuned and the frozen encoder are exactly equal.

    Args:
        visual: an image tower: open_clip's TimmModel or VisionTransformer, or the embedded model's.
        tuning: trainable parameters: ``full`` (all), ``attention`` (query and value projections of a ViT) or ``none``.
        dense: the kind of dense map of a ViT; see :class:`sgovss.modeling.vit_blocks.DensePath`.
        recompute: whether to use gradient checkpointing for each block.

    Raises:
        InputError: ``tuning`` or ``dense`` is unknown or needs a ViT, or the image tower has no dense map in the joint
            space.
    """

    @configurable
    def __init__(self, *, visual: nn.Module, tuning: str, dense: str = "value", recompute: bool = False) -> None:
        super().__init__()
        self.tower = _dense_tower(visual, dense, recompute)
        self._tune(tuning)
        self.eval()

    @classmethod
    def from_config(cls, cfg: CfgNode, visual: nn.Module) -> dict:
        clip = cfg.MODEL.CLIP
        return {"visual": visual, "tuning": clip.TUNING, "dense": clip.DENSE, "recompute": clip.RECOMPUTE}

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Normalised images (B, 3, H, W), H and W multiples of ``size_divisibility`` -> feature maps; see the class."""
        return self.tower(images)

    def train(self, mode: bool = True) -> CLIPImageEncoder:
        """Keep inference mode; see the class."""
        return super().train(False)

    def output_shape(self) -> dict[str, MapShape]:
        return dict(self.tower.shapes)

    @property
    def size_divisibility(self) -> int:
        return self.tower.shapes["dense"].stride

    def _tune(self, tuning: str) -> None:
        check_value("MODEL.CLIP.TUNING", tuning)
        self.requires_grad_(tuning == "full")
        if tuning == "attention":
            if isinstance(self.tower, ConvTower):
                raise InputError("MODEL.CLIP.TUNING: 'attention' needs a ViT; use 'full' for a convolutional encoder")
            for parameter in self.tower.query_value_parameters():
                parameter.requires_grad_(True)


def _dense_tower(visual: nn.Module, dense: str, recompute: bool) -> ConvTower | ViTTower:
    if hasattr(visual, "trunk") and hasattr(visual, "head"):  # open_clip's TimmModel, or the embedded model's tower
        if dense != "value":
            raise InputError(f"MODEL.CLIP.DENSE: '{dense}' needs a ViT; use 'value' for a convolutional encoder")
        return ConvTower(visual, recompute)
    # A ViT comes from open_clip, which then is imported already.
    from open_clip.transformer import VisionTransformer

    from sgovss.modeling.vit_tower import ViTTower

    if isinstance(visual, VisionTransformer):
        return ViTTower(visual, dense, recompute)
    raise InputError(
        f"MODEL.CLIP.NAME: a {type(visual).__name__} has no dense map; "
        "use a convolutional timm model (such as convnext_large_d_320) or a ViT (such as ViT-B-16)"
    )
