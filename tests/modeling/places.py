"""Maps with places: random ones, enlarged ones, turned ones, and where they are not 0."""

from __future__ import annotations

import torch


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def enlargement(count: int, factor: int) -> torch.Tensor:
    """Linear interpolation of ``count`` samples, each in the middle of its cell: (count * factor, count)."""
    matrix = torch.zeros(count * factor, count)
    for row in range(count * factor):
        place = min(max((row + 0.5) / factor - 0.5, 0.0), count - 1.0)
        left = int(place)
        matrix[row, left] += 1 - (place - left)
        matrix[row, min(left + 1, count - 1)] += place - left
    return matrix


def enlarged(maps: torch.Tensor, factor: int) -> torch.Tensor:
    """Bilinear enlargement of (..., h, w), written out."""
    return enlargement(maps.shape[-2], factor) @ maps @ enlargement(maps.shape[-1], factor).T


def turned(maps: torch.Tensor, turns: int) -> torch.Tensor:
    return torch.rot90(maps, turns, dims=(-2, -1))


def support(change: torch.Tensor) -> tuple[float, float, int, int]:
    """Middle (y, x), in pixels from the upper left corner, and height and width of what is not 0 in (..., H, W).

    Each pixel at the edge whose change is lost to rounding moves the middle by a half.
    """
    rows, columns = (change.abs().flatten(0, -3).amax(dim=0).amax(dim=axis).nonzero() for axis in (1, 0))
    (top, bottom), (left, right) = ((int(each[0]), int(each[-1]) + 1) for each in (rows, columns))
    return (top + bottom) / 2, (left + right) / 2, bottom - top, right - left
