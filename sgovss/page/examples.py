"""Example pictures, drawn when they are asked for."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sgovss.synthetic import generate_image

_SEEDS = (48, 22, 2, 20)  # of style "a": a river, houses, a park, an airport
EXAMPLES = len(_SEEDS)
"""Number of examples."""


@lru_cache(maxsize=EXAMPLES)
def draw_example(number: int, size: int = 640) -> tuple[np.ndarray, str]:
    """Draw an example.

    Args:
        number: 0 to :data:`EXAMPLES` - 1.
        size: side in pixels.

    Returns:
        (size, size, 3) uint8 RGB; what it shows.
    """
    drawn = generate_image(_SEEDS[number], size, "a")
    return drawn.image, f"example: {drawn.kind}"
