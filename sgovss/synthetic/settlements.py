"""Layouts of dense towns: courtyards in the desert, and settlements with roofs of many materials."""

from __future__ import annotations

import numpy as np

from sgovss.synthetic.buildings import add_building
from sgovss.synthetic.canvas import Canvas, rectangle
from sgovss.synthetic.classes import Id
from sgovss.synthetic.clutter import strew
from sgovss.synthetic.leisure import add_pool, add_trees, scatter
from sgovss.synthetic.roads import Path, Road, lay_roads
from sgovss.synthetic.surfaces import lay_concrete, lay_grass, lay_soil
from sgovss.synthetic.towns import kerbside, steps, traffic
from sgovss.synthetic.vehicles import add_car

_QUARTER = np.pi / 2


def desert_town(canvas: Canvas) -> None:
    """Draw walled plots on sand: villas, green gardens, palms along the streets, and empty plots with rubble."""
    rng = canvas.rng
    everywhere = canvas.everywhere()
    lay_soil(canvas, everywhere, np.full_like(canvas.x, True, bool), rng.uniform(0.2, 0.8))
    depth, lot, width = rng.uniform(22, 32), rng.uniform(18, 28), rng.uniform(6, 9)
    rows = steps(canvas, rng.uniform(-0.5, 0.5) * canvas.reach, 2 * depth + width + 4)
    crossings = steps(canvas, rng.uniform(0, 150), rng.uniform(90, 160))
    lots = [(x, row, side) for row in rows for side in (-1, 1) for x in steps(canvas, rng.uniform(0, lot), lot)]
    lots = [place for place in lots if np.abs(crossings - place[0]).min() > (lot + width) / 2 + 2]
    roads = [Road(Path(0, row), width, marked=rng.random() < 0.4) for row in rows]
    roads += [Road(Path(x, 0, _QUARTER), width) for x in crossings]
    lay_roads(canvas, roads)
    for x, row, side in lots:
        _plot(canvas, x, row + side * (width / 2 + 2 + depth / 2), lot, depth)
    for road in roads:
        kerbside(canvas, road, rng.uniform(0.1, 0.5))
        traffic(canvas, road, 2)
        if rng.random() < 0.6:
            _avenue(canvas, road)


def _plot(canvas: Canvas, x: float, y: float, lot: float, depth: float) -> None:
    """Draw one plot: built on, or a garden, or empty."""
    rng = canvas.rng
    window = canvas.window(x, y, 0, lot / 2, depth / 2)
    if window is None:
        return
    inside = rectangle(window, lot / 2 - 0.4, depth / 2 - 0.4)
    draw = rng.random()
    if draw < 0.15:
        strew(canvas, x, y, lot / 4, 6)
        return
    if draw < 0.3:
        lay_grass(canvas, window, inside, rng.uniform(0.4, 1))
        add_trees(canvas, scatter(canvas, 14, lot / 4, x, y))
        return
    if rng.random() < 0.6:
        lay_concrete(canvas, window, inside, 1.5)
    lay_grass(canvas, window, inside & (window.v > rng.uniform(0.1, 0.4) * depth), rng.uniform(0.3, 1))
    add_building(
        canvas, x, y - 0.08 * depth, 0, lot * rng.uniform(0.5, 0.75), depth * rng.uniform(0.35, 0.55),
        rng.uniform(4, 9), rng.choice(["flat", "flat", "hipped"]), rng.random() < 0.4,
    )  # fmt: skip
    if rng.random() < 0.3:
        add_pool(canvas, x, y + 0.32 * depth, 0, rng.uniform(6, 9), "rectangle")
    add_trees(canvas, scatter(canvas, 4, lot / 3, x, y + 0.3 * depth), (Id.GRASS, Id.SOIL, Id.PAVEMENT), 0.9)
    add_car(canvas, x - 0.38 * lot, y + rng.uniform(-0.3, 0.1) * depth, _QUARTER, (Id.SOIL, Id.PAVEMENT, Id.GRASS))


def _avenue(canvas: Canvas, road: Road) -> None:
    """Plant trees on both sides of a road."""
    rng = canvas.rng
    for s in np.arange(-1.2 * canvas.reach, 1.2 * canvas.reach, rng.uniform(6, 12)):
        points = [road.path.point(s, side * (road.width / 2 + 1.2))[:2] for side in (-1, 1)]
        add_trees(canvas, np.array(points), (Id.PAVEMENT, Id.SOIL), 0.8)


def settlement(canvas: Canvas) -> None:
    """Draw a grown town: small houses wall to wall with roofs of many materials, lanes, trees and clutter."""
    rng, reach = canvas.rng, canvas.reach
    everywhere = canvas.everywhere()
    ground = lay_soil if rng.random() < 0.6 else lay_concrete
    ground(canvas, everywhere, np.full_like(canvas.x, True, bool))
    lay_grass(canvas, everywhere, canvas.noise(35, 3) > rng.uniform(0.5, 1.5))
    roads = [
        Road(Path(*canvas.random_point(0.7), turn + rng.normal(0, 0.2), rng.uniform(0, 6), 150), rng.uniform(3.5, 7),
             pavement=rng.choice([0.0, 1.2]), marked=False)
        for turn in (0, _QUARTER)
    ]  # fmt: skip
    lay_roads(canvas, roads)
    pitch = rng.uniform(9, 15)
    lean = rng.uniform(-0.25, 0.25)
    for x in steps(canvas, rng.uniform(0, pitch), pitch):
        for y in steps(canvas, rng.uniform(0, pitch), pitch * rng.uniform(0.9, 1.1)):
            if rng.random() < 0.85:
                _house(canvas, x + rng.normal(0, 1), y + rng.normal(0, 1), lean + rng.normal(0, 0.06), pitch)
    for road in roads:
        kerbside(canvas, road, rng.uniform(0.05, 0.4))
        traffic(canvas, road, 3)
    for _ in range(int(rng.integers(2, 9))):
        strew(canvas, *canvas.random_point(0.9), rng.uniform(1, 5), 5)
    add_trees(canvas, scatter(canvas, (reach / 7) ** 2), (Id.GRASS, Id.SOIL, Id.PAVEMENT), 0.9)


def _house(canvas: Canvas, x: float, y: float, angle: float, pitch: float) -> None:
    """Draw a house of one to five floors; if there is no room, a smaller one."""
    rng = canvas.rng
    for scale in (1.0, 0.7, 0.45):
        length, width = pitch * rng.uniform(0.75, 1.0, 2) * scale
        walls = 3 * rng.choice([1, 1, 2, 3, 5])
        if add_building(
            canvas, x, y, angle, length, width, walls, rng.choice(["flat", "flat", "gabled", "hipped", "shed"])
        ):
            return
