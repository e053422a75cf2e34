"""Layout of the open country: fields with farms."""

from __future__ import annotations

import numpy as np

from sgovss.synthetic.buildings import add_building, add_tank
from sgovss.synthetic.canvas import Canvas, rectangle
from sgovss.synthetic.classes import Id
from sgovss.synthetic.leisure import add_pool, add_trees, scatter
from sgovss.synthetic.roads import Path, Road, lay_roads
from sgovss.synthetic.surfaces import lay_crops, lay_grass, lay_soil, lay_water
from sgovss.synthetic.towns import traffic
from sgovss.synthetic.vehicles import add_car

_QUARTER = np.pi / 2
_Box = tuple[float, float, float, float]


def farmland(canvas: Canvas) -> None:
    """Draw fields of different crops, farm tracks, hedges and a farmstead with silos."""
    rng, reach = canvas.rng, canvas.reach
    everywhere = canvas.everywhere()
    (lay_soil if rng.random() < 0.4 else lay_grass)(canvas, everywhere, np.full_like(canvas.x, True, bool))
    size = max(25.0, canvas.span * rng.uniform(0.22, 0.6))
    fields = _split(rng, (-reach * 1.1, -reach * 1.1, reach * 1.1, reach * 1.1), size)
    for box in fields:
        _field(canvas, box)
    if rng.random() < 0.75:
        path = Path(
            *canvas.random_point(0.7),
            rng.choice([0, _QUARTER]) + rng.normal(0, 0.03),
            rng.uniform(0, 8),
            rng.uniform(150, 300),
        )
        road = Road(path, rng.uniform(4.5, 8), pavement=0, marked=rng.random() < 0.6)
        lay_roads(canvas, [road])
        traffic(canvas, road, 2)
    if rng.random() < 0.55:
        _farmstead(canvas, *canvas.random_point(0.6))
    if rng.random() < 0.2:
        x, y = canvas.random_point(0.8)
        r = np.hypot(canvas.x - x, canvas.y - y) * (1 + 0.15 * canvas.noise(20, 4))
        open_land = np.isin(canvas.labels, (Id.GRASS, Id.SOIL, Id.FARMLAND))
        lay_water(canvas, everywhere, (r < rng.uniform(8, 20)) & open_land, 4)
    for left, bottom, right, top in fields:
        if rng.random() < 0.4:
            v = np.arange(bottom, top, rng.uniform(4, 9))
            add_trees(
                canvas,
                np.stack([np.full_like(v, rng.choice([left, right])), v], 1) + rng.normal(0, 0.8, (len(v), 2)),
                (Id.GRASS, Id.SOIL, Id.FARMLAND),
            )
    add_trees(canvas, scatter(canvas, (reach / 40) ** 2), (Id.GRASS, Id.SOIL, Id.FARMLAND), 1.2)


def _split(rng: np.random.Generator, box: _Box, size: float) -> list[_Box]:
    """Cut a box in two repeatedly until its parts have sides of about ``size`` metres."""
    left, bottom, right, top = box
    width, height = right - left, top - bottom
    if max(width, height) < 1.6 * size or (max(width, height) < 2.4 * size and rng.random() < 0.3):
        return [box]
    ratio = rng.uniform(0.35, 0.65)
    if width > height:
        middle = left + ratio * width
        return _split(rng, (left, bottom, middle, top), size) + _split(rng, (middle, bottom, right, top), size)
    middle = bottom + ratio * height
    return _split(rng, (left, bottom, right, middle), size) + _split(rng, (left, middle, right, top), size)


def _field(canvas: Canvas, box: _Box) -> None:
    rng = canvas.rng
    left, bottom, right, top = box
    turned = rng.random() < 0.5
    half_u, half_v = (right - left) / 2, (top - bottom) / 2
    if turned:
        half_u, half_v = half_v, half_u
    window = canvas.window((left + right) / 2, (bottom + top) / 2, _QUARTER * turned, half_u, half_v)
    if window is None:
        return
    margin = rng.uniform(0.4, 2.2)
    mask = rectangle(window, half_u - margin, half_v - margin)
    draw = rng.random()
    if draw < 0.82:
        lay_crops(canvas, window, mask)
    elif draw < 0.92:
        lay_grass(canvas, window, mask, rng.uniform(0, 0.5))
    else:
        lay_soil(canvas, window, mask)


def _farmstead(canvas: Canvas, x: float, y: float) -> None:
    """Draw a yard with house, barns, silos and vehicles."""
    rng = canvas.rng
    size = rng.uniform(18, 28)
    window = canvas.window(x, y, 0, size, size * 0.8)
    if window is None:
        return
    yard = rectangle(window, size, size * 0.8) & (canvas.labels[window.index] != Id.ROAD)
    (lay_soil if rng.random() < 0.6 else lay_grass)(canvas, window, yard)
    add_building(
        canvas,
        x - size * 0.5,
        y + size * 0.4,
        0,
        rng.uniform(12, 16),
        rng.uniform(8, 10),
        5,
        "hipped",
        rng.random() < 0.5,
    )
    add_building(
        canvas, x + size * 0.45, y + size * 0.3, _QUARTER, rng.uniform(16, 24), rng.uniform(9, 13), 6, "gabled"
    )
    add_building(
        canvas,
        x - size * 0.4,
        y - size * 0.45,
        0,
        rng.uniform(14, 22),
        rng.uniform(8, 11),
        5,
        rng.choice(["gabled", "shed"]),
    )
    if rng.random() < 0.6:
        radius = rng.uniform(2.5, 5)
        for index in range(int(rng.integers(1, 4))):
            add_tank(canvas, x + size * 0.2 + index * (2 * radius + 1.5), y - size * 0.5, radius, rng.uniform(8, 14))
    if rng.random() < 0.3:
        add_pool(canvas, x - size * 0.75, y + size * 0.1, _QUARTER, rng.uniform(8, 11), "rectangle")
    for _ in range(int(rng.integers(1, 5))):
        place = x + rng.uniform(-0.3, 0.3) * size, y + rng.uniform(-0.3, 0.3) * size
        add_car(canvas, *place, rng.uniform(0, 6.3), (Id.SOIL, Id.GRASS), truck=rng.random() < 0.4)
    add_trees(canvas, scatter(canvas, 16, size, x, y), scale=1.2)
