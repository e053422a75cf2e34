"""Batched, augmented training views: random square crops in any orientation, with colour jitter."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sgovss.pretraining.image_tower import normalise

SMALLEST_SIDE = 0.5
"""A crop's side is at least this share of the image's."""


def random_crops(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Draw one view of each image.

    Args:
        images: (B, 3, H, H) uint8 RGB.
        size: side of the views in pixels.
        generator: the source of all randomness.

    Returns:
        (B, 3, size, size) normalised, channels last.
    """
    count = len(images)
    side = SMALLEST_SIDE + (1 - SMALLEST_SIDE) * torch.rand(count, generator=generator)
    centre = (torch.rand(count, 2, generator=generator) * 2 - 1) * (1 - side)[:, None]
    turn = torch.randint(4, (count,), generator=generator) * (torch.pi / 2)
    mirror = torch.randint(2, (count,), generator=generator) * 2.0 - 1
    cosine, sine = torch.cos(turn).round() * side, torch.sin(turn).round() * side
    rows = torch.stack([cosine * mirror, -sine, centre[:, 0], sine * mirror, cosine, centre[:, 1]], dim=1)
    grid = F.affine_grid(rows.view(count, 2, 3), [count, 3, size, size], align_corners=False)
    views = F.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)
    return normalise(_jitter_colours(views, generator)).contiguous(memory_format=torch.channels_last)


def _jitter_colours(images: Tensor, generator: torch.Generator) -> Tensor:
    """Saturation, contrast, brightness and white balance, each drawn per image; 0..255 in and out."""

    def factor(spread: float, channels: int = 1) -> Tensor:
        return 1 + spread * (torch.rand(len(images), channels, 1, 1, generator=generator) * 2 - 1)

    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * factor(0.3)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * factor(0.3)
    return (images * factor(0.25) * factor(0.05, 3)).clamp_(0, 255)
