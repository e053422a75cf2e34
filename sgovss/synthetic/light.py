"""Rendering of the canvas: sun, shadows, haze and sensor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from sgovss.synthetic.canvas import OVERSAMPLING, Canvas, fractal_noise
from sgovss.synthetic.classes import Id
from sgovss.synthetic.styles import Style


@dataclass(frozen=True)
class Conditions:
    """Conditions of a photograph. Angles are in radians, blur in pixels, the rest are fractions."""

    azimuth: float
    elevation: float
    ambient: float
    haze: float
    saturation: float
    warmth: float
    exposure: float
    gamma: float
    blur: float
    noise: float

    @classmethod
    def sample(cls, rng: np.random.Generator, style: Style) -> Conditions:
        """Draw the conditions of one image."""
        return cls(
            azimuth=float(rng.uniform(0, 2 * np.pi)),
            elevation=float(np.radians(rng.uniform(*style.sun_elevation))),
            ambient=float(rng.uniform(0.34, 0.5) if rng.random() < 0.85 else rng.uniform(0.6, 0.8)),
            haze=float(rng.uniform(*style.haze)),
            saturation=float(rng.uniform(*style.saturation)),
            warmth=float(rng.uniform(*style.warmth)),
            exposure=float(rng.uniform(0.88, 1.18)),
            gamma=float(rng.uniform(0.85, 1.15)),
            blur=float(rng.uniform(*style.blur)),
            noise=float(rng.uniform(*style.noise)),
        )


def photograph(canvas: Canvas, conditions: Conditions) -> np.ndarray:
    """Render the canvas: (size, size, 3) uint8 RGB."""
    light = _illumination(canvas, conditions)
    picture = _pixels(canvas.albedo * light)
    return _develop(picture, canvas.rng, conditions)


def pixel_labels(labels: np.ndarray) -> np.ndarray:
    """The most frequent class among the sub-pixels of each pixel; the first in reading order if there is a tie."""
    first, second, third, fourth = labels[::2, ::2], labels[::2, 1::2], labels[1::2, ::2], labels[1::2, 1::2]
    result = np.where(third == fourth, third, first)
    result = np.where((second == third) | (second == fourth), second, result)
    return np.where((first == second) | (first == third) | (first == fourth), first, result)


def _pixels(values: np.ndarray) -> np.ndarray:
    side = values.shape[0] // OVERSAMPLING
    return cv2.resize(values, (side, side), interpolation=cv2.INTER_AREA)


def _illumination(canvas: Canvas, conditions: Conditions) -> np.ndarray:
    """Illumination, (P, P, 3): bluish light of the sky everywhere, warm light of the sun outside the shadows."""
    toward = (math.cos(conditions.azimuth), math.sin(conditions.azimuth))
    slope_x = cv2.Sobel(canvas.relief, cv2.CV_32F, 1, 0, ksize=3, scale=1 / (8 * canvas.pixel))
    slope_y = cv2.Sobel(canvas.relief, cv2.CV_32F, 0, 1, ksize=3, scale=1 / (8 * canvas.pixel))
    slope_x, slope_y = np.clip(slope_x, -2, 2), np.clip(slope_y, -2, 2)
    cotangent = 1 / math.tan(conditions.elevation)
    facing = 1 - cotangent * (slope_x * toward[0] + slope_y * toward[1])
    facing = np.clip(facing / np.sqrt(1 + slope_x**2 + slope_y**2), 0, 1.45)
    facing[canvas.labels == Id.WATER] = 1
    direct = (1 - conditions.ambient) * facing * (1 - _shadow(canvas, toward, conditions.elevation))
    hollow = cv2.GaussianBlur(canvas.height, (0, 0), 1.5 / canvas.pixel) - canvas.height
    sky = conditions.ambient * (1 - 0.35 * np.clip(hollow / 6, 0, 1))
    blue = np.array([0.9, 0.98, 1.14], np.float32)
    warm = np.array([1.03, 1.0, 0.95], np.float32)
    return sky[..., None] * blue + direct[..., None] * warm


def _shadow(canvas: Canvas, toward: tuple[float, float], elevation: float) -> np.ndarray:
    """Fraction of the sun that is hidden, (P, P) float32.

    The top of a shadow gets lower with the distance from the object that casts it. The step doubles at each pass, so
    the number of passes grows with the logarithm of the distance.
    """
    top = canvas.height.copy()
    fall = canvas.pixel * math.tan(elevation)
    reach = float(canvas.height.max()) / fall
    step = 1.0
    while step <= 2 * reach and step < 2 * canvas.side:
        move = np.array([[1, 0, -toward[0] * step], [0, 1, -toward[1] * step]])
        moved = cv2.warpAffine(top, move, top.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        top = np.maximum(top, moved - fall * step)
        step *= 2
    hidden = np.clip((top - canvas.height - 0.15) / (1.5 * fall + 0.1), 0, 1)
    return cv2.GaussianBlur(hidden, (0, 0), 0.7)


def _develop(picture: np.ndarray, rng: np.random.Generator, conditions: Conditions) -> np.ndarray:
    """Apply haze, colour cast, exposure, blur and sensor noise."""
    side = picture.shape[0]
    grey = picture.mean(axis=2, keepdims=True)
    picture = grey + conditions.saturation * (picture - grey)
    picture = np.clip(picture * conditions.exposure, 0, None) ** np.float32(conditions.gamma)
    cast = np.array([1 + conditions.warmth, 1, 1 - conditions.warmth], np.float32)
    veil = np.array([0.74, 0.78, 0.82], np.float32)
    depth = conditions.haze * (1 + 0.15 * fractal_noise(rng, side, side, 2))[..., None]
    picture = picture * cast * (1 - depth) + veil * depth
    picture = cv2.GaussianBlur(picture, (0, 0), conditions.blur)
    shot = np.sqrt(np.clip(picture, 0.02, 1))
    picture = picture + conditions.noise * shot * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)
