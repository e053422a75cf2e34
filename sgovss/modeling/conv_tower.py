"""Dense maps from a convolutional timm trunk held by open_clip (ConvNeXt, EfficientNet, ...)."""

from __future__ import annotations

import torch
from detectron2.layers import ShapeSpec
from open_clip.timm_model import TimmModel
from torch import nn

from sgovss.errors import InputError

LEVEL_STRIDES = {"res3": 8, "res4": 16, "res5": 32}


class ConvTower(nn.Module):
    """Levels at strides 8, 16 and 32, and CLIP's head applied at every location of the last map.

    Args:
        visual: open_clip's image tower around a timm trunk with average pooling.
        recompute: whether the backward pass computes each block again instead of finding it in memory.

    Raises:
        InputError: the trunk has no stride-8, -16 and -32 maps, or pools by attention, so that
            its projection has no meaning at a single location.
    """

    def __init__(self, visual: TimmModel, recompute: bool = False) -> None:
        super().__init__()
        reductions = [info["reduction"] for info in visual.trunk.feature_info]
        if not set(LEVEL_STRIDES.values()) <= set(reductions) or "pool" in visual.head._modules:
            raise InputError(
                "MODEL.CLIP.NAME: this timm tower has no maps at strides 8, 16 and 32 with average pooling, "
                "so it cannot be used for pixels; use a convolutional one such as convnext_large_d_320"
            )
        self.trunk = visual.trunk
        if recompute:
            self.trunk.set_grad_checkpointing()
        self.projection = visual.head
        self.indices = [reductions.index(stride) for stride in LEVEL_STRIDES.values()]
        channels = [visual.trunk.feature_info[index]["num_chs"] for index in self.indices]
        self.shapes = {
            name: ShapeSpec(channels=count, stride=stride)
            for (name, stride), count in zip(LEVEL_STRIDES.items(), channels, strict=True)
        }
        self.shapes["dense"] = ShapeSpec(channels=self._joint_dimension(), stride=LEVEL_STRIDES["res5"])

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """(B, 3, H, W) -> res3, res4, res5 and dense; see :class:`CLIPImageEncoder`."""
        final, levels = self.trunk.forward_intermediates(images, indices=self.indices)
        return {**dict(zip(LEVEL_STRIDES, levels, strict=True)), "dense": self._project(final)}

    def _project(self, final: torch.Tensor) -> torch.Tensor:
        """CLIP's pooling, norm and projection, each location taken as an image of one pixel."""
        batch, channels, height, width = final.shape
        locations = final.permute(0, 2, 3, 1).reshape(-1, channels, 1, 1)
        dense = self.projection(self.trunk.forward_head(locations))
        return dense.view(batch, height, width, -1).permute(0, 3, 1, 2)

    @torch.no_grad()
    def _joint_dimension(self) -> int:
        training = self.training
        self.eval()
        dimension = self._project(torch.zeros(1, self.trunk.num_features, 1, 1)).shape[1]
        self.train(training)
        return dimension
