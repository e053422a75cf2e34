"""Cars, trucks, aeroplanes, boats and ships."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from sgovss.synthetic.canvas import Canvas, Window, rectangle, stripe, textured
from sgovss.synthetic.classes import Id
from sgovss.synthetic.styles import rgb

_GLASS, _WHITE, _DECK = rgb("1c2026", "f2f2ee", "cdbb98")
_LIVERIES = rgb("1f3f8a", "a8242a", "d8d8d8", "2a7a4a", "e08a2a", "3a8ac8", "202a50")
_CONTAINERS = rgb("a83a2c", "2a5a8a", "c87a2a", "4a6a4a", "c8c4b8", "6a3a3a", "2f7f86", "d8b040")
_HULLS = rgb("7a2a24", "243a5a", "30343a", "8a8e90", "4a5a4a")


def add_car(
    canvas: Canvas,
    x: float,
    y: float,
    heading: float,
    allowed: Collection[int] = (Id.ROAD, Id.PAVEMENT),
    truck: bool = False,
) -> bool:
    """Draw a car, or a truck of 7 to 12 m, on allowed ground. Returns False if it does not fit."""
    rng = canvas.rng
    length, width = (rng.uniform(7, 12), 2.5) if truck else (rng.uniform(4.1, 5.1), rng.uniform(1.75, 2.0))
    window = canvas.window(x, y, heading, length / 2 + 0.3, width / 2 + 0.3)
    if window is None:
        return False
    a, b = window.u / (length / 2), window.v / (width / 2)
    mask = a**6 + b**6 <= 1
    if not mask.any() or not canvas.is_free(window, mask, allowed):
        return False
    color = canvas.pick(canvas.style.cars, 0.12)
    albedo = np.broadcast_to(color, (*a.shape, 3)).copy()
    if truck:
        cargo = a < 0.42
        albedo[cargo] = canvas.pick(_CONTAINERS if rng.random() < 0.3 else rgb("e8e8e4", "d4d4d0", "b8bcc0"))
        albedo[(np.abs(a - 0.45) < 0.04) | (a > 0.9)] *= 0.35
        height = np.where(cargo, 3.4, 2.6)
    else:
        cabin = (np.abs(a + 0.1) < 0.52) & (np.abs(b) < 0.86)
        roof = (np.abs(a + 0.12) < 0.3) & (np.abs(b) < 0.72)
        albedo[cabin & ~roof] = _GLASS
        albedo[roof] = np.minimum(color * 1.12 + 0.03, 1)
        height = np.where(roof, 1.5, np.where(cabin, 1.25, 0.95)) - 0.25 * b**4
    canvas.paint(window, mask, Id.CAR, albedo, height, 0.7, thing=True)
    return True


def add_airplane(canvas: Canvas, x: float, y: float, heading: float, length: float) -> bool:
    """Draw an aeroplane, from a propeller plane of 10 m to an airliner of 70 m. Returns False if it does not fit."""
    rng = canvas.rng
    small = length < 16
    half = length / 2
    span = length * (rng.uniform(1.15, 1.35) if small else rng.uniform(0.88, 1.02)) / 2
    window = canvas.window(x, y, heading, half + 0.5, span + 0.5)
    if window is None:
        return False
    u, v = window.u, np.abs(window.v)
    body = _fuselage(u / half) * length * (0.055 if small else 0.052) - v
    sweep = 0.03 if small else rng.uniform(0.5, 0.66)
    wings = _wing(u, v, length * 0.1, length * (0.16 if small else 0.2), span, sweep, 0.75 if small else 0.3)
    tail = _wing(u, v, -half * 0.74, length * 0.1, span * 0.36, sweep * 0.9, 0.5)
    engines = np.full(u.shape, False)
    for place in () if small else ((0.34,) if length < 48 else (0.3, 0.56)):
        front = length * 0.1 - sweep * span * place + length * 0.035
        engines |= (np.abs(u - front + length * 0.03) < length * 0.042) & (np.abs(v - span * place) < length * 0.019)
    mask = (body >= 0) | wings | tail | engines
    ground = (Id.PAVEMENT, Id.ROAD, Id.GRASS, Id.SOIL)
    if not mask.any() or not canvas.is_free(window, mask, ground):
        return False
    base = canvas.pick(rgb("eef0f0", "e2e4e6", "f6f6f4", "c8ccd0", "b8bcc2"), 0.03)
    livery = canvas.pick(_LIVERIES, 0.1)
    albedo = textured(base, (0.02, canvas.noise(2)[window.index]))
    albedo[wings & (body < 0)] *= rng.uniform(0.82, 0.95)
    albedo[engines & ~wings] = base * 0.8
    chord_line = stripe(u - length * 0.1 + sweep * v + length * 0.13 * (1 - v / span) + 0.2, 0.25, canvas.pixel)
    albedo *= (1 - 0.25 * chord_line * wings)[..., None]
    if rng.random() < 0.4:
        albedo[(body >= 0) & (u < -half * 0.35)] = livery
    albedo[(body >= 0) & (np.abs(u - half * 0.86) < half * 0.025) & (v < body + v)] = _GLASS
    radius = length * 0.052
    height = np.where(body >= 0, radius * 1.1 + np.sqrt(np.maximum(radius**2 - v**2, 0)), radius * 1.1)
    fin = (v < max(0.25, canvas.pixel * 0.7)) & (u < -half * 0.62)
    albedo[fin] = livery * 0.9
    height = np.where(fin, radius * 4.2, height + (v / span) * radius * 0.6)
    canvas.paint(window, mask, Id.AIRPLANE, albedo, height, radius * 1.1, thing=True)
    canvas.relief[window.index][fin & mask] = radius
    return True


def _fuselage(t: np.ndarray) -> np.ndarray:
    """Relative half-width (at most 1) along an aeroplane from tail (-1) to nose (1); negative outside this range."""
    nose = np.sqrt(np.clip((1 - t) / 0.22, 0, 1) * (2 - np.clip((1 - t) / 0.22, 0, 1)))
    tail = np.clip((t + 1) / 0.55, 0, 1) ** 0.7
    return np.where(np.abs(t) <= 1, np.minimum(nose, 0.12 + 0.88 * tail), -1)


def _wing(
    u: np.ndarray, v: np.ndarray, front: float, chord: float, span: float, sweep: float, taper: float
) -> np.ndarray:
    """Mask of a pair of wings: leading edge at ``front`` on the axis, swept back, tapering to the tip."""
    ratio = v / span
    lead = front - sweep * v
    return (ratio <= 1) & (u <= lead) & (u >= lead - chord * (1 - (1 - taper) * ratio))


def add_ship(canvas: Canvas, x: float, y: float, heading: float, length: float, moving: bool = False) -> bool:
    """Draw a boat (under 25 m) or a cargo ship on water; a moving one has a wake. Returns False if it does not fit."""
    rng = canvas.rng
    beam = length * (rng.uniform(0.26, 0.34) if length < 25 else rng.uniform(0.15, 0.19))
    window = canvas.window(x, y, heading, length / 2 + 0.3, beam / 2 + 0.3)
    if window is None:
        return False
    a, b = window.u / (length / 2), window.v / (beam / 2)
    bow = 0.15 if length < 25 else 0.62
    outline = np.where(
        a > bow, np.sqrt(np.clip(1 - ((a - bow) / (1 - bow)) ** 2, 0, 1)), 1 - 0.12 * np.clip(-a, 0, 1) ** 3
    )
    mask = (np.abs(b) <= outline) & (np.abs(a) <= 1)
    if not mask.any() or not canvas.is_free(window, mask, (Id.WATER,)):
        return False
    if moving:
        _wake(canvas, x, y, heading, length, beam)
    edge = mask & (np.abs(b) > outline - max(0.16, 0.5 / beam))
    albedo, height = (_boat if length < 25 else _cargo)(canvas, window, a, b, length)
    albedo[edge] = _WHITE if length < 25 else canvas.pick(_HULLS)
    canvas.paint(window, mask, Id.SHIP, albedo, np.where(edge, height.min() + 0.3, height), 0.5, thing=True)
    return True


def _boat(canvas: Canvas, window: Window, a: np.ndarray, b: np.ndarray, length: float) -> tuple[np.ndarray, np.ndarray]:
    rng = canvas.rng
    deck = canvas.pick(rgb("eeeee8", "f4f4f0", "e2e0d6", "d8dce0"), 0.04)
    albedo = textured(deck, (0.03, canvas.noise(0.8, 2)[window.index]))
    cockpit = (a > -0.8) & (a < -0.25) & (np.abs(b) < 0.6)
    cabin = (a > -0.25) & (a < 0.4) & (np.abs(b) < 0.62 - 0.3 * np.clip(a, 0, 1))
    albedo[cockpit] = canvas.pick(rgb("c8b088", "1f4a86", "8a8478", "b8b4aa", "7a5a40"))
    albedo[cabin] = canvas.pick(rgb("fafaf8", "dfe6ea", "2f5f9a", "e8e0d0"), 0.05)
    albedo[cabin & (np.abs(a - 0.3) < 0.08)] = _GLASS
    height = np.where(cabin, 0.9 + length * 0.1, np.where(cockpit, 0.5, 1.0))
    if length > 9 and rng.random() < 0.4:
        mast = np.abs(window.v) < max(0.15, canvas.pixel / 2)
        albedo[mast & (a > -0.7) & (a < 0.45)] = _WHITE
        height = np.where(mast & (np.abs(a - 0.1) < 0.06), length * 1.1, height)
    return albedo, height


def _cargo(
    canvas: Canvas, window: Window, a: np.ndarray, b: np.ndarray, length: float
) -> tuple[np.ndarray, np.ndarray]:
    rng = canvas.rng
    albedo = textured(
        canvas.pick(rgb("7a3a30", "6a6e70", "4f6a5a", "8a5a44"), 0.1), (0.05, canvas.noise(3)[window.index])
    )
    height = np.full(a.shape, 6, np.float32)
    hold = (a > -0.55) & (a < 0.72) & (np.abs(b) < 0.78)
    if rng.random() < 0.6:
        column = np.floor(window.u / 6.4).astype(int) % 16
        row = np.floor(window.v / 2.7).astype(int) % 16
        albedo[hold] = (_CONTAINERS[rng.integers(0, len(_CONTAINERS), (16, 16))][column, row] * 0.95)[hold]
        gaps = np.maximum(
            stripe((window.u % 6.4) - 3.2, 0.4, canvas.pixel), stripe((window.v % 2.7) - 1.35, 0.2, canvas.pixel)
        )
        albedo *= (1 - 0.5 * gaps * hold)[..., None]
        height = np.where(hold, height + 2.6 * rng.integers(1, 4, (16, 16))[column, row], height)
    else:
        pitch = length / 7
        hatch = hold & (np.abs((window.u % pitch) - pitch / 2) < pitch * 0.4)
        albedo[hatch] = canvas.pick(rgb("a8a49a", "8a9a90", "b07a5a"), 0.1)
        height = np.where(hatch, height + 2, height)
    bridge = (np.abs(a + 0.74) < 0.1) & (np.abs(b) < 0.88)
    albedo[bridge] = _WHITE * 0.95
    funnel = (np.abs(a + 0.86) < 0.035) & (np.abs(b) < 0.25)
    albedo[funnel] = canvas.pick(_LIVERIES)
    return albedo, np.where(bridge, 20, np.where(funnel, 23, height))


def _wake(canvas: Canvas, x: float, y: float, heading: float, length: float, beam: float) -> None:
    """Draw white water behind the stern and bow waves. The class stays water."""
    window = canvas.window(x, y, heading, length * 3, length * 1.2)
    assert window is not None  # the ship lies in the image
    behind = length * 0.45 - window.u
    water = (canvas.labels[window.index] == Id.WATER) & (behind > 0)
    foam = np.exp(-((window.v / (beam * 0.4 + 0.03 * behind)) ** 2)) * (window.u < -length * 0.45)
    arms = np.exp(-(((np.abs(window.v) - 0.3 * behind - beam * 0.2) / (0.1 * beam + 0.03 * behind + 0.2)) ** 2))
    streaks = np.clip(0.7 + 0.4 * canvas.noise(1.5, 3)[window.index], 0, 1)
    fade = np.exp(-behind / (1.2 * length))
    canvas.tint(window, (water * streaks * fade * np.clip(0.8 * foam + 0.5 * arms, 0, 0.85)), _WHITE)


def fill_car_park(canvas: Canvas, x: float, y: float, angle: float, length: float, width: float, filled: float) -> None:
    """Draw bays on a paved rectangle, in double rows with lanes between, and cars in a fraction ``filled`` of them."""
    rng = canvas.rng
    window = canvas.window(x, y, angle, length / 2, width / 2)
    if window is None:
        return
    bay, depth, lane = 2.7, 5.2, 6.5
    cos, sin = np.cos(angle), np.sin(angle)
    paved = rectangle(window, length / 2, width / 2) & (canvas.labels[window.index] == Id.PAVEMENT)
    for top in np.arange(-width / 2 + 1 + depth, width / 2 - depth, 2 * depth + lane):
        near = paved & (np.abs(window.v - top) < depth) & (np.abs(window.u) < length / 2 - 1)
        lines = np.maximum(
            stripe((window.u % bay) - bay / 2, 0.12, canvas.pixel), stripe(window.v - top, 0.12, canvas.pixel)
        )
        canvas.tint(window, 0.7 * near * lines, _WHITE)
        for row in (-1, 1):
            for u in np.arange(np.ceil((-length / 2 + 1) / bay) * bay, length / 2 - 1 - bay / 2, bay):
                if rng.random() < filled:
                    v = top + row * depth / 2 + rng.normal(0, 0.2)
                    turn = angle + np.pi / 2 * rng.choice([-1, 1]) + rng.normal(0, 0.02)
                    add_car(canvas, x + cos * u - sin * v, y + sin * u + cos * v, turn, (Id.PAVEMENT,))
