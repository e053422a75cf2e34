"""Layouts of towns: residential streets, commercial blocks, parks."""

from __future__ import annotations

import numpy as np

from sgovss.synthetic.buildings import add_building
from sgovss.synthetic.canvas import Canvas, rectangle
from sgovss.synthetic.classes import Id
from sgovss.synthetic.leisure import add_court, add_pool, add_trees, scatter
from sgovss.synthetic.roads import Path, Road, lay_roads, zebra
from sgovss.synthetic.surfaces import lay_concrete, lay_grass, lay_soil, lay_water
from sgovss.synthetic.vehicles import add_car, fill_car_park

_QUARTER = np.pi / 2


def steps(canvas: Canvas, first: float, spacing: float) -> np.ndarray:
    """Positions (N,) in metres that cover the image: ``first`` and every ``spacing`` metres before and after it."""
    reach = canvas.reach + spacing
    return first + spacing * np.arange(np.floor((-reach - first) / spacing), np.ceil((reach - first) / spacing) + 1)


def traffic(canvas: Canvas, road: Road, per_100m: float) -> None:
    """Draw cars and some trucks in the lanes of a road."""
    rng = canvas.rng
    lane = road.width / road.lanes
    for s in rng.uniform(-1.2 * canvas.reach, 1.2 * canvas.reach, rng.poisson(per_100m * canvas.reach / 42)):
        index = rng.integers(road.lanes)
        x, y, heading = road.path.point(s, (index + 0.5) * lane - road.width / 2)
        heading += np.pi if index >= road.lanes / 2 else 0
        add_car(canvas, x, y, heading, (Id.ROAD,), truck=lane > 3 and rng.random() < 0.12)


def kerbside(canvas: Canvas, road: Road, filled: float) -> None:
    """Draw cars parked along both kerbs."""
    for side in (-1, 1):
        for s in np.arange(-1.3 * canvas.reach, 1.3 * canvas.reach, 6.0):
            if canvas.rng.random() < filled:
                x, y, heading = road.path.point(s, side * (road.width / 2 - 1.15))
                add_car(canvas, x, y, heading, (Id.ROAD,))


def residential(canvas: Canvas) -> None:
    """Draw detached houses on lots along parallel streets, with drives, gardens, pools and street trees."""
    rng, style = canvas.rng, canvas.style
    depth, lot = rng.uniform(*style.lot_depth), rng.uniform(*style.lot_width)
    width = rng.uniform(6.5, 9)
    spacing = 2 * depth + width + 4
    rows = steps(canvas, rng.uniform(-0.8, 0.8) * canvas.reach, spacing)
    crossings = steps(canvas, rng.uniform(0, 200), rng.uniform(80, 170))
    lay_grass(canvas, canvas.everywhere(), np.full_like(canvas.x, True, bool))
    lots = [(x, row, side) for row in rows for side in (-1, 1) for x in steps(canvas, rng.uniform(0, lot), lot)]
    lots = [place for place in lots if np.abs(crossings - place[0]).min() > lot / 2 + width / 2 + 2]
    for x, row, side in lots:
        _garden(canvas, x, row + side * (width / 2 + 2 + depth / 2), lot, depth)
    roads = [Road(Path(0, row), width, marked=rng.random() < 0.5) for row in rows]
    roads += [Road(Path(x, 0, _QUARTER), width) for x in crossings]
    lay_roads(canvas, roads)
    grand = rng.random() < 0.3
    for x, row, side in lots:
        _homestead(canvas, x, row + side * (width / 2 + 2), side, lot, depth, grand)
    for road in roads:
        kerbside(canvas, road, rng.uniform(0.02, 0.3))
        traffic(canvas, road, 0.8)
    if rng.random() < 0.2:
        add_court(canvas, *canvas.random_point(0.6), rng.choice([0, _QUARTER]))
    add_trees(canvas, scatter(canvas, style.tree_density * (canvas.reach / 9) ** 2 * rng.uniform(0.4, 1.3)))


def _garden(canvas: Canvas, x: float, y: float, lot: float, depth: float) -> None:
    window = canvas.window(x, y, 0, lot / 2, depth / 2)
    if window is None:
        return
    mask, draw = rectangle(window, lot / 2 - 0.2, depth / 2 - 0.2), canvas.rng.random()
    if draw < 0.12 + 0.3 * canvas.dryness:
        lay_soil(canvas, window, mask, 0.7)
    elif draw < 0.8:
        lay_grass(canvas, window, mask, canvas.rng.uniform(0, 0.8))
    elif draw < 0.88:
        lay_concrete(canvas, window, mask, 1.5)


def _homestead(canvas: Canvas, x: float, front: float, side: int, lot: float, depth: float, grand: bool) -> None:
    """Draw the house, drive, pool or shed of one lot; ``front`` is the edge of the street."""
    rng, style = canvas.rng, canvas.style
    set_back = rng.uniform(0.14, 0.24) * depth
    length, width = lot * rng.uniform(0.62, 0.84), min(rng.uniform(8.5, 12.5), depth * 0.45)
    drive = x + rng.choice([-1, 1]) * lot * 0.36
    form = "flat" if rng.random() < style.flat_fraction else rng.choice(["gabled", "hipped"])
    angle = 0.0 if rng.random() < 0.75 else _QUARTER
    if angle:
        length = min(length, depth * 0.45)
    y = front + side * (set_back + width / 2)
    wing = rng.random() < 0.35
    built = add_building(canvas, x, y, angle, length, width, rng.uniform(3, 6.5), form, wing)
    if wing and not built:
        add_building(canvas, x, y, angle, length, width, rng.uniform(3, 6.5), form)
    _drive(canvas, drive, front, side, set_back)
    back = front + side * (depth - rng.uniform(3.5, 5))
    shift = rng.uniform(-0.2, 0.2) * lot
    if rng.random() < (0.85 if grand else 0.45):
        shape = rng.choice(["rectangle", "rectangle", "kidney", "round"])
        size = rng.uniform(5, 6.5) if shape == "round" else rng.uniform(7, 11)
        add_pool(canvas, x + shift, back, 0, size, shape)
    elif rng.random() < 0.45:
        add_building(canvas, x + 2 * shift, back, 0, rng.uniform(2.5, 5), rng.uniform(2, 3), 2.2, "gabled")


def _drive(canvas: Canvas, x: float, front: float, side: int, set_back: float) -> None:
    """Draw a paved drive from the street to the house, in some images with a car on it."""
    rng = canvas.rng
    window = canvas.window(x, front + side * set_back, 0, 1.7, set_back)
    if window is None:
        return
    free = rectangle(window, 1.6, set_back) & np.isin(canvas.labels[window.index], (Id.GRASS, Id.SOIL))
    lay_concrete(canvas, window, free, 3.0, dark=rng.random() < 0.3)
    if rng.random() < 0.55:
        add_car(canvas, x, front + side * rng.uniform(2.8, max(3.0, 1.6 * set_back)), _QUARTER, (Id.PAVEMENT,))


def commercial(canvas: Canvas) -> None:
    """Draw city blocks with large roofs, car parks and street trees."""
    rng = canvas.rng
    block_u, block_v = rng.uniform(60, 100), rng.uniform(48, 80)
    lanes = int(rng.choice([2, 2, 4]))
    width = lanes * rng.uniform(3.2, 3.7)
    streets_u = steps(canvas, rng.uniform(0, block_u), block_u + width + 5)
    streets_v = steps(canvas, rng.uniform(0, block_v), block_v + width + 5)
    everywhere = canvas.everywhere()
    ground = lay_concrete if rng.random() < 0.4 else lay_grass
    ground(canvas, everywhere, np.full_like(canvas.x, True, bool))
    roads = [Road(Path(0, y), width, lanes, 2.5) for y in streets_v]
    roads += [Road(Path(x, 0, _QUARTER), width, lanes, 2.5) for x in streets_u]
    lay_roads(canvas, roads)
    for x in streets_u:
        for y in streets_v:
            zebra(canvas, Road(Path(x, y), width, lanes), width / 2 + 3.5)
            _block(canvas, x + (block_u + width + 5) / 2, y + (block_v + width + 5) / 2, block_u, block_v)
    for road in roads:
        traffic(canvas, road, rng.uniform(1, 4))
        if rng.random() < 0.4:
            for s in np.arange(-canvas.reach, canvas.reach, rng.uniform(9, 16)):
                points = [road.path.point(s, side * (road.width / 2 + 2.4))[:2] for side in (-1, 1)]
                add_trees(canvas, np.array(points), (Id.PAVEMENT, Id.GRASS), 0.8)


def _block(canvas: Canvas, x: float, y: float, length: float, width: float) -> None:
    """Draw one city block: a hall with its car park, rows of buildings, a car park, or a square with courts."""
    rng = canvas.rng
    window = canvas.window(x, y, 0, length / 2, width / 2)
    if window is None:
        return
    draw = rng.random()
    if draw < 0.32:
        lay_concrete(canvas, window, rectangle(window, length / 2, width / 2), dark=True)
        ratio = rng.uniform(0.4, 0.6)
        add_building(
            canvas,
            x,
            y + width * (0.5 - ratio / 2) - 2,
            0,
            length * 0.88,
            width * ratio - 4,
            rng.uniform(6, 14),
            rng.choice(["flat", "shed"]),
        )
        fill_car_park(canvas, x, y - width * ratio / 2, 0, length * 0.94, width * (1 - ratio), rng.uniform(0.2, 0.85))
    elif draw < 0.72:
        if rng.random() < 0.6:
            lay_grass(canvas, window, rectangle(window, length / 2 - 2, width / 2 - 2), 0.5)
        for u in np.linspace(-0.36, 0.36, int(rng.integers(2, 4))):
            for v in (-0.26, 0.26):
                size = length * rng.uniform(0.22, 0.33), width * rng.uniform(0.28, 0.44)
                form = rng.choice(["flat", "flat", "flat", "hipped"])
                add_building(
                    canvas, x + u * length, y + v * width, 0, *size, rng.uniform(8, 28), form, rng.random() < 0.3
                )
        if rng.random() < 0.4:
            add_pool(
                canvas,
                x + rng.uniform(-0.1, 0.1) * length,
                y,
                0,
                rng.uniform(9, 18),
                rng.choice(["rectangle", "kidney"]),
            )
        add_trees(canvas, scatter(canvas, 10, length / 4, x, y), (Id.GRASS, Id.PAVEMENT))
    elif draw < 0.85:
        lay_concrete(canvas, window, rectangle(window, length / 2, width / 2), dark=rng.random() < 0.8)
        fill_car_park(canvas, x, y, 0, length * 0.96, width * 0.96, rng.uniform(0.3, 0.95))
    else:
        lay_grass(canvas, window, rectangle(window, length / 2 - 1, width / 2 - 1), 0.7)
        court_group(canvas, x, y, 0, int(rng.integers(1, 4)))
        add_trees(canvas, scatter(canvas, 25, length / 3, x, y), (Id.GRASS,))


def court_group(canvas: Canvas, x: float, y: float, angle: float, count: int) -> None:
    """Draw courts of one kind side by side around (x, y)."""
    kind = canvas.rng.choice(["tennis", "tennis", "basketball"])
    across = np.array([-np.sin(angle), np.cos(angle)])
    for index in range(count):
        shift = across * (index - (count - 1) / 2) * 17.6
        add_court(canvas, x + shift[0], y + shift[1], angle, kind)


def park(canvas: Canvas) -> None:
    """Draw lawns with trees, paths and sports courts, and in some images a pond, a road and a public pool."""
    rng, reach = canvas.rng, canvas.reach
    everywhere = canvas.everywhere()
    lay_grass(canvas, everywhere, np.full_like(canvas.x, True, bool), rng.uniform(0.3, 1))
    rough = canvas.noise(45, 3) > rng.uniform(0.9, 1.8)
    lay_soil(canvas, everywhere, rough)
    if rng.random() < 0.45:
        x, y = canvas.random_point(0.9)
        r = np.hypot(canvas.x - x, (canvas.y - y) * rng.uniform(0.8, 1.4)) * (1 + 0.16 * canvas.noise(20, 4))
        lay_water(canvas, everywhere, r < rng.uniform(10, 26), 3)
    for _ in range(int(rng.integers(1, 4))):
        path = Path(
            *canvas.random_point(0.7),
            rng.uniform(0, np.pi),
            rng.uniform(0, 9),
            rng.uniform(50, 120),
            rng.uniform(0, 6),
        )
        _, d = path.coordinates(everywhere)
        lay_concrete(canvas, everywhere, (np.abs(d) < rng.uniform(0.9, 2.2)) & (canvas.labels != Id.WATER), 30)
    if rng.random() < 0.6:
        road = Road(Path(0, rng.choice([-1, 1]) * rng.uniform(0.4, 0.8) * reach), rng.uniform(6.5, 8))
        lay_roads(canvas, [road])
        kerbside(canvas, road, 0.3)
        traffic(canvas, road, 2)
    for _ in range(int(rng.integers(1, 3))):
        court_group(canvas, *canvas.random_point(0.55), rng.choice([0, _QUARTER]), int(rng.integers(1, 4)))
    for _ in range(int(rng.choice([0, 1, 1, 2]))):
        shape = rng.choice(["rectangle", "rectangle", "kidney"])
        add_pool(canvas, *canvas.random_point(0.6), rng.choice([0, _QUARTER]), rng.uniform(14, 27), shape)
    for _ in range(int(rng.integers(0, 3))):
        add_building(
            canvas,
            *canvas.random_point(0.8),
            0,
            rng.uniform(8, 20),
            rng.uniform(6, 11),
            4,
            rng.choice(["hipped", "gabled", "flat"]),
        )
    for _ in range(int(rng.integers(2, 7))):
        clump = scatter(canvas, rng.uniform(8, 40), rng.uniform(6, 18), *canvas.random_point(1))
        add_trees(canvas, clump, scale=rng.uniform(0.9, 1.4))
    add_trees(canvas, scatter(canvas, (reach / 16) ** 2))
