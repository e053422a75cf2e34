"""Test of the realism of synthetic images: a model that was trained on real images only classifies crops of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from research.pretraining.evaluation import ZeroShot
from sgovss.synthetic import SYNTHETIC_VOCABULARY, SyntheticImage, generate_image
from sgovss.synthetic.classes import COUNTABLE

CROP_SIDES = (128, 96, 64)
PURITY = 0.8
OBJECT_MARGIN = 1.5
SMALLEST_OBJECT = 12
INPUT_SIDE = 192


@dataclass(frozen=True)
class Crop:
    """A part of an image that shows mainly one class.

    Attributes:
        image: (s, s, 3) uint8 RGB.
        label: class id.
    """

    image: np.ndarray
    label: int


def crops_of_image(drawn: SyntheticImage, rng: np.random.Generator) -> list[Crop]:
    """Cut out at most one crop per class: a square of which the class covers at least 80 %.

    The side is the largest possible of 128, 96 and 64 pixels. If there is no such square and the class has countable
    objects, the crop is a square around one object. Its side is 1.5 times that of the object and at least 32 pixels.
    """
    found = []
    for label in np.unique(drawn.labels).tolist():
        mask = drawn.labels == label
        crop = _pure_square(mask, rng)
        if crop is None and label in {int(thing) for thing in COUNTABLE}:
            crop = _object_square(mask, rng)
        if crop is not None:
            top, left, side = crop
            found.append(Crop(drawn.image[top : top + side, left : left + side], label))
    return found


def _pure_square(mask: np.ndarray, rng: np.random.Generator) -> tuple[int, int, int] | None:
    """Return (top, left, side) of a random square, with the largest side at which the class covers enough of one."""
    sums = cv2.integral(mask.astype(np.uint8))
    for side in (side for side in CROP_SIDES if side <= min(mask.shape)):
        inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
        tops, lefts = np.nonzero(inside >= PURITY * side * side)
        if len(tops):
            chosen = rng.integers(len(tops))
            return int(tops[chosen]), int(lefts[chosen]), side
    return None


def _object_square(mask: np.ndarray, rng: np.random.Generator) -> tuple[int, int, int] | None:
    """Return (top, left, side) of a square around a random object that is large enough; it lies within the image."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    boxes = []
    for left, top, width, height, _ in stats[1:].tolist():
        side = max(32, round(OBJECT_MARGIN * max(width, height)))
        y, x = top + (height - side) // 2, left + (width - side) // 2
        inside = 0 <= y <= mask.shape[0] - side and 0 <= x <= mask.shape[1] - side
        if max(width, height) >= SMALLEST_OBJECT and inside:
            boxes.append((y, x, side))
    return boxes[rng.integers(len(boxes))] if boxes else None


def collect_crops(first_seed: int, count: int, size: int, style: str) -> Iterator[Crop]:
    """Yield the crops of the images of ``count`` consecutive seeds."""
    for seed in range(first_seed, first_seed + count):
        yield from crops_of_image(generate_image(seed, size, style), np.random.default_rng(seed))


def name_crops(zero_shot: ZeroShot, crops: list[Crop]) -> dict[str, tuple[int, int]]:
    """Classify each crop among the classes of synthetic images.

    Every crop is resized to 192 pixels. The embedding of a class is the mean over its name and synonyms.

    Returns:
        class name -> (number of correct crops, number of crops), for the classes that have crops.
    """
    classes = zero_shot.classes(entry.names for entry in SYNTHETIC_VOCABULARY)
    pixels = [cv2.resize(crop.image, (INPUT_SIDE, INPUT_SIDE), interpolation=cv2.INTER_CUBIC) for crop in crops]
    predicted = zero_shot.name_images(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2), classes)
    truth = torch.tensor([crop.label for crop in crops])
    total = F.one_hot(truth, len(classes)).sum(dim=0).tolist()
    right = F.one_hot(truth[predicted == truth], len(classes)).sum(dim=0).tolist()
    return {name: (r, n) for name, r, n in zip(SYNTHETIC_VOCABULARY.names, right, total, strict=True) if n}
