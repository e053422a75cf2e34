"""Layouts of industrial areas and airports."""

from __future__ import annotations

import numpy as np

from sgovss.synthetic.buildings import add_building, add_tank
from sgovss.synthetic.canvas import Canvas, rectangle, stripe
from sgovss.synthetic.classes import Id
from sgovss.synthetic.leisure import add_trees, scatter
from sgovss.synthetic.roads import Path, Road, lay_roads
from sgovss.synthetic.styles import rgb
from sgovss.synthetic.surfaces import lay_concrete, lay_grass, lay_soil
from sgovss.synthetic.towns import steps, traffic
from sgovss.synthetic.vehicles import add_airplane, add_car, fill_car_park

_QUARTER = np.pi / 2
_WHITE, _YELLOW = rgb("e8e8e2", "d8b030")


def industrial(canvas: Canvas) -> None:
    """Draw a tank farm beside halls, yards and service roads."""
    rng, reach = canvas.rng, canvas.reach
    everywhere = canvas.everywhere()
    whole = np.full_like(canvas.x, True, bool)
    (lay_soil, lay_concrete, lay_grass)[rng.integers(3)](canvas, everywhere, whole)
    other = (canvas.noise(60, 3) > 0.5) & (canvas.labels != Id.PAVEMENT)
    (lay_soil if canvas.labels[0, 0] == Id.GRASS else lay_grass)(canvas, everywhere, other)
    spacing = float(np.clip(canvas.span * rng.uniform(0.55, 1.1), 45, 130))
    farm = rng.uniform(-0.35, 0.35) * reach
    rows = steps(canvas, farm, spacing)
    width = rng.uniform(6, 8)
    roads = [Road(Path(0, y + spacing / 2), width, marked=False, pavement=0) for y in rows]
    if rng.random() < 0.5:
        roads.append(Road(Path(rng.uniform(-0.9, 0.9) * reach, 0, _QUARTER), 7, pavement=0))
    lay_roads(canvas, roads)
    for y in rows:
        if y == farm or rng.random() < 0.35:
            _tank_farm(canvas, y, spacing - 12)
        else:
            _halls(canvas, y, spacing - 12)
    for road in roads:
        traffic(canvas, road, 1.5)
    add_trees(canvas, scatter(canvas, canvas.style.tree_density * (reach / 22) ** 2))


def _tank_farm(canvas: Canvas, y: float, width: float) -> None:
    """Draw rows of equal tanks, on gravel or concrete, over the whole length of the image."""
    rng = canvas.rng
    count = int(rng.integers(1, 4))
    pitch = width / count
    radius = float(np.clip(pitch * rng.uniform(0.28, 0.4), 2.5, 24))
    window = canvas.window(0, y, 0, 1.5 * canvas.reach, width / 2)
    if window is None:
        return
    yard = rectangle(window, 1.5 * canvas.reach, width / 2) & (canvas.labels[window.index] != Id.ROAD)
    if rng.random() < 0.7:
        (lay_soil if rng.random() < 0.5 else lay_concrete)(canvas, window, yard)
    height = rng.uniform(0.5, 0.9) * radius + 3
    missing = rng.uniform(0.02, 0.2)
    for v in (np.arange(count) - (count - 1) / 2) * pitch:
        for u in steps(canvas, rng.uniform(-0.3, 0.3) * pitch, pitch * rng.uniform(0.95, 1.15)):
            if rng.random() > missing:
                add_tank(canvas, u, y + v, radius * rng.choice([1, 1, 1, 0.8]), height)
            elif rng.random() < 0.4:
                add_building(canvas, u, y + v, 0, radius, radius * 0.7, 4, "flat")


def _halls(canvas: Canvas, y: float, width: float) -> None:
    """Draw halls, with trucks and cars in the yards between them."""
    rng = canvas.rng
    u = -1.3 * canvas.reach
    while u < 1.3 * canvas.reach:
        length = rng.uniform(28, 75)
        window = canvas.window(u + length / 2, y, 0, length / 2, width / 2)
        if window is not None:
            lay_concrete(
                canvas,
                window,
                rectangle(window, length / 2, width / 2) & (canvas.labels[window.index] != Id.ROAD),
                dark=rng.random() < 0.5,
            )
            if rng.random() < 0.72:
                ratio = rng.uniform(0.5, 0.8)
                add_building(
                    canvas,
                    u + length / 2,
                    y,
                    0,
                    length * 0.86,
                    width * ratio,
                    rng.uniform(6, 12),
                    rng.choice(["shed", "shed", "flat", "gabled"]),
                )
                for _ in range(int(rng.integers(1, 9))):
                    v = y + rng.choice([-1, 1]) * width * (ratio / 2 + 0.5) / 2
                    add_car(
                        canvas,
                        u + rng.uniform(0, length),
                        v,
                        rng.choice([0, _QUARTER]),
                        (Id.PAVEMENT,),
                        truck=rng.random() < 0.5,
                    )
            else:
                fill_car_park(canvas, u + length / 2, y, 0, length * 0.9, width * 0.9, rng.uniform(0.2, 0.8))
        u += length + rng.uniform(3, 12)


def airport(canvas: Canvas) -> None:
    """Draw an apron with parked aeroplanes, a terminal on one side and a taxiway or runway on the other."""
    rng, reach = canvas.rng, canvas.reach
    everywhere = canvas.everywhere()
    whole = np.full_like(canvas.x, True, bool)
    (lay_grass if rng.random() < 0.8 - 0.5 * canvas.dryness else lay_soil)(canvas, everywhere, whole)
    large = canvas.span > 90
    length = rng.uniform(24, 48) if large else rng.uniform(10, 22)
    bottom = rng.uniform(-0.6, -0.1) * reach
    top = min(bottom + length * rng.choice([1.5, 2.9]), 0.85 * reach)
    apron = (canvas.y > bottom) & (canvas.y < top)
    lay_concrete(canvas, everywhere, apron, rng.uniform(5, 8), dark=rng.random() < 0.25)
    _runway(
        canvas, bottom - rng.uniform(0.6, 1.6) * length, 45 if large and rng.random() < 0.5 else rng.uniform(15, 24)
    )
    stand = top - length * rng.uniform(0.6, 0.75)
    _guide_lines(canvas, stand, bottom, length)
    pitch = length * rng.uniform(0.98, 1.2)
    heading = rng.choice([1, 1, -1]) * _QUARTER + rng.choice([0, 0, 0.5])
    for u in steps(canvas, rng.uniform(-0.4, 0.4) * pitch, pitch):
        if rng.random() < 0.88:
            add_airplane(
                canvas,
                u,
                stand + rng.normal(0, 1),
                heading + rng.normal(0, 0.04),
                length * rng.choice([1, 1, 0.85, 1.1]),
            )
            _ground_crew(canvas, u, stand, length)
    middle = (bottom + stand - length / 2) / 2
    if stand - bottom > 2 * length:
        for u in steps(canvas, rng.uniform(0, pitch), 1.2 * pitch):
            if rng.random() < 0.65:
                turn = rng.choice([0, np.pi]) + rng.normal(0, 0.1)
                add_airplane(canvas, u, middle, turn, length * rng.uniform(0.75, 1))
    hall = rng.choice(["flat", "shed", "shed"])
    for u in steps(canvas, rng.uniform(0, 90), rng.uniform(70, 110)):
        add_building(canvas, u, top + 16, 0, rng.uniform(40, 66), rng.uniform(22, 28), rng.uniform(9, 15), hall)
    if rng.random() < 0.4:
        for u in steps(canvas, 0, 22):
            add_tank(canvas, u + rng.normal(0, 1), top + 48, rng.uniform(5, 9), 8)
    add_trees(canvas, scatter(canvas, (reach / 30) ** 2))


def _runway(canvas: Canvas, y: float, width: float) -> None:
    """Draw a runway or taxiway with edge and centre lines; wide ones have threshold bars."""
    rng, pixel = canvas.rng, canvas.pixel
    road = Road(Path(0, y), width, 1, pavement=rng.choice([0, 3]), marked=False)
    lay_roads(canvas, [road])
    window = canvas.window(0, y, 0, 1.5 * canvas.reach, width / 2)
    if window is None:
        return
    on = (canvas.labels[window.index] == Id.ROAD) * np.clip(0.8 + 0.2 * canvas.noise(4, 3)[window.index], 0, 1)
    if width < 30:
        canvas.tint(window, 0.8 * on * stripe(window.v, 0.35, pixel), _YELLOW)
        canvas.tint(window, 0.6 * on * stripe(np.abs(window.v) - width / 2 + 1, 0.3, pixel), _YELLOW)
        return
    canvas.tint(window, on * stripe(window.v, 0.9, pixel) * ((window.u % 50) < 30), _WHITE)
    canvas.tint(window, on * stripe(np.abs(window.v) - width / 2 + 1.5, 0.9, pixel), _WHITE)
    start = rng.uniform(-1, 1) * canvas.reach
    bars = stripe((window.v % 3.6) - 1.8, 1.8, pixel) * (np.abs(window.v) > 2) * (np.abs(window.v) < width / 2 - 3)
    canvas.tint(window, on * bars * (np.abs(window.u - start) < 15), _WHITE)
    rubber = np.exp(-((window.v / 6) ** 2)) * np.clip(0.5 + 0.3 * canvas.noise(30)[window.index], 0, 1)
    canvas.tint(window, 0.4 * on * rubber, _WHITE * 0.2)


def _guide_lines(canvas: Canvas, stand: float, bottom: float, length: float) -> None:
    """Draw yellow taxi lines along the apron."""
    window = canvas.everywhere()
    on = 0.75 * (canvas.labels == Id.PAVEMENT)
    middle = (bottom + stand - length / 2) / 2
    canvas.tint(window, on * stripe(canvas.y - middle, 0.35, canvas.pixel), _YELLOW)
    canvas.tint(window, 0.6 * on * stripe(canvas.y - stand - length * 0.58, 0.3, canvas.pixel), _WHITE)


def _ground_crew(canvas: Canvas, x: float, y: float, length: float) -> None:
    rng = canvas.rng
    for _ in range(int(rng.poisson(2.2))):
        turn = rng.uniform(0, 2 * np.pi)
        distance = length * rng.uniform(0.3, 0.62)
        add_car(
            canvas,
            x + distance * np.cos(turn),
            y + distance * np.sin(turn),
            turn,
            (Id.PAVEMENT,),
            truck=rng.random() < 0.4,
        )
