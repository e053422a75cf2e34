"""Banepa, Nepal: an orthophoto with outlines of buildings. Its upper half is for training, its lower half for scores.

Imagery of OpenAerialMap (CC BY 4.0), outlines of OpenStreetMap (ODbL).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import rasterio
from rasterio.errors import RasterioError

from sgovss.errors import InputError

FOLDER = "geo_buildings"
IGNORE = 255
WINDOW = 256
FACTORS = (1, 2, 3, 4)
"""Ground sample distances of the windows, in pixels of the orthophoto (0.13 m)."""

Half = tuple[np.ndarray, np.ndarray]
"""An image (H, W, 3) uint8 RGB, and its mask (H, W) uint8: 1 building, 0 something else, 255 unknown."""


def read_halves(data: Path) -> tuple[Half, Half]:
    """The upper and the lower half of the orthophoto.

    Raises:
        InputError: the orthophoto or its mask is missing or damaged.
    """
    folder = data / FOLDER
    image = np.ascontiguousarray(_read(folder / "banepa_train.tif").transpose(1, 2, 0))
    mask = _read(folder / "banepa_train_building.tif")[0]
    middle = len(mask) // 2
    return (image[:middle], mask[:middle]), (image[middle:], mask[middle:])


def _read(path: Path) -> np.ndarray:
    try:
        with rasterio.open(path) as raster:
            return raster.read()
    except RasterioError as error:
        raise InputError(f"{path}: not a readable orthophoto ({error}); give the folder that has {FOLDER}") from error


def cut_windows(image: np.ndarray, mask: np.ndarray) -> Half:
    """Cut overlapping windows at several ground sample distances: (N, 256, 256, 3) and (N, 256, 256)."""
    images, masks = [], []
    for factor in FACTORS:
        size = mask.shape[1] // factor, mask.shape[0] // factor
        if min(size) < WINDOW:
            break
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        small_mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
        for top in _starts(size[1]):
            for left in _starts(size[0]):
                window = np.s_[top : top + WINDOW, left : left + WINDOW]
                images.append(small[window])
                masks.append(small_mask[window])
    return np.stack(images), np.stack(masks)


def _starts(side: int) -> list[int]:
    """First pixels of windows that overlap by about a quarter and cover a side."""
    count = -(-(side - WINDOW) // (WINDOW * 3 // 4)) + 1
    return np.linspace(0, side - WINDOW, count).round().astype(int).tolist()


def best_threshold(scores: np.ndarray, mask: np.ndarray) -> float:
    """The threshold above which scores (H, W) float give the best IoU with the buildings of a mask."""
    known = mask != IGNORE
    order = np.argsort(-scores[known], kind="stable")
    right = np.cumsum(mask[known][order] == 1)
    predicted = np.arange(1, len(order) + 1)
    iou = right / (predicted + right[-1] - right)
    return float(scores[known][order[int(np.argmax(iou))]])


def building_iou(predicted: np.ndarray, mask: np.ndarray) -> float:
    """IoU of predicted buildings (H, W) bool with those of a mask, in per cent."""
    known, truth = mask != IGNORE, mask == 1
    return 100 * float((predicted & truth & known).sum() / ((predicted | truth) & known).sum())
