"""Buildings with flat, gabled, hipped and shed roofs, and storage tanks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgovss.synthetic.canvas import Canvas, Window, rectangle, stripe, textured
from sgovss.synthetic.classes import Id
from sgovss.synthetic.styles import rgb

FREE_GROUND = (Id.GRASS, Id.SOIL, Id.FARMLAND, Id.PAVEMENT)
"""Classes of ground that objects may be placed on."""

_PANEL, _SKYLIGHT, _METAL = rgb("1f2a44", "dfe6ea", "c8cccf")


def add_building(
    canvas: Canvas,
    x: float,
    y: float,
    angle: float,
    length: float,
    width: float,
    walls: float,
    form: str,
    wing: bool = False,
) -> bool:
    """Draw a building. Returns False, and draws nothing, if the place is occupied or outside the image.

    Args:
        x, y: centre, metres.
        angle: direction of the ridge, radians.
        length, width: outer dimensions, metres.
        walls: height of the walls, metres.
        form: ``flat``, ``gabled``, ``hipped`` or ``shed`` (a hall with several ridges).
        wing: add a second wing, so that the plan is an L.
    """
    half_u, half_v = length / 2, width / 2
    reach = max(half_u, half_v) * (1.6 if wing else 1.0) + 0.5
    window = canvas.window(x, y, angle, reach, reach)
    if window is None:
        return False
    mask, rise, rim = _roof(window, half_u, half_v, form)
    if wing:
        side = canvas.rng.choice([-1.0, 1.0])
        shift_u, shift_v = np.float32(side * (half_u - half_v * 0.8)), np.float32(half_v * 0.9)
        turned = Window(window.rows, window.columns, window.v - shift_v, window.u - shift_u)
        other, other_rise, other_rim = _roof(turned, half_v * 1.1, half_v * 0.8, form)
        rise = np.where(mask & other, np.maximum(rise, other_rise), np.where(other, other_rise, rise))
        rim = np.where(mask & other, np.maximum(rim, other_rim), np.where(other, other_rim, rim))
        mask = mask | other
    if not mask.any() or not canvas.is_free(window, mask, FREE_GROUND):
        return False
    albedo = _covering(canvas, window, form, rise, rim)
    canvas.paint(window, mask, Id.BUILDING, albedo, walls + rise, walls, thing=True)
    _fittings(canvas, window, mask & (rim > 1.2), form, half_u, half_v)
    return True


def _roof(window: Window, half_u: float, half_v: float, form: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mask, height above the walls and distance from the eaves of a rectangular roof; metres."""
    to_u, to_v = half_u - np.abs(window.u), half_v - np.abs(window.v)
    rim = np.minimum(to_u, to_v)
    mask = rim >= 0
    if form == "gabled":
        return mask, 0.6 * np.maximum(to_v, 0), rim
    if form == "hipped":
        return mask, 0.6 * np.maximum(rim, 0), rim
    if form == "shed":
        bay = half_v * 2 / max(1, round(half_v * 2 / 14))
        within = np.abs(((window.v + half_v) % bay) - bay / 2)
        return mask, 0.28 * (bay / 2 - within), rim
    return mask, np.where(rim < 0.45, 0.7, 0).astype(np.float32), rim


def _covering(canvas: Canvas, window: Window, form: str, rise: np.ndarray, rim: np.ndarray) -> np.ndarray:
    style, rng, pixel = canvas.style, canvas.rng, canvas.pixel
    stains, grain = canvas.noise(6)[window.index], canvas.noise(0.5, 2)[window.index]
    if form in ("gabled", "hipped"):
        color = canvas.pick(style.pitched_roof, 0.14)
        albedo = textured(color, (0.05 * style.texture, stains), (0.06 * style.texture, grain))
        courses = stripe((rise % 0.36) - 0.18, 0.14, pixel)
        return albedo * (1 - 0.16 * courses)[..., None]
    color = canvas.pick(style.flat_roof, 0.12)
    albedo = textured(color, (0.05 * style.texture, stains), (0.035 * style.texture, grain))
    if form == "shed":
        ribs = stripe((window.u % 1.1) - 0.55, 0.3, pixel)
        albedo *= (1 - 0.12 * ribs)[..., None]
        lights = stripe((window.u % 9.0) - 4.5, 1.1, pixel) * (rim > 1.5) * (rng.random() < 0.6)
        return albedo + (lights * 0.7)[..., None] * (_SKYLIGHT - albedo)
    puddles = np.clip(canvas.noise(8, 3)[window.index] - 0.9, 0, 1)
    albedo *= (1 - 0.22 * puddles)[..., None]
    return albedo * np.where(rim < 0.45, np.float32(1.12), np.float32(1))[..., None]


def _fittings(canvas: Canvas, window: Window, inside: np.ndarray, form: str, half_u: float, half_v: float) -> None:
    """Draw air conditioners and stairwells on flat roofs, chimneys and solar panels on pitched ones."""
    rng = canvas.rng
    if form == "flat":
        for _ in range(int(rng.integers(1, 4 + int(half_u * half_v / 60)))):
            color, size = canvas.pick(canvas.style.flat_roof, 0.3) * rng.uniform(0.5, 1.1), rng.uniform(0.7, 2.6, 2)
            _box(canvas, window, inside, rng.uniform(-half_u, half_u), rng.uniform(-half_v, half_v), size, color, 1.6)
    elif form != "shed":
        chimney = rng.uniform(-half_u * 0.6, half_u * 0.6), rng.uniform(-0.4, 0.4) * half_v
        _box(canvas, window, inside, *chimney, (0.5, 0.4), canvas.pick(rgb("7a4a3c", "6a6664")), 2.0)
    if form != "shed" and rng.random() < 0.14:
        panel = inside & (np.abs(window.u) < half_u * 0.6) & (window.v > half_v * 0.12) & (window.v < half_v * 0.8)
        cells = np.maximum(
            stripe((window.u % 1.0) - 0.5, 0.12, canvas.pixel), stripe((window.v % 1.6) - 0.8, 0.12, canvas.pixel)
        )
        canvas.tint(window, panel * (0.95 - 0.5 * cells), _PANEL)


def _box(
    canvas: Canvas,
    window: Window,
    inside: np.ndarray,
    u: float,
    v: float,
    size: Sequence[float] | np.ndarray,
    color: np.ndarray,
    height: float,
) -> None:
    mask = inside & (np.abs(window.u - np.float32(u)) < size[0]) & (np.abs(window.v - np.float32(v)) < size[1])
    canvas.tint(window, mask.astype(np.float32), color)
    canvas.height[window.index] += height * mask


def add_tank(canvas: Canvas, x: float, y: float, radius: float, height: float) -> bool:
    """Draw a storage tank with a conical or floating roof. Returns False if there is no free ground."""
    rng, pixel = canvas.rng, canvas.pixel
    window = canvas.window(x, y, rng.uniform(0, 2 * np.pi), radius + 0.5, radius + 0.5)
    if window is None:
        return False
    r = np.hypot(window.u, window.v)
    mask = r <= radius
    if not mask.any() or not canvas.is_free(window, mask, FREE_GROUND):
        return False
    color = canvas.pick(canvas.style.tank, 0.08)
    stains, grain = canvas.noise(7)[window.index], canvas.noise(0.6, 2)[window.index]
    albedo = textured(color, (0.05, stains), (0.03, grain))
    turn = np.arctan2(window.v, window.u)
    seams = stripe(((turn * 12 / np.pi) % 1 - 0.5) * r * np.pi / 12, 0.15, pixel) * (r > 0.25 * radius)
    rings = stripe((r % (radius / 3)) - radius / 6, 0.15, pixel)
    albedo *= (1 - 0.12 * np.maximum(seams, rings))[..., None]
    floating = rng.random() < 0.45 and radius > 5
    if floating:
        inner = r < radius - 0.7
        albedo = np.where(
            inner[..., None], albedo * canvas.pick(rgb("b0aca2", "8e8a82", "a6a8aa")) * 1.1, albedo * 1.05
        )
        top = np.where(inner, height - rng.uniform(0.8, 4), height)
    else:
        top = height + 0.18 * (radius - r)
    rim = stripe(r - radius + 0.3, 0.5, pixel)
    albedo += (0.5 * rim)[..., None] * (_METAL * 1.1 - albedo)
    stair = stripe(window.v, 0.7, pixel) * (window.u > 0) * (r > radius * (0.1 if floating else 0.75))
    canvas.paint(window, mask, Id.TANK, albedo * (1 - 0.35 * stair)[..., None], top, height, thing=True)
    if rng.random() < 0.6:
        hatch = rectangle(window, 0.8, 0.8)
        canvas.tint(window, 0.6 * hatch, _METAL * 0.6)
    return True
