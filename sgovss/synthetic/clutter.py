"""Small things that real towns are full of: heaps of rubble, stacks, tarpaulins and bins."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from sgovss.synthetic.buildings import FREE_GROUND
from sgovss.synthetic.canvas import Canvas, rectangle, textured
from sgovss.synthetic.classes import Id
from sgovss.synthetic.styles import rgb

_RUBBLE = rgb("8f867a", "a79c8c", "6f6a64", "b5aa9a")
_GOODS = rgb("3a6ab0", "b8b4aa", "a8542c", "d8c8a0", "4f5a52", "c83c34", "e6e2d8", "6a4a34")


def add_heap(canvas: Canvas, x: float, y: float, radius: float, allowed: Collection[int] = FREE_GROUND) -> bool:
    """Draw a heap of rubble with a ragged edge. Returns False if there is no free ground."""
    window = canvas.window(x, y, 0, 1.5 * radius, 1.5 * radius)
    if window is None:
        return False
    lumps = canvas.noise(1.2, 3)[window.index]
    t = np.hypot(window.u, window.v) / radius + 0.22 * canvas.noise(3, 3)[window.index]
    mask = t < 1
    if not mask.any() or not canvas.is_free(window, mask, allowed):
        return False
    height = np.maximum((1 - t) * radius * 0.5 + 0.12 * lumps, 0.05)
    albedo = textured(canvas.pick(_RUBBLE, 0.1), (0.2, lumps), (0.12, canvas.noise(0.5, 2)[window.index]))
    canvas.paint(window, mask, Id.CLUTTER, albedo, height, thing=True)
    return True


def add_stack(canvas: Canvas, x: float, y: float, angle: float, allowed: Collection[int] = FREE_GROUND) -> bool:
    """Draw goods: a box, a stack of planks or a tarpaulin of 0.8 to 4 m. Returns False if there is no free ground."""
    rng = canvas.rng
    half_u, half_v = rng.uniform(0.6, 2.0), rng.uniform(0.4, 1.2)
    window = canvas.window(x, y, angle, half_u + 0.3, half_v + 0.3)
    if window is None:
        return False
    mask = rectangle(window, half_u, half_v)
    if not mask.any() or not canvas.is_free(window, mask, allowed):
        return False
    boards = 0.12 * np.sign(np.sin(window.v * np.float32(2 * np.pi / rng.uniform(0.3, 0.9))))
    albedo = textured(
        canvas.pick(_GOODS, 0.12), (rng.choice([0.0, 1.0]), boards), (0.06, canvas.noise(0.5, 2)[window.index])
    )
    canvas.paint(window, mask, Id.CLUTTER, albedo, rng.uniform(0.4, 1.8), thing=True)
    return True


def strew(canvas: Canvas, x: float, y: float, spread: float, count: float) -> None:
    """Draw about ``count`` heaps and stacks within about ``spread`` metres of (x, y)."""
    rng = canvas.rng
    for u, v in rng.normal(0, spread, (int(rng.poisson(count)), 2)):
        if rng.random() < 0.3:
            add_heap(canvas, x + u, y + v, rng.uniform(0.8, 3))
        else:
            add_stack(canvas, x + u, y + v, rng.uniform(0, np.pi))
