"""Layout of open water with texture: swell, glitter, wind lanes, mud and algae."""

from __future__ import annotations

import numpy as np

from sgovss.synthetic.buildings import add_building
from sgovss.synthetic.canvas import Canvas
from sgovss.synthetic.classes import Id
from sgovss.synthetic.leisure import add_trees, scatter
from sgovss.synthetic.styles import rgb
from sgovss.synthetic.surfaces import lay_grass, lay_soil, lay_water
from sgovss.synthetic.vehicles import add_ship

_MUD, _ALGAE, _GLITTER, _DEEP = rgb("8a7a5a", "4f6a34", "f0f2f0", "16283a")


def lake(canvas: Canvas) -> None:
    """Draw a lake or a bay with an irregular shore, in some images with boats and huts."""
    rng, reach = canvas.rng, canvas.reach
    everywhere = canvas.everywhere()
    (lay_soil if rng.random() < canvas.dryness else lay_grass)(canvas, everywhere, np.full_like(canvas.x, True, bool))
    shape = canvas.noise(rng.uniform(60, 160), 5) + canvas.y / reach * rng.uniform(0, 2)
    shore = rng.uniform(-0.8, 0.5)
    lay_soil(canvas, everywhere, shape > shore - rng.uniform(0, 0.25), 0.6)
    lay_water(canvas, everywhere, shape > shore, rng.uniform(2, 25))
    _texture(canvas, np.clip((shape - shore) / 0.8, 0, 1))
    for _ in range(int(rng.integers(0, 6))):
        add_ship(canvas, *canvas.random_point(0.9), rng.uniform(0, 6.3), rng.uniform(5, 20), moving=rng.random() < 0.5)
    for _ in range(int(rng.integers(0, 4))):
        add_building(
            canvas, *canvas.random_point(0.9), rng.uniform(0, 3), rng.uniform(6, 14), rng.uniform(5, 8), 3, "gabled"
        )
    add_trees(canvas, scatter(canvas, (reach / 8) ** 2))


def _texture(canvas: Canvas, offshore: np.ndarray) -> None:
    """Tint the water; ``offshore`` is 0 at the shore and 1 far from it."""
    rng, window = canvas.rng, canvas.everywhere()
    water = (canvas.labels == Id.WATER).astype(np.float32)
    if rng.random() < 0.4:
        plume = np.clip(canvas.noise(45, 5) * 0.6 + 0.6 - offshore, 0, 0.8)
        canvas.tint(window, water * plume, _MUD if rng.random() < 0.6 else _ALGAE)
    wind = rng.uniform(0, np.pi)
    along = canvas.x * np.float32(np.cos(wind)) + canvas.y * np.float32(np.sin(wind))
    length = np.float32(max(rng.uniform(2.5, 14), 5 * canvas.pixel))
    swell = np.sin((along + 1.5 * canvas.noise(12, 3)) * (2 * np.pi / length)) * (0.6 + 0.4 * canvas.noise(30, 3))
    canvas.tint(window, water * np.clip(rng.uniform(0.05, 0.3) * swell, 0, 0.4), _DEEP)
    lanes = np.clip(canvas.noise(25, 2) - 0.8, 0, 1) * rng.uniform(0, 0.25)
    canvas.tint(window, water * lanes, canvas.pick(canvas.style.shallow))
    if rng.random() < 0.35:
        patch = np.clip(canvas.noise(50, 2) + 0.3, 0, 1)
        sparks = np.clip(canvas.noise(1.0, 2) + 0.5 * swell - rng.uniform(0.9, 1.6), 0, 1)
        canvas.tint(window, water * patch * sparks, _GLITTER)
