"""Feature maps of open_clip's image towers with a convolutional timm trunk (ConvNeXt, EfficientNet, ...)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sgovss.errors import InputError
from sgovss.modeling.layers import MapShape

LEVEL_STRIDES = {"res3": 8, "res4": 16, "res5": 32}

_NO_LEVELS = (
    "MODEL.CLIP.NAME: this timm model has no convolutional feature maps at strides 8, 16 and 32 with average pooling; "
    "use one such as convnext_large_d_320"
)


class ConvTower(nn.Module):
    """Feature maps at strides 8, 16 and 32, and a dense map: CLIP's head applied to each location of the last one.

    Args:
        visual: an image tower with a timm ``trunk`` with average pooling, and a ``head``, as in open_clip's
            TimmModel.
        recompute: whether to use gradient checkpointing for each block.

    Raises:
        InputError: the trunk has no feature maps at these strides, or it pools by attention, so that its projection
            cannot be applied to a single location.
    """

    def __init__(self, visual: Any, recompute: bool = False) -> None:
        super().__init__()
        reductions = [info["reduction"] for info in visual.trunk.feature_info]
        if not set(LEVEL_STRIDES.values()) <= set(reductions) or "pool" in visual.head._modules:
            raise InputError(_NO_LEVELS)
        self.trunk = visual.trunk
        if recompute:
            self.trunk.set_grad_checkpointing()
        self.projection = visual.head
        self.indices = [reductions.index(stride) for stride in LEVEL_STRIDES.values()]
        channels = [visual.trunk.feature_info[index]["num_chs"] for index in self.indices]
        self.shapes = {
            name: MapShape(channels=count, stride=stride)
            for (name, stride), count in zip(LEVEL_STRIDES.items(), channels, strict=True)
        }
        self.shapes["dense"] = MapShape(channels=self._joint_dimension(), stride=LEVEL_STRIDES["res5"])

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """(B, 3, H, W) -> res3, res4, res5 and dense; see :class:`CLIPImageEncoder`."""
        final, levels = self.trunk.forward_intermediates(images, indices=self.indices)
        return {**dict(zip(LEVEL_STRIDES, levels, strict=True)), "dense": self._project(final)}

    def _project(self, final: torch.Tensor) -> torch.Tensor:
        """Apply CLIP's pooling, norm and projection to each location, as if it were an image of one pixel."""
        batch, channels, height, width = final.shape
        locations = final.permute(0, 2, 3, 1).reshape(-1, channels, 1, 1)
        dense = self.projection(self.trunk.forward_head(locations))
        return dense.view(batch, height, width, -1).permute(0, 3, 1, 2)

    @torch.no_grad()
    def _joint_dimension(self) -> int:
        training = self.training
        self.eval()
        try:
            dimension = self._project(torch.zeros(1, self.trunk.num_features, 1, 1)).shape[1]
        except RuntimeError as error:  # a trunk with channels last, such as Swin
            raise InputError(_NO_LEVELS) from error
        self.train(training)
        return dimension
