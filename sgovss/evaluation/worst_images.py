"""A web page with the worst images of each class of a test set, in one file."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from sgovss.evaluation import metrics
from sgovss.evaluation.image_counts import ImageCounts
from sgovss.files import atomic_path
from sgovss.painting import paint
from sgovss.vocabulary import Vocabulary

_SIDE = 380  # pixels of a picture's longer side
_PAINTED = 0.55
_STYLE = (
    "body{font:15px/1.4 system-ui,sans-serif;margin:24px;color:#222}h2{margin:28px 0 4px}"
    "figure{display:inline-block;margin:8px 16px 8px 0}figcaption{max-width:1160px;overflow-wrap:anywhere}"
    ".row{display:flex;gap:6px}.row div{background-size:cover}"
    ".swatch{display:inline-block;width:12px;height:12px;margin:0 4px 0 12px;border:1px solid #888}"
)


class WorstImage(NamedTuple):
    """An image and one class.

    Attributes:
        name: of the image, as in the counts.
        iou: of the class in this image, in percent.
        missed: pixels of the class that have another class in the prediction.
        false: pixels of other classes that have this class in the prediction.
    """

    name: str
    iou: float
    missed: int
    false: int


class Triple(NamedTuple):
    """What the page shows of an image.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        truth, prediction: (H, W) integer class ids; other values for pixels without a class.
    """

    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


def worst_images(counts: ImageCounts, number: int) -> dict[str, list[WorstImage]]:
    """Find the images that lower the IoU of each class most: those with the most wrong pixels of the class.

    An image with the lowest IoU may have only a few pixels of the class, which hardly matter.

    Args:
        counts: of a test set of T classes.
        number: images for each class, at most.

    Returns:
        the images by class, the worst first; none for a class without a wrong pixel.
    """
    names = sorted(counts.images)
    correct, true, predicted = counts.array().transpose(1, 0, 2)  # (N, T) each
    missed, false = true - correct, predicted - correct
    found: dict[str, list[WorstImage]] = {}
    for index, label in enumerate(counts.classes):
        wrong = (missed + false)[:, index]
        order = np.argsort(-wrong, kind="stable")[:number]
        found[label] = [
            WorstImage(
                names[row],
                100 * float(correct[row, index] / (correct[row, index] + wrong[row])),
                int(missed[row, index]),
                int(false[row, index]),
            )
            for row in order
            if wrong[row]
        ]
    return found


def write_page(
    path: Path, counts: ImageCounts, number: int, vocabulary: Vocabulary, load: Callable[[str], Triple]
) -> None:
    """Write the page: for each class its worst images, each with its label and its prediction.

    Args:
        path: the HTML file. It refers to no other file.
        counts: of the test set.
        number: images for each class, at most.
        vocabulary: the T classes, for their colours.
        load: returns what is shown of an image of the counts; called once for each image.

    Raises:
        InputError: the folder cannot be written to.
    """
    worst = worst_images(counts, number)
    places = {
        name: place for place, name in enumerate(dict.fromkeys(each.name for of in worst.values() for each in of))
    }
    rules = [rule for name, place in places.items() for rule in _rules(place, load(name), vocabulary)]
    iou = metrics.scores_of_counts(counts.array().sum(axis=0)).iou
    sections = [
        _section(label, metrics.plain(value), worst[label], places)
        for label, value in zip(counts.classes, iou, strict=True)
    ]
    title = f"{escape(counts.dataset)}: worst images of each class"
    with atomic_path(path) as partial:
        partial.write_text(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
            f"<style>{_STYLE}{''.join(rules)}</style><h1>{title}</h1>"
            "<p>The images with the most wrong pixels of a class, missed or false. From left to right: the image, its "
            f"label, the prediction. Pixels without a class are not painted.</p><p>{_legend(vocabulary)}</p>"
            f"{''.join(sections)}</html>\n",
            encoding="utf-8",
        )


def _section(label: str, iou: float | None, images: Sequence[WorstImage], places: Mapping[str, int]) -> str:
    heading = f"<h2>{escape(label)}: {'undefined' if iou is None else f'IoU {iou:.2f}'}</h2>"
    return heading + ("".join(_figure(each, places[each.name]) for each in images) or "<p>No wrong pixel.</p>")


def _figure(each: WorstImage, place: int) -> str:
    pictures = "".join(
        f'<div class="p{place}{part}" role="img" aria-label="{title}"></div>'
        for part, title in zip("abc", ("image", "label", "prediction"), strict=True)
    )
    caption = f"{escape(each.name)}: IoU {each.iou:.2f}, {each.missed:,} pixels missed, {each.false:,} false"
    return f'<figure><div class="row">{pictures}</div><figcaption>{caption}</figcaption></figure>'


def _legend(vocabulary: Vocabulary) -> str:
    return "".join(
        f'<span class="swatch" style="background:rgb({red},{green},{blue})"></span>{escape(name)}'
        for name, (red, green, blue) in zip(vocabulary.names, vocabulary.colors().tolist(), strict=True)
    )


def _rules(place: int, triple: Triple, vocabulary: Vocabulary) -> list[str]:
    """Style rules with the three pictures, so that a picture that is shown for several classes is there once."""
    colors = vocabulary.colors()
    nothing = np.full(triple.truth.shape, len(colors))
    rules = []
    for part, ids in zip("abc", (nothing, triple.truth, triple.prediction), strict=True):
        known = np.where((ids >= 0) & (ids < len(colors)), ids, len(colors)).astype(np.uint16)
        picture = Image.fromarray(paint(triple.image, known, colors, _PAINTED))
        picture.thumbnail((_SIDE, _SIDE))
        content = io.BytesIO()
        picture.save(content, format="JPEG", quality=85)
        data = base64.b64encode(content.getvalue()).decode("ascii")
        size = f"width:{picture.width}px;height:{picture.height}px"
        rules.append(f".p{place}{part}{{{size};background-image:url(data:image/jpeg;base64,{data})}}")
    return rules
