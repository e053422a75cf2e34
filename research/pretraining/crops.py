"""Training views: random square crops in any orientation, with colour jitter, and mosaics of them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from research.pretraining.image_encoder import normalise


def draw_crops(count: int, smallest: float | Tensor, generator: torch.Generator) -> Tensor:
    """Draw random square crops, rotated by multiples of 90 degrees and mirrored.

    Args:
        count: number of crops.
        smallest: smallest side of a crop, as a fraction of the image's; or one of each crop, (count,).
        generator: source of randomness.

    Returns:
        (count, 2, 3) affine maps for :func:`sample`.
    """
    side = smallest + (1 - smallest) * torch.rand(count, generator=generator)
    centre = (torch.rand(count, 2, generator=generator) * 2 - 1) * (1 - side)[:, None]
    turn = torch.randint(4, (count,), generator=generator) * (torch.pi / 2)
    mirror = torch.randint(2, (count,), generator=generator) * 2.0 - 1
    cosine, sine = torch.cos(turn).round() * side, torch.sin(turn).round() * side
    rows = torch.stack([cosine * mirror, -sine, centre[:, 0], sine * mirror, cosine, centre[:, 1]], dim=1)
    return rows.view(count, 2, 3)


def sample(images: Tensor, crops: Tensor, size: int, mode: str = "bilinear") -> Tensor:
    """Cut crops (B, 2, 3) out of images (B, C, H, H): (B, C, size, size) float32."""
    grid = F.affine_grid(crops, [len(images), images.shape[1], size, size], align_corners=False)
    return F.grid_sample(images.float(), grid, mode=mode, padding_mode="reflection", align_corners=False)


def finish(views: Tensor, generator: torch.Generator) -> Tensor:
    """Jitter the colours of views (B, 3, H, W) in 0..255, normalise them, and make them channels-last."""
    return normalise(_jitter_colours(views, generator)).contiguous(memory_format=torch.channels_last)


def coarsen(views: Tensor, coarsest: float, generator: torch.Generator) -> Tensor:
    """Show half of the views as sensors of coarser ground sample distances would: shrink them and enlarge them again.

    Args:
        views: (B, C, H, W).
        coarsest: largest factor; 1 changes nothing.
        generator: source of randomness.
    """
    if coarsest <= 1:
        return views
    parts = views.chunk(8)
    factors = 1 + (coarsest - 1) * (torch.rand(len(parts), generator=generator) * 2 - 1).clamp(min=0)
    return torch.cat([_resample(part, factor) for part, factor in zip(parts, factors.tolist(), strict=True)])


def _resample(views: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return views
    size = [max(1, round(side / factor)) for side in views.shape[2:]]
    small = F.interpolate(views, size=size, mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(small, size=views.shape[2:], mode="bilinear", align_corners=False)


def mosaics(tiles: Tensor, side: int) -> Tensor:
    """Join tiles (B * side**2, C, h, w) into mosaics (B, C, side * h, side * w), row by row."""
    rows = tiles.unflatten(0, (-1, side, side)).permute(0, 3, 1, 4, 2, 5)
    return rows.flatten(4, 5).flatten(2, 3).contiguous(memory_format=torch.channels_last)


def split_mosaics(maps: Tensor, side: int) -> Tensor:
    """Split maps of mosaics (B, C, side * h, side * w) into those of their tiles (B * side**2, C, h, w)."""
    height, width = maps.shape[2] // side, maps.shape[3] // side
    return maps.unflatten(3, (side, width)).unflatten(2, (side, height)).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def _jitter_colours(images: Tensor, generator: torch.Generator) -> Tensor:
    """Vary saturation, contrast, brightness and white balance of each image; values in 0..255."""

    def factor(spread: float, channels: int = 1) -> Tensor:
        drawn = torch.rand(len(images), channels, 1, 1, generator=generator)
        return (1 + spread * (drawn * 2 - 1)).to(images.device)

    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * factor(0.3)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * factor(0.3)
    return (images * factor(0.25) * factor(0.05, 3)).clamp_(0, 255)
