"""Smoothing of score maps along the edges of the image: the guided filter of He, Sun and Tang with a colour guide."""

from __future__ import annotations

import torch
import torch.nn.functional as F

RADIUS = 16
"""Cells from the middle of a neighbourhood to its border; a cell is usually 4 pixels wide."""

_SMOOTHING = 1e-3  # variance of colours in 0..1 below which a neighbourhood counts as even
_CLASSES = 64  # smoothed at once


@torch.no_grad()
def smooth_along_edges(maps: torch.Tensor, images: torch.Tensor, radius: int = RADIUS) -> torch.Tensor:
    """Smooth score maps where the image is even, and keep their steps where it has edges.

    In each neighbourhood, the scores of a class are fitted by a linear function of the colour. Each cell gets the mean
    of the functions of all neighbourhoods that contain it. This is done on the grid of the maps, to which the image is
    shrunk. Memory grows with the maps of 64 classes at most.

    Args:
        maps: (B, T, h, w) float32 scores in 0..1.
        images: (B, 3, H, W) in 0..255, the images that the maps cover.
        radius: of the neighbourhoods, in cells; they are smaller at the borders.

    Returns:
        (B, T, h, w) float32 in 0..1, on the device of the maps.
    """
    colors = F.interpolate(images.to(maps.device).float() / 255, size=maps.shape[-2:], mode="area")
    mean = _mean(colors, radius)
    products = _mean(_products(colors, colors), radius) - _products(mean, mean)
    ridge = _SMOOTHING * torch.eye(3, device=maps.device)
    inverse = torch.linalg.inv(_as_matrices(products) + ridge)  # (B, h, w, 3, 3)
    return torch.cat([_smoothed(part, colors, mean, inverse, radius) for part in maps.split(_CLASSES, dim=1)], dim=1)


def _smoothed(
    maps: torch.Tensor, colors: torch.Tensor, mean: torch.Tensor, inverse: torch.Tensor, radius: int
) -> torch.Tensor:
    level = _mean(maps, radius)
    related = _mean(_products(maps, colors), radius) - _products(level, mean)
    slopes = torch.einsum("btihw,bhwij->btjhw", related.unflatten(1, (-1, 3)), inverse)
    offsets = level - (slopes * mean[:, None]).sum(dim=2)
    slopes = _mean(slopes.flatten(1, 2), radius).unflatten(1, (-1, 3))
    return ((slopes * colors[:, None]).sum(dim=2) + _mean(offsets, radius)).clamp(0, 1)


def _products(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The products of each channel of x with each of y: (B, X, h, w), (B, Y, h, w) -> (B, X * Y, h, w)."""
    return (x[:, :, None] * y[:, None]).flatten(1, 2)


def _as_matrices(x: torch.Tensor) -> torch.Tensor:
    """(B, 9, h, w) -> (B, h, w, 3, 3)."""
    return x.permute(0, 2, 3, 1).unflatten(-1, (3, 3))


def _mean(x: torch.Tensor, radius: int) -> torch.Tensor:
    """The mean over the part of a square of 2 * radius + 1 cells that is inside the map."""
    down, across = (_means_of_a_line(side, radius, x.device) for side in x.shape[-2:])
    return down @ x @ across.T  # on the maps' small grids ten times as fast as avg_pool2d


def _means_of_a_line(cells: int, radius: int, device: torch.device) -> torch.Tensor:
    """(cells, cells) float32: row i holds the weights of the cells at most ``radius`` from cell i."""
    places = torch.arange(cells, device=device)
    near = ((places[:, None] - places).abs() <= radius).float()
    return near / near.sum(dim=1, keepdim=True)
