"""Layout of the desert: sand, villages and coast."""

from __future__ import annotations

import numpy as np

from sgovss.synthetic.buildings import add_building
from sgovss.synthetic.canvas import Canvas
from sgovss.synthetic.classes import Id
from sgovss.synthetic.leisure import add_trees, scatter
from sgovss.synthetic.roads import Path, Road, lay_roads
from sgovss.synthetic.surfaces import lay_soil, lay_water
from sgovss.synthetic.towns import steps, traffic

_QUARTER = np.pi / 2


def desert(canvas: Canvas) -> None:
    """Draw sand, and in some images a lagoon, a road, a village and scrub."""
    rng, reach = canvas.rng, canvas.reach
    everywhere = canvas.everywhere()
    lay_soil(canvas, everywhere, np.full_like(canvas.x, True, bool), rng.uniform(0.1, 1.2))
    drifts = canvas.noise(60, 3) > rng.uniform(0, 1.2)
    lay_soil(canvas, everywhere, drifts, rng.uniform(0.1, 0.8))
    if rng.random() < 0.35:
        _lagoon(canvas)
    if rng.random() < 0.6:
        angle = rng.choice([0, _QUARTER]) + rng.normal(0, 0.2)
        path = Path(*canvas.random_point(0.5), angle, rng.uniform(0, 10), rng.uniform(150, 300))
        road = Road(path, rng.uniform(5, 14), pavement=0, marked=rng.random() < 0.7)
        lay_roads(canvas, [road])
        traffic(canvas, road, 1.5)
    if rng.random() < 0.55:
        _village(canvas)
    add_trees(canvas, scatter(canvas, rng.uniform(0, 1) * (reach / 12) ** 2), (Id.SOIL,), rng.uniform(0.4, 1))


def _lagoon(canvas: Canvas) -> None:
    """Draw the sea on one side, or a pond, with a steep or a shallow shore."""
    rng, reach = canvas.rng, canvas.reach
    if rng.random() < 0.7:
        angle = rng.uniform(0, 2 * np.pi)
        shore = canvas.x * np.cos(angle) + canvas.y * np.sin(angle) - rng.uniform(-0.5, 0.6) * reach
    else:
        x, y = canvas.random_point(0.6)
        shore = rng.uniform(0.2, 0.5) * reach - np.hypot(canvas.x - x, canvas.y - y)
    shore = shore + rng.uniform(0.02, 0.1) * reach * canvas.noise(0.5 * reach, 4)
    lay_water(canvas, canvas.everywhere(), shore > 0, rng.uniform(2, 30))


def _village(canvas: Canvas) -> None:
    """Draw flat-roofed houses in loose rows on the sand."""
    rng, reach = canvas.rng, canvas.reach
    pitch, filled = rng.uniform(16, 34), rng.uniform(0.2, 0.9)
    left, right = np.sort(rng.uniform(-1, 1, 2)) * reach
    for v in steps(canvas, rng.uniform(0, pitch), pitch):
        for u in np.arange(left, right, pitch):
            if rng.random() > filled:
                continue
            x, y = rng.normal((u, v), 0.05 * pitch)
            length, width = rng.uniform(0.4, 0.8, 2) * pitch
            angle, form = rng.normal(0, 0.03), "flat" if rng.random() < canvas.style.flat_fraction else "hipped"
            add_building(canvas, x, y, angle, length, width, rng.uniform(3, 8), form, rng.random() < 0.3)
