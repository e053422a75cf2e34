"""Example pictures, drawn when they are asked for."""

from __future__ import annotations

import numpy as np

from sgovss.synthetic import generate_image

SIZE = 640
_SEEDS = (48, 22, 2, 20)  # of style "a": a river, houses, a park, an airport


def draw_example(number: int) -> tuple[np.ndarray, str]:
    """Draw an example.

    Args:
        number: 0 or more; the examples are repeated after the last.

    Returns:
        (640, 640, 3) uint8 RGB; what it shows.
    """
    drawn = generate_image(_SEEDS[number % len(_SEEDS)], SIZE, "a")
    return drawn.image, f"example: {drawn.kind}"
