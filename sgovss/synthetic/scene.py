"""One generated scene: picture, mask and captions from a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sgovss.errors import InputError
from sgovss.synthetic.canvas import Canvas
from sgovss.synthetic.captions import write_captions
from sgovss.synthetic.country import farmland
from sgovss.synthetic.desert import desert
from sgovss.synthetic.leisure import draw_trees
from sgovss.synthetic.light import Conditions, photograph, pixel_labels
from sgovss.synthetic.styles import Style, get_style
from sgovss.synthetic.towns import commercial, park, residential
from sgovss.synthetic.waterside import harbour, river
from sgovss.synthetic.works import airport, industrial

SMALLEST_SIZE = 64
"""Pixels; below this a scene holds too little to be one."""

GENERATOR_VERSION = 3
"""Raised whenever a seed would give another scene than before."""

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
}


@dataclass(frozen=True, eq=False)
class Scene:
    """A generated aerial scene.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 ids into ``SYNTHETIC_CLASSES``; every pixel has one, shadows keep the class beneath.
        captions: five sentences about what the mask shows.
        gsd: ground sample distance, metres a pixel.
        kind: what place it is, such as ``airport``.
    """

    image: np.ndarray
    labels: np.ndarray
    captions: list[str]
    gsd: float
    kind: str


def generate_image(seed: int, size: int = 256, style: str = "a") -> Scene:
    """Draw the scene of a seed; the same arguments give the same bits.

    Args:
        seed: not negative; consecutive seeds run through the style's kinds in shuffled rounds.
        size: pixels a side, 64 or more; objects keep their size in metres and pixels, the view widens.
        style: name of a style in ``STYLES``.

    Raises:
        InputError: a negative seed, too small a size, an unknown style.
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
    return Scene(image, labels, captions, gsd, kind)


def check_request(seed: int, size: int, style: str) -> None:
    """Raise an InputError unless :func:`generate_image` takes these arguments."""
    if seed < 0:
        raise InputError(f"scene seed {seed} is negative; give 0 or more")
    if size < SMALLEST_SIZE:
        raise InputError(f"scene size {size} is too small; give {SMALLEST_SIZE} pixels or more")
    get_style(style)


def _kind_of(seed: int, style: Style) -> str:
    """Each round of as many seeds as there are entries holds every entry once, in an order of its own."""
    turn, place = divmod(seed, len(style.kinds))
    order = np.random.default_rng([turn, *style.name.encode(), 1]).permutation(len(style.kinds))
    return style.kinds[order[place]]
