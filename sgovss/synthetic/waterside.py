"""Layouts of harbours and rivers."""

from __future__ import annotations

import numpy as np

from sgovss.synthetic.buildings import add_building, add_tank
from sgovss.synthetic.canvas import Canvas, rectangle
from sgovss.synthetic.classes import Id
from sgovss.synthetic.leisure import add_trees, scatter
from sgovss.synthetic.roads import Path, Road, lay_roads
from sgovss.synthetic.surfaces import lay_concrete, lay_grass, lay_soil, lay_water
from sgovss.synthetic.towns import steps, traffic
from sgovss.synthetic.vehicles import add_car, add_ship, fill_car_park

_QUARTER = np.pi / 2


def harbour(canvas: Canvas) -> None:
    """Draw a shore with a quay, and a marina with boats or berths with cargo ships."""
    rng, reach = canvas.rng, canvas.reach
    everywhere = canvas.everywhere()
    quay = rng.uniform(-0.45, 0.3) * reach
    shore = canvas.y - quay
    (lay_soil if rng.random() < canvas.dryness else lay_grass)(canvas, everywhere, shore < 0)
    lay_concrete(canvas, everywhere, shore > -rng.uniform(16, 50), 6, dark=rng.random() < 0.3)
    natural = rng.random() < 0.3
    if natural:
        shore = shore + 5 * canvas.noise(40, 4)
        lay_soil(canvas, everywhere, shore < 12, 0.6)
    lay_water(canvas, everywhere, shore > 0, 14 if natural else 2.5)
    road = Road(Path(0, quay - rng.uniform(24, 40)), 7.5)
    lay_roads(canvas, [road])
    if canvas.span < 100 or rng.random() < 0.5:
        _marina(canvas, quay, natural)
    else:
        _berths(canvas, quay)
    traffic(canvas, road, 3)
    back = road.path.y - 22
    for u in steps(canvas, rng.uniform(0, 60), rng.uniform(30, 55)):
        if rng.random() < 0.25:
            for du in (0, 18):
                add_tank(canvas, u + du, back, rng.uniform(6, 8.5), 9)
        elif rng.random() < 0.3:
            fill_car_park(canvas, u, back, 0, 40, 24, rng.uniform(0.3, 0.8))
        else:
            add_building(
                canvas,
                u,
                back,
                0,
                rng.uniform(20, 42),
                rng.uniform(12, 24),
                rng.uniform(5, 12),
                rng.choice(["flat", "shed", "gabled", "hipped"]),
            )
    add_trees(canvas, scatter(canvas, (reach / 15) ** 2), (Id.GRASS, Id.SOIL, Id.PAVEMENT), 0.9)


def _marina(canvas: Canvas, quay: float, natural: bool) -> None:
    """Draw piers with boats on both sides, and a moving boat."""
    rng = canvas.rng
    length = rng.uniform(7, 14)
    extent = rng.uniform(0.6, 1.4) * canvas.reach
    turn = 0 if rng.random() < 0.6 else rng.uniform(-0.3, 0.3)
    for u in steps(canvas, rng.uniform(-10, 10), 2 * length + rng.uniform(9, 16)):
        angle = _QUARTER + turn
        start = quay - (8 if natural else 1)
        x, y = u + np.cos(angle) * extent / 2, start + np.sin(angle) * extent / 2
        window = canvas.window(x, y, angle, extent / 2, 1.2)
        if window is not None:
            lay_concrete(canvas, window, rectangle(window, extent / 2, 1.1), 2.0)
        for side in (-1, 1):
            for s in np.arange(12 if natural else 4, extent, length * rng.uniform(0.38, 0.5)):
                if rng.random() < 0.8:
                    size = length * rng.uniform(0.6, 1.05)
                    d = side * (1.5 + size / 2)
                    heading = angle + side * _QUARTER + (np.pi if rng.random() < 0.3 else 0)
                    add_ship(
                        canvas,
                        u + np.cos(angle) * s - np.sin(angle) * d,
                        start + np.sin(angle) * s + np.cos(angle) * d,
                        heading + rng.normal(0, 0.03),
                        size,
                    )
    add_ship(canvas, *canvas.random_point(0.8), rng.uniform(0, 2 * np.pi), length, moving=True)


def _berths(canvas: Canvas, quay: float) -> None:
    """Draw cargo ships along the quay, and others at anchor or moving."""
    rng = canvas.rng
    u = -canvas.reach + rng.uniform(-40, 10)
    while u < canvas.reach:
        length = rng.uniform(45, 115)
        add_ship(canvas, u + length / 2, quay + 0.1 * length + 2, rng.choice([0, np.pi]), length)
        u += length + rng.uniform(8, 50)
    for _ in range(int(rng.integers(2, 6))):
        y = rng.uniform(quay + 35, max(quay + 40, canvas.reach))
        add_ship(
            canvas,
            rng.uniform(-1, 1) * canvas.reach,
            y,
            rng.uniform(0, 2 * np.pi),
            rng.uniform(8, 60),
            moving=rng.random() < 0.6,
        )
    for x in rng.uniform(-1, 1, 12) * canvas.reach:
        add_car(
            canvas, x, quay - rng.uniform(6, 16), rng.choice([0, _QUARTER]), (Id.PAVEMENT,), truck=rng.random() < 0.6
        )


def river(canvas: Canvas) -> None:
    """Draw a river with sand banks through woods and meadows, in some images crossed by a road."""
    rng, reach = canvas.rng, canvas.reach
    everywhere = canvas.everywhere()
    lay_grass(canvas, everywhere, np.full_like(canvas.x, True, bool))
    lay_soil(canvas, everywhere, canvas.noise(50, 4) > rng.uniform(0.6, 1.4))
    course = Path(
        0,
        rng.uniform(-0.4, 0.4) * reach,
        0,
        rng.uniform(0.05, 0.25) * reach,
        rng.uniform(1.2, 3) * reach,
        rng.uniform(0, 6),
    )
    _, d = course.coordinates(everywhere)
    half = rng.uniform(0.14, 0.34) * reach
    d = np.abs(d) + 1.6 * canvas.noise(18, 4)
    lay_soil(canvas, everywhere, d < half + rng.uniform(2, 9))
    lay_water(canvas, everywhere, d < half, rng.uniform(3, 10))
    for _ in range(int(rng.integers(1, 5))):
        s = rng.uniform(-0.8, 0.8) * reach
        x, y, heading = course.point(s, rng.uniform(-0.5, 0.5) * half)
        add_ship(
            canvas, x, y, heading + rng.choice([0, np.pi]), min(rng.uniform(7, 40), half), moving=rng.random() < 0.6
        )
    if rng.random() < 0.6:
        lanes = int(rng.choice([2, 2, 4]))
        road = Road(Path(rng.uniform(-0.6, 0.6) * reach, 0, _QUARTER + rng.normal(0, 0.2)), lanes * 3.6, lanes, 1.5)
        lay_roads(canvas, [road])
        _, across = road.path.coordinates(everywhere)
        on_bridge = np.abs(across) < road.width / 2 + 1.5
        canvas.height[on_bridge] = 4 * np.clip((half + 25 - d[on_bridge]) / 20, 0, 1)
        traffic(canvas, road, 3)
    for _ in range(int(rng.integers(0, 5))):
        add_building(
            canvas,
            *canvas.random_point(0.9),
            rng.uniform(0, 3),
            rng.uniform(10, 18),
            rng.uniform(7, 10),
            5,
            rng.choice(["gabled", "hipped"]),
        )
    woods = canvas.noise(55, 3)
    level, pitch = rng.uniform(-0.6, 0.8), 1.5 * np.mean(canvas.style.crown_radius)
    points = scatter(canvas, (2 * reach / pitch) ** 2)
    column, row = (
        np.clip(np.rint(value).astype(int), 0, canvas.side - 1)
        for value in canvas.to_pixels(points[:, 0], points[:, 1])
    )
    add_trees(canvas, points[woods[row, column] > level], scale=1.15)
    add_trees(canvas, scatter(canvas, (reach / 14) ** 2))
