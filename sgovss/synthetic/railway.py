"""Layout of a railway: tracks on ballast, wagons, halls and goods beside them."""

from __future__ import annotations

import numpy as np

from sgovss.synthetic.buildings import add_building
from sgovss.synthetic.canvas import Canvas, Window, rectangle, stripe, textured
from sgovss.synthetic.classes import Id
from sgovss.synthetic.clutter import strew
from sgovss.synthetic.leisure import add_trees, scatter
from sgovss.synthetic.roads import Path, Road, lay_roads
from sgovss.synthetic.styles import rgb
from sgovss.synthetic.surfaces import lay_concrete, lay_grass, lay_soil
from sgovss.synthetic.towns import steps, traffic

_BALLAST = rgb("857c74", "9a9088", "6f675f", "8a7a6c")
_RAIL, _SLEEPER = rgb("c4c2be", "4c4038")
_WAGONS = rgb("6a3a30", "3f5a4a", "2f4a6e", "8a8a88", "b0482c", "c8b06a", "d8d8d6")
_GAUGE, _SPACING = 1.5, 4.5


def railway(canvas: Canvas) -> None:
    """Draw one line or a yard of many tracks, in some images with a road beside and halls."""
    rng, reach = canvas.rng, canvas.reach
    everywhere = canvas.everywhere()
    whole = np.full_like(canvas.x, True, bool)
    (lay_grass if rng.random() < 0.5 else lay_soil)(canvas, everywhere, whole)
    lay_soil(canvas, everywhere, canvas.noise(40, 3) > 0.7)
    tracks = int(rng.choice([1, 2, 2, 4, 8, 12]))
    bend = rng.uniform(0, 12) if tracks < 4 else rng.uniform(0, 2)
    path = Path(0, rng.uniform(-0.4, 0.4) * reach, rng.normal(0, 0.05), bend, rng.uniform(200, 500), rng.uniform(0, 6))
    half = tracks * _SPACING / 2 + 1
    road = Road(Path(0, path.y - half - bend - rng.uniform(8, 14)), rng.uniform(5, 8), marked=rng.random() < 0.5)
    lay_roads(canvas, [road])
    if rng.random() < 0.4:
        window = canvas.window(0, path.y + half + bend + 5, 0, 1.5 * reach, 4)
        if window is not None:
            lay_concrete(canvas, window, rectangle(window, 1.5 * reach, 4), 2.5)
    s, d = path.coordinates(everywhere)
    _lay_tracks(canvas, everywhere, s, d, tracks)
    for index in range(tracks):
        if rng.random() < (0.6 if tracks > 2 else 0.3):
            _train(canvas, path, (index - (tracks - 1) / 2) * _SPACING)
    for x in steps(canvas, rng.uniform(0, 60), rng.uniform(35, 70)):
        y = path.y + rng.choice([-1, 1]) * (half + bend + rng.uniform(26, 34))
        hall = rng.choice(["shed", "shed", "flat", "gabled"])
        add_building(canvas, x, y, 0, rng.uniform(15, 40), rng.uniform(10, 18), rng.uniform(4, 9), hall)
        strew(canvas, x, y + 14, 5, 3)
    traffic(canvas, road, 2)
    add_trees(canvas, scatter(canvas, (reach / 9) ** 2))


def _lay_tracks(canvas: Canvas, window: Window, s: np.ndarray, d: np.ndarray, tracks: int) -> None:
    """Paint ballast, sleepers and rails. Rails that are thinner than a pixel leave a light trace."""
    half, pixel = tracks * _SPACING / 2, canvas.pixel
    edge = half + 0.3 * canvas.noise(3, 3)
    on = np.abs(d) < edge
    stones, stains = canvas.noise(0.5, 2), canvas.noise(10, 3)
    canvas.paint(window, on, Id.RAILWAY, textured(canvas.pick(_BALLAST), (0.07, stones), (0.06, stains)), 0.2)
    across = (d + half) % _SPACING - _SPACING / 2
    visible = np.clip(0.6 / pixel, 0, 1)
    sleepers = on * (np.abs(across) < 1.3) * (0.55 * visible * stripe(s % 0.65 - 0.325, 0.26, pixel) + 0.15)
    canvas.tint(window, sleepers, _SLEEPER)
    canvas.tint(window, 0.9 * on * stripe(np.abs(across) - _GAUGE / 2, 0.14, pixel), _RAIL)
    canvas.tint(window, 0.3 * on * stripe(np.abs(across) - _GAUGE / 2 - 0.2, 0.2, pixel), _SLEEPER * 0.6)


def _train(canvas: Canvas, path: Path, offset: float) -> None:
    """Draw a row of wagons on a track; they belong to the railway."""
    rng = canvas.rng
    length = rng.uniform(12, 20)
    mixed = rng.random() < 0.5
    color = canvas.pick(_WAGONS, 0.1)
    start = rng.uniform(-1.2, 0.6) * canvas.reach
    for index in range(int(rng.integers(2, 12))):
        x, y, heading = path.point(start + index * (length + 1), offset)
        window = canvas.window(x, y, heading, length / 2, 1.5)
        if window is None:
            continue
        mask = rectangle(window, length / 2 - 0.2, 1.45) & (canvas.labels[window.index] == Id.RAILWAY)
        paint = canvas.pick(_WAGONS, 0.1) if mixed else color
        ribs = 0.1 * stripe(window.u % 2.0 - 1.0, 0.3, canvas.pixel)
        ridge = 0.08 * (1 - np.abs(window.v) / 1.45)
        albedo = textured(paint, (-1.0, ribs), (1.0, ridge), (0.05, canvas.noise(1.5, 2)[window.index]))
        canvas.paint(window, mask, Id.RAILWAY, albedo, 3.8, 3.8, thing=True)
