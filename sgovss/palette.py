"""Colours that are easy to tell apart, for classes without a colour of their own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

Color = tuple[int, int, int]

LEAST_DIFFERENCE = 10.0  # CIEDE2000

# Candidates: a grid over sRGB without colours that are nearly black, nearly white or grey. Greys are left to roads and
# to pixels without a class.
_LEVELS = 10
_LIGHTNESS = (28.0, 93.0)
_LEAST_CHROMA = 18.0

_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])  # D65


def distinct_colors(count: int, taken: Sequence[Color] = ()) -> list[Color]:
    """Colours that differ as much as possible from each other and from those already taken.

    Each colour is the candidate that is farthest, by CIEDE2000, from all taken and all previous colours. So a longer
    list begins with the shorter one. There are about 840 candidates; a longer list repeats them from the start.

    With the familiar colours of :mod:`sgovss.vocabulary` taken, any two of these and of the first 64 chosen colours
    differ by at least :data:`LEAST_DIFFERENCE`.

    Args:
        count: number of colours.
        taken: RGB colours in 0..255 that the new colours must differ from.

    Returns:
        ``count`` RGB colours in 0..255.
    """
    # Computed for a multiple of 32, so that vocabularies of similar size share the result.
    return list(_distinct_colors(-(-count // 32) * 32, tuple(taken))[:count])


@lru_cache(maxsize=64)
def _distinct_colors(count: int, taken: tuple[Color, ...]) -> tuple[Color, ...]:
    if count == 0:
        return ()
    rgb, lab = _candidates()
    # The distance of each candidate to the nearest colour so far.
    nearest = np.full(len(rgb), np.inf)
    for color in lab_from_rgb(np.array(taken).reshape(-1, 3)):
        nearest = np.minimum(nearest, color_difference(lab, color))
    chosen: list[Color] = []
    for _ in range(min(count, len(rgb))):
        best = int(nearest.argmax())
        red, green, blue = rgb[best].tolist()
        chosen.append((red, green, blue))
        nearest = np.minimum(nearest, color_difference(lab, lab[best]))
    return tuple(chosen[i % len(chosen)] for i in range(count))


@lru_cache(maxsize=1)
def _candidates() -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) RGB and (N, 3) CIELAB of the colours to choose from."""
    levels = np.linspace(0, 255, _LEVELS).round().astype(int)
    rgb = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = lab_from_rgb(rgb)
    low, high = _LIGHTNESS
    kept = (lab[:, 0] >= low) & (lab[:, 0] <= high) & (np.hypot(lab[:, 1], lab[:, 2]) >= _LEAST_CHROMA)
    return rgb[kept], lab[kept]


def lab_from_rgb(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) sRGB in 0..255 to (..., 3) CIELAB for white point D65."""
    scaled = np.asarray(rgb, float) / 255
    linear = np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)
    relative = linear @ _TO_XYZ.T / _WHITE
    root = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def color_difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """CIEDE2000 difference between two arrays of CIELAB colours, (..., 3) each, which broadcast.

    A difference of 1 can just be seen by comparing two large fields side by side.
    """
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(first, -1, 0), np.moveaxis(second, -1, 0)
    mean_chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    grey = c1 * c2 == 0
    turn = (h2 - h1 + 180) % 360 - 180
    turn = np.where(grey, 0.0, np.where((turn == -180) & (h2 > h1), 180.0, turn))
    hue = np.where(grey, h1 + h2, (h1 + turn / 2) % 360)
    dl, dc = l2 - l1, c2 - c1
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2)
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    weight = (
        1
        - 0.17 * np.cos(np.radians(hue - 30))
        + 0.24 * np.cos(np.radians(2 * hue))
        + 0.32 * np.cos(np.radians(3 * hue + 6))
        - 0.20 * np.cos(np.radians(4 * hue - 63))
    )
    dl = dl / (1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2))
    dc = dc / (1 + 0.045 * chroma)
    dh = dh / (1 + 0.015 * chroma * weight)
    rotation = -np.sin(2 * np.radians(30 * np.exp(-(((hue - 275) / 25) ** 2))))
    rotation = rotation * 2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    return np.sqrt(np.maximum(dl**2 + dc**2 + dh**2 + rotation * dc * dh, 0))
