"""One synthetic image with its mask and captions, drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sgovss.errors import InputError
from sgovss.synthetic.canvas import Canvas
from sgovss.synthetic.captions import write_captions
from sgovss.synthetic.country import farmland
from sgovss.synthetic.desert import desert
from sgovss.synthetic.greenhouses import greenhouses
from sgovss.synthetic.lakes import lake
from sgovss.synthetic.leisure import draw_trees
from sgovss.synthetic.light import Conditions, photograph, pixel_labels
from sgovss.synthetic.railway import railway
from sgovss.synthetic.settlements import desert_town, settlement
from sgovss.synthetic.styles import Style, get_style
from sgovss.synthetic.towns import commercial, park, residential
from sgovss.synthetic.waterside import harbour, river
from sgovss.synthetic.works import airport, industrial

SMALLEST_SIZE = 64
"""Smallest side of an image in pixels; smaller images would show too few objects."""

GENERATOR_VERSION = 3
"""Increased whenever the image of a seed changes."""

_LAYOUTS: dict[str, tuple[Callable[[Canvas], None], float, float]] = {
    "residential": (residential, 0.18, 0.42),
    "commercial": (commercial, 0.25, 0.6),
    "industrial": (industrial, 0.25, 0.8),
    "harbour": (harbour, 0.16, 0.7),
    "airport": (airport, 0.18, 0.65),
    "farmland": (farmland, 0.2, 1.0),
    "desert": (desert, 0.2, 1.0),
    "park": (park, 0.14, 0.45),
    "river": (river, 0.2, 0.8),
    "desert_town": (desert_town, 0.15, 0.8),
    "settlement": (settlement, 0.08, 0.5),
    "railway": (railway, 0.12, 0.6),
    "greenhouses": (greenhouses, 0.15, 0.8),
    "lake": (lake, 0.12, 1.0),
}


@dataclass(frozen=True, eq=False)
class SyntheticImage:
    """A synthetic aerial image.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 ids into ``SYNTHETIC_CLASSES``, in style d into ``WIDE_VOCABULARY``; every pixel has one. A
            pixel in shadow has the class of the ground.
        captions: five sentences about the classes in the mask.
        gsd: ground sample distance in metres per pixel.
        kind: the kind of place, such as ``airport``.
    """

    image: np.ndarray
    labels: np.ndarray
    captions: list[str]
    gsd: float
    kind: str


def generate_image(seed: int, size: int = 256, style: str = "a") -> SyntheticImage:
    """Draw the image of a seed. The same arguments always give exactly the same image.

    Args:
        seed: 0 or more. Consecutive seeds go through the kinds of the style in shuffled rounds.
        size: side in pixels, 64 or more. A larger image shows more ground; objects keep their size in pixels.
        style: name of a style in ``STYLES``.

    Raises:
        InputError: the seed is negative, the size too small, or the style unknown.
    """
    check_request(seed, size, style)
    look = get_style(style)
    rng = np.random.default_rng([seed, *style.encode()])
    kind = _kind_of(seed, look)
    lay_out, finest, coarsest = _LAYOUTS[kind]
    gsd = float(look.gsd_factor * np.exp(rng.uniform(np.log(finest), np.log(coarsest))))
    canvas = Canvas(rng, size, gsd, float(rng.uniform(0, 2 * np.pi)), look)
    lay_out(canvas)
    draw_trees(canvas)
    image = photograph(canvas, Conditions.sample(rng, look))
    labels = pixel_labels(canvas.labels)
    captions = write_captions(rng, labels, canvas.instances[::2, ::2], kind, smallest=6)
    return SyntheticImage(image, labels, captions, gsd, kind)


def check_request(seed: int, size: int, style: str) -> None:
    """Check the arguments of :func:`generate_image`.

    Raises:
        InputError: the seed is negative, the size too small, or the style unknown.
    """
    if seed < 0:
        raise InputError(f"seed {seed} is negative; give 0 or more")
    if size < SMALLEST_SIZE:
        raise InputError(f"size {size} is too small; give {SMALLEST_SIZE} pixels or more")
    get_style(style)


def _kind_of(seed: int, style: Style) -> str:
    """The kind of place of a seed. Each round of ``len(style.kinds)`` seeds has every entry once, in random order."""
    turn, place = divmod(seed, len(style.kinds))
    order = np.random.default_rng([turn, *style.name.encode(), 1]).permutation(len(style.kinds))
    return style.kinds[order[place]]
