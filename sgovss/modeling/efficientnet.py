"""EfficientNet-Lite, the trunk of the embedded model's image tower.

timm has it too, under the same names of tensors and with the same numbers, but importing timm takes longer than
importing PyTorch, because it imports torchvision with all its models. The embedded model needs neither.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

_STEM, FEATURES = 32, 1280  # the same at any width
_EPSILON = 1e-3  # of the batch norms, as in TensorFlow


class Scale(NamedTuple):
    """Factors of the number of channels and of blocks, relative to Lite0."""

    width: float
    depth: float


SCALES = {
    "tf_efficientnet_lite0": Scale(1.0, 1.0),
    "tf_efficientnet_lite1": Scale(1.0, 1.1),
    "tf_efficientnet_lite2": Scale(1.1, 1.2),
}
"""Trunks by timm's names."""


class _Stage(NamedTuple):
    blocks: int
    channels: int
    kernel: int
    stride: int

    def scaled(self, scale: Scale, end: bool) -> _Stage:
        """The stage in a larger trunk. The first and the last stage, the ``end`` ones, keep their number of blocks."""
        blocks = self.blocks if end else math.ceil(self.blocks * scale.depth)
        return self._replace(blocks=blocks, channels=_multiple_of_8(self.channels * scale.width))


_STAGES = (
    _Stage(1, 16, 3, 1),
    _Stage(2, 24, 3, 2),
    _Stage(2, 40, 5, 2),
    _Stage(3, 80, 3, 2),
    _Stage(3, 112, 5, 1),
    _Stage(4, 192, 5, 2),
    _Stage(1, 320, 3, 1),
)
_EXPANSION = 6


def _multiple_of_8(channels: float) -> int:
    """The nearest multiple of 8, or the next one if that is more than a tenth smaller, as in TensorFlow's models."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class SameConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow does: the output has the size of the input divided by the stride."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        padding: list[int] = []
        for side, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            missing = max(0, ((side + stride - 1) // stride - 1) * stride + kernel - side)
            padding += [missing // 2, missing - missing // 2]
        return F.conv2d(F.pad(x, padding), self.weight, self.bias, self.stride, groups=self.groups)


def _convolution(inside: int, outside: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    kind, padding = (nn.Conv2d, kernel // 2) if stride == 1 else (SameConv2d, 0)
    convolution = kind(inside, outside, kernel, stride, padding, groups=groups, bias=False)
    nn.init.normal_(convolution.weight, std=(2 * groups / (kernel**2 * outside)) ** 0.5)
    return convolution


class _Norm(nn.BatchNorm2d):
    """Batch norm, followed by an activation unless ``active`` is off."""

    def __init__(self, channels: int, active: bool = True) -> None:
        super().__init__(channels, eps=_EPSILON, momentum=0.01)
        self.act = nn.ReLU6(inplace=True) if active else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(super().forward(x))


class _Separable(nn.Module):
    """A depthwise and a pointwise convolution."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = _convolution(inside, inside, kernel, stride, groups=inside)
        self.bn1 = _Norm(inside)
        self.conv_pw = _convolution(inside, outside)
        self.bn2 = _Norm(outside, active=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn2(self.conv_pw(self.bn1(self.conv_dw(x))))


class _InvertedResidual(nn.Module):
    """A pointwise convolution to more channels, a depthwise one, and a pointwise one back."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = _EXPANSION * inside
        self.residual = stride == 1 and inside == outside
        self.conv_pw = _convolution(inside, hidden)
        self.bn1 = _Norm(hidden)
        self.conv_dw = _convolution(hidden, hidden, kernel, stride, groups=hidden)
        self.bn2 = _Norm(hidden)
        self.conv_pwl = _convolution(hidden, outside)
        self.bn3 = _Norm(outside, active=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv_dw(self.bn1(self.conv_pw(x))))
        y = self.bn3(self.conv_pwl(y))
        return y + x if self.residual else y


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite without its classifier, with the part of timm's interface that :class:`ConvTower` uses.

    Args:
        scale: one of :data:`SCALES`.
    """

    num_features = FEATURES

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        self.conv_stem = _convolution(3, _STEM, 3, 2)
        self.bn1 = _Norm(_STEM)
        infos: dict[int, dict[str, int]] = {}  # a stage after which the next one halves the size, or the last one
        stages, inside, reduction = [], _STEM, 2
        for number, lite0 in enumerate(_STAGES):
            stage = lite0.scaled(scale, end=number in (0, len(_STAGES) - 1))
            kind = _InvertedResidual if number else _Separable
            sides = [inside] + [stage.channels] * (stage.blocks - 1)
            strides = [stage.stride] + [1] * (stage.blocks - 1)
            blocks = [kind(c, stage.channels, stage.kernel, s) for c, s in zip(sides, strides, strict=True)]
            stages.append(nn.Sequential(*blocks))
            inside, reduction = stage.channels, reduction * stage.stride
            infos[reduction] = {"num_chs": inside, "reduction": reduction, "stage": number}
        self.feature_info = list(infos.values())
        self.blocks = nn.Sequential(*stages)
        self.conv_head = _convolution(inside, FEATURES)
        self.bn2 = _Norm(FEATURES)
        self._recompute = False

    def set_grad_checkpointing(self) -> None:
        """Compute each block again in the backward pass instead of keeping what is inside it."""
        self._recompute = True

    def forward_intermediates(
        self, images: torch.Tensor, indices: list[int]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Normalised images (B, 3, H, W) -> the last map (B, 1280, h, w), and the maps after some stages.

        Args:
            images: the images.
            indices: indices of ``feature_info``, ascending.
        """
        wanted = [self.feature_info[index]["stage"] for index in indices]
        x, maps = self.bn1(self.conv_stem(images)), []
        for number, stage in enumerate(self.blocks):
            for block in stage.children():
                x = checkpoint(block, x, use_reentrant=False) if self._recompute else block(x)
            if number in wanted:
                maps.append(x)
        return self.bn2(self.conv_head(x)), maps

    def forward_head(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1280, h, w) -> its mean over the locations, (B, 1280)."""
        return x.mean(dim=(2, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images (B, 3, H, W) -> features (B, 1280)."""
        return self.forward_head(self.forward_intermediates(images, [])[0])
