"""Layout of greenhouses among fields and ponds."""

from __future__ import annotations

import numpy as np

from sgovss.synthetic.buildings import FREE_GROUND, add_building
from sgovss.synthetic.canvas import Canvas, rectangle, stripe, textured
from sgovss.synthetic.classes import Id
from sgovss.synthetic.clutter import strew
from sgovss.synthetic.leisure import add_trees, scatter
from sgovss.synthetic.roads import Path, Road, lay_roads
from sgovss.synthetic.styles import rgb
from sgovss.synthetic.surfaces import lay_crops, lay_grass, lay_soil, lay_water
from sgovss.synthetic.towns import steps, traffic

_GLASS = rgb("dfe8e6", "c6d4d2", "e8ece4", "b4c4c6", "d8dccc")
_FRAME, _PLANTS = rgb("f4f6f2", "5a7a48")


def greenhouses(canvas: Canvas) -> None:
    """Draw blocks of greenhouses in rows, with fields, a pond and farm tracks between them."""
    rng, reach = canvas.rng, canvas.reach
    everywhere = canvas.everywhere()
    (lay_soil if rng.random() < 0.6 else lay_grass)(canvas, everywhere, np.full_like(canvas.x, True, bool))
    depth, length, width = rng.uniform(28, 55), rng.uniform(30, 70), rng.uniform(3.5, 6)
    pitch_u, pitch_v = length + width + 3, depth + width + 2
    rows = steps(canvas, rng.uniform(-0.5, 0.5) * reach, pitch_v)
    columns = steps(canvas, rng.uniform(-0.5, 0.5) * reach, pitch_u)
    roads = [Road(Path(0, y), width, marked=False, pavement=0) for y in rows]
    roads += [Road(Path(x, 0, np.pi / 2), width, marked=False, pavement=0) for x in columns if rng.random() < 0.5]
    lay_roads(canvas, roads)
    for y in rows + pitch_v / 2:
        for x in columns + pitch_u / 2:
            central = abs(x) <= pitch_u / 2 and abs(y) <= pitch_v / 2
            _parcel(canvas, x, y, length, depth, 0.0 if central else rng.random())
    for road in roads:
        traffic(canvas, road, 1)
    add_trees(canvas, scatter(canvas, (reach / 12) ** 2))


def _parcel(canvas: Canvas, x: float, y: float, length: float, depth: float, draw: float) -> None:
    """Draw one parcel: greenhouses, a field, a pond or a yard, in the order of ``draw`` from 0 to 1."""
    rng = canvas.rng
    window = canvas.window(x, y, 0, length / 2, depth / 2)
    if window is None:
        return
    free = rectangle(window, length / 2 - 1, depth / 2 - 1) & (canvas.labels[window.index] != Id.ROAD)
    if draw < 0.6:
        bay = rng.uniform(4, 9)
        gap = rng.choice([0.0, 0.0, 1.5])
        for v in np.arange(-depth / 2 + bay / 2 + 1, depth / 2 - bay / 2, bay + gap):
            add_greenhouse(canvas, x, y + v, 0, length - rng.uniform(3, 6), bay)
    elif draw < 0.85:
        lay_crops(canvas, window, free)
    elif draw < 0.92:
        lay_water(canvas, window, free & rectangle(window, length / 4, depth / 4), 3)
    else:
        add_building(canvas, x, y, 0, 14, 9, 4, "gabled")
        strew(canvas, x + 12, y, 4, 4)


def add_greenhouse(canvas: Canvas, x: float, y: float, angle: float, length: float, width: float) -> bool:
    """Draw a greenhouse with a round or pitched roof of glass or foil. Returns False if there is no free ground."""
    rng, pixel = canvas.rng, canvas.pixel
    window = canvas.window(x, y, angle, length / 2, width / 2)
    if window is None:
        return False
    mask = rectangle(window, length / 2, width / 2)
    if not mask.any() or not canvas.is_free(window, mask, FREE_GROUND):
        return False
    t = np.clip(np.abs(window.v) / (width / 2), 0, 1)
    rise = 0.35 * width * (np.sqrt(1 - t**2) if rng.random() < 0.6 else 1 - t)
    stains = canvas.noise(6, 3)[window.index]
    albedo = textured(canvas.pick(_GLASS, 0.08), (0.05, stains), (0.03, canvas.noise(0.6, 2)[window.index]))
    beds = rng.uniform(0, 0.55) * (0.5 + 0.5 * np.sign(np.sin(window.v * np.float32(2 * np.pi / 1.6))))
    albedo = albedo + np.clip(beds + 0.1 * stains, 0, 0.8)[..., None] * (_PLANTS - albedo)
    frame = stripe(window.u % 3.0 - 1.5, 0.15, pixel)
    canvas.paint(
        window, mask, Id.GREENHOUSE, albedo + (0.6 * frame)[..., None] * (_FRAME - albedo), 2.2 + rise, 2.2, thing=True
    )
    return True
