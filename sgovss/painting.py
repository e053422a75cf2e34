"""Draw label maps: overlays with a legend, and label PNGs that other tools can read."""

from __future__ import annotations

import importlib.util
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sgovss.errors import InputError
from sgovss.files import atomic_path
from sgovss.label_ids import id_dtype, no_class_id
from sgovss.vocabulary import Vocabulary

_ENOUGH = 512  # pixels of the longer side; smaller pictures are enlarged
_WIDE = 1.5  # width / height; the legend of wider pictures is below them
_LONGEST_NAME = 32  # letters


def class_shares(labels: np.ndarray, vocabulary: Vocabulary) -> dict[str, float]:
    """Compute the fraction of all pixels that each class has.

    Args:
        labels: (H, W) integer class ids; :func:`no_class_id` for pixels without a class.
        vocabulary: the classes.

    Returns:
        class name -> fraction in 0..1, in the order of the vocabulary.

    Raises:
        InputError: an id is not in the vocabulary.
    """
    ids = _checked(labels, vocabulary, no_class_id(len(vocabulary)))
    counts = np.bincount(ids.reshape(-1), minlength=len(vocabulary))[: len(vocabulary)]
    return {name: float(count / ids.size) for name, count in zip(vocabulary.names, counts, strict=True)}


def draw_overlay(
    image: np.ndarray,
    labels: np.ndarray,
    vocabulary: Vocabulary,
    alpha: float = 0.5,
    ignore: int | None = None,
    shares: Sequence[float] | None = None,
) -> np.ndarray:
    """Paint classes over an image and add a legend. The legend lists the classes that occur, each with its percentage.

    Small images are enlarged 2 to 4 times. The legend is on the right, or below a wide image.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) integer class ids.
        vocabulary: the classes.
        alpha: opacity of the classes: 0 shows the image with the borders of the classes, 1 the classes only.
        ignore: id of the pixels that are not painted; by default :func:`no_class_id`.
        shares: (T,) fraction of the pixels of each class in 0..1; by default computed from the labels.

    Returns:
        (H', W', 3) uint8 RGB.

    Raises:
        InputError: image and labels differ in size, or an id is not in the vocabulary.
    """
    if image.shape[:2] != labels.shape:
        raise InputError(f"overlay: image is {image.shape[:2]} but labels are {labels.shape}; sizes must be equal")
    ignore = no_class_id(len(vocabulary)) if ignore is None else ignore
    ids = _checked(labels, vocabulary, ignore)
    colors = vocabulary.colors()
    if shares is None:
        counts = np.bincount(ids.reshape(-1), minlength=len(vocabulary))[: len(vocabulary)]
        shares = (counts / ids.size).tolist()
    entries = [
        _Entry(tuple(colors[index].tolist()), _short(vocabulary[index].name), _percent(shares[index]))
        for index in np.argsort(-np.asarray(shares), kind="stable").tolist()
        if shares[index]
    ]
    return _with_legend(paint(image, ids, colors, alpha), entries)


def save_label_png(path: str | Path, labels: np.ndarray, vocabulary: Vocabulary) -> None:
    """Write class ids as a PNG file; see :func:`label_png`.

    Raises:
        InputError: an id is not in the vocabulary, or the folder cannot be written to.
    """
    content = label_png(labels, vocabulary)
    with atomic_path(path) as partial:
        partial.write_bytes(content)


def label_png(labels: np.ndarray, vocabulary: Vocabulary) -> bytes:
    """Encode class ids as a PNG file whose pixel values are the ids.

    For up to 255 classes the file is 8-bit with a palette of the class colours; id 255 (no class) is black. For more
    classes it is 16-bit grey.

    Args:
        labels: (H, W) integer class ids; :func:`no_class_id` for pixels without a class.
        vocabulary: the classes.

    Returns:
        The content of the file.

    Raises:
        InputError: an id is not in the vocabulary.
    """
    without = no_class_id(len(vocabulary))
    _checked(labels, vocabulary, without)
    picture = Image.fromarray(labels.astype(id_dtype(len(vocabulary))))
    if without == 255:
        palette = np.zeros((256, 3), dtype=np.uint8)
        palette[: len(vocabulary)] = vocabulary.colors()
        picture.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class _Entry:
    """One line of a legend."""

    color: tuple[int, int, int]
    name: str
    share: str


def _checked(labels: np.ndarray, vocabulary: Vocabulary, ignore: int) -> np.ndarray:
    """Return the (H, W) ids as uint16, with T for pixels to ignore; raise an InputError for an unknown id."""
    count = len(vocabulary)
    without = labels == ignore
    stray = labels[~without & ((labels < 0) | (labels >= count))]
    if stray.size:
        raise InputError(
            f"labels: id {stray[0]} ({stray.size} stray pixels) is not in the vocabulary of {count} classes; "
            "use the vocabulary that the labels were made with"
        )
    return np.where(without, count, labels).astype(np.uint16)


def paint(image: np.ndarray, ids: np.ndarray, colors: np.ndarray, alpha: float) -> np.ndarray:
    """Paint classes over an image, without a legend.

    Args:
        image: (H, W, 3) uint8 RGB.
        ids: (H, W) uint16 class ids; pixels of id T are not painted.
        colors: (T, 3) uint8 RGB.
        alpha: as in :func:`draw_overlay`.

    Returns:
        (H', W', 3) uint8 RGB; small images are enlarged 2 to 4 times.
    """
    longest = max(ids.shape)
    factor = min(4, math.ceil(_ENOUGH / longest))
    size = (ids.shape[1] * factor, ids.shape[0] * factor)
    picture = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC) if factor > 1 else image
    ids = cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST) if factor > 1 else ids
    width = max(3, 2 * (max(size) // 1000) + 1)
    border = cv2.morphologyEx(ids, cv2.MORPH_GRADIENT, np.ones((width, width), np.uint8)) > 0
    paint = np.append(colors, [[0, 0, 0]], axis=0).astype(np.uint8)[ids]
    blended = cv2.addWeighted(picture, 1 - alpha, paint, alpha, 0)
    strong = min(1.0, alpha + 0.35)
    blended[border] = cv2.addWeighted(picture, 1 - strong, paint, strong, 0)[border]
    without = ids == len(colors)
    blended[without] = picture[without]
    return blended


def _with_legend(picture: np.ndarray, entries: list[_Entry]) -> np.ndarray:
    """Return a larger (H', W', 3) uint8 picture with a legend beside or below the given one."""
    height, width = picture.shape[:2]
    size = max(14, round(max(height, width) / 45))
    font = _font(size)
    line, gap = round(1.6 * size), round(0.6 * size)
    name_width = max((math.ceil(font.getlength(entry.name)) for entry in entries), default=0)
    share_width = math.ceil(font.getlength("100.0 %"))
    column = size + gap + name_width + gap + share_width + 2 * gap
    below = width > _WIDE * height
    if below:
        columns = max(1, (width - gap) // column)
    else:  # at most three columns, then the legend grows downwards
        columns = min(3, math.ceil(len(entries) / max(1, (height - 2 * gap) // line)))
    rows = math.ceil(len(entries) / max(columns, 1))
    columns = math.ceil(len(entries) / max(rows, 1))
    legend = (columns * column + gap, rows * line + 2 * gap) if entries else (0, 0)
    canvas = (max(width, legend[0]), height + legend[1]) if below else (width + legend[0], max(height, legend[1]))
    sheet = Image.new("RGB", canvas, "white")
    sheet.paste(Image.fromarray(picture), (0, 0))
    left, top = (gap, height + gap) if below else (width + gap, gap)
    draw = ImageDraw.Draw(sheet)
    for index, entry in enumerate(entries):
        corner = left + column * (index // rows), top + line * (index % rows) + line // 2
        _draw_entry(draw, entry, font, corner, column - 2 * gap)
    return np.array(sheet)


def _draw_entry(
    draw: ImageDraw.ImageDraw, entry: _Entry, font: ImageFont.FreeTypeFont, start: tuple[int, int], width: int
) -> None:
    """Draw swatch, name and share on one line; ``start`` is its left end at half height."""
    x, y = start
    size = font.size
    draw.rectangle((x, y - size // 2, x + size, y + size // 2), fill=entry.color, outline="black")
    draw.text((x + size + round(0.6 * size), y), entry.name, "black", font, anchor="lm")
    draw.text((x + width, y), entry.share, "#555555", font, anchor="rm")


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Pillow's default font lacks Greek and Cyrillic letters; the font in matplotlib has them.
    # The package is found, not imported: that takes as long as drawing the overlay.
    spec = importlib.util.find_spec("matplotlib")
    assert spec is not None and spec.origin is not None
    return ImageFont.truetype(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "<0.1 %"
