"""Ground surfaces: grass, soil, crops, water, concrete."""

from __future__ import annotations

import math

import cv2
import numpy as np

from sgovss.synthetic.canvas import Canvas, Window, stripe, textured
from sgovss.synthetic.classes import Id


def _blend(first: np.ndarray, second: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    return first + np.clip(opacity, 0, 1)[..., None] * (second - first)


def _tight(window: Window, mask: np.ndarray) -> tuple[Window, np.ndarray]:
    """The smallest part of a window that contains the whole mask, and the mask in it."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    part = np.s_[top : top + height, left : left + width]
    rows = slice(window.rows.start + top, window.rows.start + top + height)
    columns = slice(window.columns.start + left, window.columns.start + left + width)
    return Window(rows, columns, window.u[part], window.v[part]), mask[part]


def lay_grass(canvas: Canvas, window: Window, mask: np.ndarray, lush: float = 0.0) -> None:
    """Draw lawn or meadow with dry patches; ``lush`` (0..1) makes it greener and more even."""
    if not mask.any():
        return
    window, mask = _tight(window, mask)
    gain = canvas.style.texture * (1 - 0.6 * lush)
    patches = canvas.noise(30)[window.index]
    tufts = canvas.noise(2.5)[window.index]
    drought = canvas.dryness * (1 - lush) + 0.2 * (1 - 0.7 * lush) * (patches + 0.3 * tufts) - 0.05
    color = _blend(canvas.pick(canvas.style.grass), canvas.pick(canvas.style.dry), drought)
    fine = canvas.noise(0.6, 2)[window.index]
    color = color * (1 + 0.05 * gain * tufts + 0.07 * gain * fine + 0.04 * patches)[..., None]
    if lush and canvas.rng.random() < 0.5:
        mown = np.sign(np.sin(window.u * (2 * np.pi / canvas.rng.uniform(3, 7))))
        color = color * (1 + 0.035 * mown)[..., None]
    canvas.paint(window, mask, Id.GRASS, color)


def lay_soil(canvas: Canvas, window: Window, mask: np.ndarray, rough: float = 1.0) -> None:
    """Draw sand or earth with patches, gullies and some weeds."""
    if not mask.any():
        return
    window, mask = _tight(window, mask)
    gain = canvas.style.texture * rough
    patches, clods = canvas.noise(22)[window.index], canvas.noise(1.6)[window.index]
    gullies = np.exp(-((canvas.noise(14, 3)[window.index] / 0.12) ** 2))
    color = _blend(canvas.pick(canvas.style.soil), canvas.pick(canvas.style.soil), 0.5 + 0.5 * patches)
    color = color * (1 + gain * (0.04 * patches + 0.05 * clods - 0.06 * gullies))[..., None]
    weeds = 0.45 * (canvas.noise(5)[window.index] + 0.4 * clods > 1.7)
    color = _blend(color, canvas.pick(canvas.style.grass), weeds * (1 - canvas.dryness))
    canvas.paint(window, mask, Id.SOIL, color)


def lay_concrete(canvas: Canvas, window: Window, mask: np.ndarray, slab: float = 5.0, dark: bool = False) -> None:
    """Draw slabs of ``slab`` metres with joints and stains; ``dark`` gives the asphalt of a car park."""
    if not mask.any():
        return
    window, mask = _tight(window, mask)
    style, rng = canvas.style, canvas.rng
    color = canvas.pick(style.asphalt) * np.float32(1.08) if dark else canvas.pick(style.concrete)
    stains, grain = canvas.noise(9)[window.index], canvas.noise(0.7, 2)[window.index]
    albedo = textured(color, (0.03 * style.texture, stains), (0.03 * style.texture, grain))
    if not dark:
        tiles = rng.normal(1, 0.025, (32, 32)).astype(np.float32)
        column, row = np.floor(window.u / slab).astype(int), np.floor(window.v / slab).astype(int)
        albedo *= tiles[column % 32, row % 32][..., None]
        joints = stripe((window.u % slab) - slab / 2, 0.12, canvas.pixel)
        joints = np.maximum(joints, stripe((window.v % slab) - slab / 2, 0.12, canvas.pixel))
        albedo *= (1 - 0.25 * joints)[..., None]
    spots = np.clip(canvas.noise(3.5, 3)[window.index] - 1.9, 0, 1)
    albedo *= (1 - 0.25 * spots)[..., None]
    canvas.paint(window, mask, Id.PAVEMENT, albedo)


def lay_water(canvas: Canvas, window: Window, mask: np.ndarray, beach: float = 6.0) -> None:
    """Draw water with ripples. It is pale near the shore, over about ``beach`` metres, and darker further out."""
    if not mask.any():
        return
    window, mask = _tight(window, mask)
    style, rng = canvas.style, canvas.rng
    shore = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3) * np.float32(canvas.pixel)
    depth = 1 - np.exp(-shore / beach) + 0.08 * canvas.noise(25)[window.index]
    color = _blend(canvas.pick(style.shallow), canvas.pick(style.water, 0.12), depth)
    wind, length = rng.uniform(0, np.pi), rng.uniform(1.5, 5)
    phase = window.u * math.cos(wind) + window.v * math.sin(wind) + 1.2 * canvas.noise(8, 3)[window.index]
    visible = np.clip(length / (3 * canvas.pixel) - 0.4, 0, 1)
    waves = visible * np.sin(phase * np.float32(2 * np.pi / length)) * (0.6 + 0.4 * canvas.noise(18)[window.index])
    strength = rng.uniform(0.01, 0.05)
    gleam = rng.uniform(0, 0.05) * np.clip(canvas.noise(1.5, 2)[window.index] - 1, 0, 2)
    color = textured(color, (strength, waves), (0.035, canvas.noise(25)[window.index]))
    foam = np.clip(1 - shore / 0.8, 0, 1) * rng.uniform(0, 0.25)
    canvas.paint(window, mask, Id.WATER, color + (gleam + foam)[..., None])


def lay_crops(canvas: Canvas, window: Window, mask: np.ndarray) -> None:
    """Draw a field: rows of one crop, wheel tracks, and patches of poor growth."""
    if not mask.any():
        return
    window, mask = _tight(window, mask)
    style, rng = canvas.style, canvas.rng
    plant, earth = canvas.pick(style.crops, 0.12), canvas.pick(style.soil, 0.1)
    spacing = float(rng.choice([0.75, 1.2, 2.0, 3.2, 4.5]))
    if spacing < 6 * canvas.pixel and rng.random() < 0.75:
        spacing = float(rng.uniform(6, 11)) * canvas.pixel  # beds or swaths of several rows
    bend = rng.uniform(0, 0.6) * canvas.noise(60, 2)[window.index] + 0.12 * canvas.noise(3)[window.index]
    across = window.v + np.float32(rng.uniform(0, 1)) * bend
    rows = 0.5 + 0.5 * np.sin(across * np.float32(2 * np.pi / spacing))
    visible = np.clip(spacing / (2.5 * canvas.pixel) - 0.5, 0, 1)
    contrast = rng.uniform(0.25, 0.9)
    broad = 0.5 + 0.5 * np.sin(across * np.float32(2 * np.pi / (spacing * rng.uniform(6, 11))))
    patches, clumps = canvas.noise(35)[window.index], canvas.noise(1.8)[window.index]
    bare = contrast * visible * rows + 0.22 * (1 - visible) * broad + 0.08 * (patches + 0.4 * clumps) - 0.05
    color = _blend(plant, earth * np.float32(0.9), bare)
    color = textured(
        color, (0.04, patches), (0.045 * style.texture, clumps), (0.06, canvas.noise(0.6, 2)[window.index])
    )
    if rng.random() < 0.6:
        gauge = rng.uniform(12, 24)
        lane = (window.v % gauge) - gauge / 2
        wheels = stripe(lane - 0.9, 0.5, canvas.pixel) + stripe(lane + 0.9, 0.5, canvas.pixel)
        color = _blend(color, earth, 0.6 * np.clip(wheels, 0, 1))
    tall = 0.5 * rows * visible * (1 - contrast / 2)
    canvas.paint(window, mask, Id.FARMLAND, color, 0.25 * tall)
