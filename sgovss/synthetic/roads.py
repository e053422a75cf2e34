"""Roads with kerbs, pavements, lane markings and crossings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sgovss.synthetic.canvas import Canvas, Window, stripe, textured
from sgovss.synthetic.classes import Id
from sgovss.synthetic.styles import rgb

_WHITE, _YELLOW = rgb("e6e6e0")[0], rgb("d8b848")[0]


@dataclass(frozen=True)
class Path:
    """A sine curve through (x, y) along ``angle``. Lengths are in metres, angles in radians."""

    x: float
    y: float
    angle: float = 0.0
    amplitude: float = 0.0
    wavelength: float = 200.0
    phase: float = 0.0

    def _swing(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sideways offset and slope of the curve at s metres along it."""
        pace = 2 * np.pi / self.wavelength
        turn = np.asarray(s, np.float32) * np.float32(pace) + np.float32(self.phase)
        offset = self.amplitude * (np.sin(turn) - np.sin(self.phase))
        return offset.astype(np.float32), (self.amplitude * pace * np.cos(turn)).astype(np.float32)

    def coordinates(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Metres along the curve and to its left, for every point of a window in world coordinates."""
        cos, sin = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        dx, dy = window.u - np.float32(self.x), window.v - np.float32(self.y)
        s, across = cos * dx + sin * dy, cos * dy - sin * dx
        if not self.amplitude:
            return s, across
        offset, slope = self._swing(s)
        return s, (across - offset) / np.sqrt(1 + slope**2)

    def point(self, s: float, d: float) -> tuple[float, float, float]:
        """World x, y and heading at s metres along the curve and d metres to its left."""
        offset, slope = (float(value) for value in self._swing(np.float32(s)))
        turn = np.arctan(slope)
        u, v = s - d * np.sin(turn), offset + d * np.cos(turn)
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return self.x + cos * u - sin * v, self.y + sin * u + cos * v, self.angle + turn


@dataclass(frozen=True)
class Road:
    """A path with a width, a number of lanes and a pavement on both sides; metres."""

    path: Path
    width: float = 7.0
    lanes: int = 2
    pavement: float = 1.8
    marked: bool = True


def lay_roads(canvas: Canvas, roads: Sequence[Road]) -> None:
    """Draw a road network: pavements, then asphalt, then markings outside the junctions."""
    color = canvas.pick(canvas.style.asphalt)
    grain, stains = canvas.noise(0.6, 2), canvas.noise(12)
    asphalt = textured(color, (0.035 * canvas.style.texture, grain), (0.04, stains))
    walk = textured(canvas.pick(canvas.style.concrete), (0.04, stains), (0.04, grain))
    strips = [(road, *strip) for road in roads if (strip := _strip(canvas, road)) is not None]
    covers = np.zeros(canvas.labels.shape, np.int8)
    for road, window, _, d in strips:
        covers[window.index] += np.abs(d) <= road.width / 2
        if road.pavement:
            near = np.abs(d) <= road.width / 2 + road.pavement
            canvas.paint(window, near, Id.PAVEMENT, walk[window.index], 0.12)
    for road, window, _, d in strips:
        shade = asphalt[window.index] * np.float32(canvas.rng.uniform(0.94, 1.06))
        canvas.paint(window, np.abs(d) <= road.width / 2, Id.ROAD, shade)
    for road, window, s, d in strips:
        alone = (covers[window.index] == 1) & (np.abs(d) <= road.width / 2)
        _wear(canvas, window, road, d, alone)
        if road.marked:
            _mark(canvas, window, road, s, d, alone)


def _strip(canvas: Canvas, road: Road) -> tuple[Window, np.ndarray, np.ndarray] | None:
    """The window around a road, with the coordinates along and across it; None outside the image."""
    path = road.path
    along = 2 * canvas.reach + float(np.hypot(path.x, path.y))
    window = canvas.window(path.x, path.y, path.angle, along, road.width / 2 + road.pavement + 2 * path.amplitude)
    if window is None:
        return None
    return window, *path.coordinates(Window(*window.index, canvas.x[window.index], canvas.y[window.index]))


def _wear(canvas: Canvas, window: Window, road: Road, d: np.ndarray, where: np.ndarray) -> None:
    """Draw darker wheel tracks in each lane and lighter dust along the kerb."""
    lane = road.width / road.lanes
    within = ((d + road.width / 2) % lane) - lane / 2
    track = np.exp(-((within / (0.25 * lane)) ** 2))
    canvas.tint(window, where * 0.14 * track, canvas.pick(canvas.style.asphalt) * np.float32(0.7))
    kerb = np.clip(1 - (road.width / 2 - np.abs(d)) / 0.5, 0, 1)
    canvas.tint(window, where * 0.35 * kerb, canvas.pick(canvas.style.concrete))


def _mark(canvas: Canvas, window: Window, road: Road, s: np.ndarray, d: np.ndarray, where: np.ndarray) -> None:
    rng, pixel = canvas.rng, canvas.pixel
    fading = 0.75 + 0.2 * np.clip(canvas.noise(4, 3)[window.index], -1, 1)
    dashes = (s % 9.0) < 3.5
    lane = road.width / road.lanes
    middle_yellow = rng.random() < 0.5
    for index in range(1, road.lanes):
        offset = d + road.width / 2 - index * lane
        middle = 2 * index == road.lanes
        if middle and middle_yellow:
            line, color = stripe(np.abs(offset) - 0.15, 0.12, pixel), _YELLOW
        else:
            line, color = stripe(offset, 0.15, pixel) * (dashes if not middle or rng.random() < 0.6 else 1), _WHITE
        canvas.tint(window, where * fading * line, color)
    if road.lanes > 2 or rng.random() < 0.4:
        edge = stripe(np.abs(d) - road.width / 2 + 0.35, 0.15, pixel)
        canvas.tint(window, where * fading * edge, _WHITE)


def zebra(canvas: Canvas, road: Road, s: float) -> None:
    """Draw a zebra crossing at s metres along a road."""
    x, y, heading = road.path.point(s, 0)
    window = canvas.window(x, y, heading, 1.6, road.width / 2)
    if window is None:
        return
    on = (np.abs(window.u) < 1.5) & (np.abs(window.v) < road.width / 2 - 0.3) & (canvas.labels[window.index] == Id.ROAD)
    canvas.tint(window, 0.85 * on * stripe((window.v % 1.0) - 0.5, 0.5, canvas.pixel), _WHITE)
