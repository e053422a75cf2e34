"""Trees, sports courts and swimming pools."""

from __future__ import annotations

from collections.abc import Collection

import cv2
import numpy as np

from sgovss.synthetic.buildings import FREE_GROUND
from sgovss.synthetic.canvas import Canvas, rectangle, stripe, textured
from sgovss.synthetic.classes import Id
from sgovss.synthetic.styles import rgb

_WHITE, _COPING = rgb("eceee8", "d8d2c4")
_POOL_WATER = rgb("4fb8c8", "5cc4d8", "3fa0c0", "6fd0d0", "48b0a8")


def add_trees(
    canvas: Canvas, points: np.ndarray, allowed: Collection[int] = (Id.GRASS, Id.SOIL), scale: float = 1.0
) -> None:
    """Add trees at world points (N, 2) on allowed ground. :func:`draw_trees` draws them later."""
    for x, y in points:
        radius = scale * canvas.rng.uniform(*canvas.style.crown_radius)
        label = canvas.label_at(x, y)
        if label in allowed or (label is None and max(abs(x), abs(y)) < canvas.reach + radius):
            canvas.trees.append((float(x), float(y), float(radius)))


def scatter(canvas: Canvas, count: float, spread: float | None = None, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    """About ``count`` random points (N, 2): over the whole image, or in a clump of ``spread`` metres around (x, y)."""
    number = int(canvas.rng.poisson(count))
    if spread is None:
        return canvas.rng.uniform(-canvas.reach, canvas.reach, (number, 2))
    return canvas.rng.normal((x, y), spread, (number, 2))


def draw_trees(canvas: Canvas) -> None:
    """Draw the crowns of all planted trees. A point belongs to the nearest trunk if it is within the crown's radius."""
    if not canvas.trees:
        return
    trees = np.array(canvas.trees, np.float32)
    column, row = canvas.to_pixels(trees[:, 0], trees[:, 1])
    margin = int(trees[:, 2].max() / canvas.pixel) + 2
    side = canvas.side + 2 * margin
    column, row = np.rint(column).astype(int) + margin, np.rint(row).astype(int) + margin
    inside = (column >= 0) & (row >= 0) & (column < side) & (row < side)
    trees, column, row = trees[inside], column[inside], row[inside]
    if not len(trees):
        return
    empty = np.ones((side, side), np.uint8)
    empty[row, column] = 0
    distance, nearest = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    order = np.zeros(nearest.max() + 1, np.int64)
    order[nearest[row, column]] = np.arange(len(trees))
    inner = slice(margin, margin + canvas.side)
    place = np.nonzero(distance[inner, inner] < 1.6 * trees[:, 2].max() / canvas.pixel)
    owner = order[nearest[inner, inner][place]]
    r = np.hypot(canvas.x[place] - trees[owner, 0], canvas.y[place] - trees[owner, 1]) / trees[owner, 2]
    leafage = canvas.noise(1.5, 3)[place]
    t = r * (1 + 0.16 * leafage)
    crown = t < 1
    place = place[0][crown], place[1][crown]
    _draw_crowns(canvas, place, trees[:, 2], owner[crown], t[crown], leafage[crown])


def _draw_crowns(
    canvas: Canvas,
    place: tuple[np.ndarray, np.ndarray],
    radii: np.ndarray,
    owner: np.ndarray,
    t: np.ndarray,
    leafage: np.ndarray,
) -> None:
    """Paint the points of the crowns.

    Args:
        place: rows and columns of the N points.
        radii: crown radius of each tree, metres.
        owner: (N,) index of each point's tree.
        t: (N,) distance from the trunk, 1 at the edge of the crown.
        leafage: (N,) noise.
    """
    rng, radius = canvas.rng, radii[owner]
    twigs = canvas.noise(0.5, 2)[place]
    conifer = (rng.random(len(radii)) < 0.25)[owner]
    dome = np.where(conifer, 1.6 * (1 - t), np.sqrt(np.clip(1 - t * t, 0, 1)))
    height = radius * (0.7 + 0.9 * dome) + 0.22 * np.sqrt(radius) * (leafage + 0.5 * twigs)
    gaps = np.clip(-0.9 - leafage, 0, 1)
    shade = 1 + 0.10 * canvas.style.texture * leafage + 0.09 * twigs - 0.35 * gaps + 0.25 * (dome - 0.6)
    height = np.maximum(height, 0.8)
    canvas.albedo[place] = _crown_colors(canvas, len(radii))[owner] * shade[:, None]
    canvas.labels[place] = Id.TREE
    canvas.height[place] = height
    canvas.relief[place] = height
    canvas.instances[place] = -1 - owner


def _crown_colors(canvas: Canvas, count: int) -> np.ndarray:
    """Colours of ``count`` trees around one mean, some of them in autumn colours: (count, 3)."""
    rng, style = canvas.rng, canvas.style
    leaves = style.leaves[rng.integers(len(style.leaves), size=count)]
    mean = canvas.pick(style.leaves, 0.1)
    colors = (0.45 * leaves + 0.55 * mean) * rng.uniform(0.85, 1.2, (count, 1))
    if rng.random() < style.autumn_fraction:
        turned = rng.random(count) < rng.uniform(0.2, 0.8)
        autumn = style.autumn[rng.integers(len(style.autumn), size=count)]
        colors[turned] = autumn[turned] * rng.uniform(0.85, 1.15, (count, 1))[turned]
    return colors.astype(np.float32)


def add_court(
    canvas: Canvas, x: float, y: float, angle: float, kind: str = "tennis", ground: Collection[int] = FREE_GROUND
) -> bool:
    """Draw a tennis or basketball court with its margin. Returns False if there is no free ground."""
    pixel = canvas.pixel
    half_u, half_v = (17.0, 8.8) if kind == "tennis" else (15.2, 8.8)
    window = canvas.window(x, y, angle, half_u + 0.3, half_v + 0.3)
    if window is None:
        return False
    mask = rectangle(window, half_u, half_v)
    if not mask.any() or not canvas.is_free(window, mask, ground):
        return False
    outer, inner = canvas.pick(canvas.style.court, 0.08), canvas.pick(canvas.style.court, 0.08)
    wear = ((0.03, canvas.noise(5)[window.index]), (0.03, canvas.noise(0.6, 2)[window.index]))
    field_u, field_v = (11.9, 5.5) if kind == "tennis" else (14.0, 7.5)
    playing = rectangle(window, field_u, field_v)
    albedo = np.where(playing[..., None], textured(inner, *wear), textured(outer, *wear))
    lines = _court_lines(np.abs(window.u), window.v, kind, pixel)
    albedo += (0.9 * lines)[..., None] * (_WHITE - albedo)
    canvas.paint(window, mask, Id.COURT, albedo, thing=True)
    if kind == "tennis":
        net = stripe(window.u, 0.15, pixel) * (np.abs(window.v) < 6.2)
        canvas.tint(window, 0.6 * net, _WHITE * 0.25)
        canvas.height[window.index] += np.float32(1.0) * (net > 0.4)
    return True


def _court_lines(u: np.ndarray, v: np.ndarray, kind: str, pixel: float) -> np.ndarray:
    """Coverage (0..1) by the lines of a court; u is the distance from the middle line."""
    side = np.abs(v)
    if kind == "tennis":
        lines = [
            stripe(side - 5.49, 0.14, pixel) * (u < 11.9),
            stripe(side - 4.11, 0.12, pixel) * (u < 11.9),
            stripe(u - 11.88, 0.16, pixel) * (side < 5.5),
            stripe(u - 6.4, 0.12, pixel) * (side < 4.1),
            stripe(v, 0.12, pixel) * (u < 6.4),
        ]
    else:
        hoop = np.hypot(u - 12.6, v)
        lines = [
            stripe(side - 7.5, 0.14, pixel) * (u < 14),
            stripe(u - 14.0, 0.14, pixel) * (side < 7.5),
            stripe(u, 0.12, pixel) * (side < 7.5),
            stripe(np.hypot(u, v) - 1.8, 0.12, pixel),
            stripe(hoop - 6.75, 0.12, pixel) * (u < 13.2),
            stripe(side - 2.45, 0.12, pixel) * (u > 8.2) * (u < 14),
            stripe(u - 8.2, 0.12, pixel) * (side < 2.45),
        ]
    return np.maximum.reduce(lines)


def add_pool(canvas: Canvas, x: float, y: float, angle: float, length: float, shape: str) -> bool:
    """Draw a swimming pool with a paved rim. Returns False if there is no free ground.

    ``shape`` is ``rectangle``, ``round`` or ``kidney``.
    """
    rng, pixel = canvas.rng, canvas.pixel
    half = length / 2
    across = half * (1.0 if shape == "round" else rng.uniform(0.45, 0.6))
    window = canvas.window(x, y, angle, half + 2.2, across + 2.2)
    if window is None:
        return False
    a, b = window.u / half, window.v / across
    if shape == "rectangle":
        inside = np.minimum(half - np.abs(window.u), across - np.abs(window.v))
    elif shape == "round":
        inside = half - np.hypot(window.u, window.v)
    else:
        inside = (1 - np.sqrt(a**2 + (b - 0.35 * np.cos(2.6 * a) + 0.15) ** 2)) * across
    deck = inside > -rng.uniform(0.8, 2.0)
    mask = inside >= 0
    if not mask.any() or not canvas.is_free(window, deck, FREE_GROUND):
        return False
    canvas.paint(
        window,
        deck,
        Id.PAVEMENT,
        textured(canvas.pick(canvas.style.concrete), (0.04, canvas.noise(0.7, 2)[window.index])),
        0.05,
    )
    deep = np.clip(inside / across, 0, 1) * 0.25 + 0.08 * a
    ripple = np.abs(canvas.noise(1.2, 2)[window.index])
    albedo = textured(canvas.pick(_POOL_WATER, 0.08), (-1.0, deep), (0.07, 1 - ripple))
    if length > 18:
        lanes = stripe((window.v % 2.4) - 1.2, 0.25, pixel)
        albedo *= (1 - 0.45 * lanes * (np.abs(a) < 0.92))[..., None]
    canvas.paint(window, mask, Id.POOL, albedo, thing=True)
    edge = stripe(inside, 0.35, pixel)
    canvas.tint(window, 0.8 * edge * (deck & ~mask), _COPING)
    return True
