"""Photographs: kept in memory, encoded once, and segmented in one piece."""

from __future__ import annotations

import io
import zipfile
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from sgovss.data.labels import image_size, read_rgb
from sgovss.errors import InputError
from sgovss.inference.interactive import InteractiveSegmenter
from sgovss.inference.segmentation import Segmentation
from sgovss.page.answers import Download, Picture, View, jpeg, shares_csv, shares_json
from sgovss.page.asked import Asked
from sgovss.painting import class_shares, label_png

MOST_PIXELS = 64_000_000
"""Limit for one picture, because several pictures and their results are kept."""

LONGEST = 2048
"""Longest side in pixels of a picture for the screen."""


class PhotographDesk:
    """Holds photographs and segments them; see :class:`sgovss.page.answers.Desk`.

    Args:
        segmenter: holds the photographs.
    """

    def __init__(self, segmenter: InteractiveSegmenter) -> None:
        self._segmenter = segmenter

    def add(self, pixels: np.ndarray, title: str, note: str = "") -> Picture:
        """Keep a photograph, (H, W, 3) uint8 RGB."""
        height, width = pixels.shape[:2]
        return Picture(self._segmenter.add(pixels), width, height, title, note)

    def shrinks(self, pixels: np.ndarray) -> bool:
        """Whether a photograph (H, W, 3) would be segmented shrunk, because it is large."""
        return self._segmenter.shrinks(pixels)

    def preview(self, name: str) -> bytes:
        """Return a JPEG of the photograph for the screen."""
        pixels = self._segmenter.image(name)
        factor = LONGEST / max(pixels.shape[:2])
        if factor < 1:
            size = [max(1, round(side * factor)) for side in pixels.shape[1::-1]]
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        return jpeg(pixels)

    def view(self, asked: Asked) -> View:
        """Segment a photograph for the screen; the threshold is not applied."""
        asked = asked.without_threshold()
        ranking = self._segmenter.rank(asked.picture, asked.scored)
        labels = ranking.labels.numpy()
        return View(asked.legend, ranking, class_shares(labels, asked.legend), None, np.ones(labels.shape, bool))

    def labels(self, asked: Asked) -> Download:
        """Segment a photograph and return its label map as PNG."""
        result = self._segmentation(asked)
        return Download(io.BytesIO(label_png(result.labels, result.legend)), "labels.png", "image/png")

    def files(self, asked: Asked) -> Download:
        """Segment a photograph and return labels, overlay and shares as a zip."""
        result, buffer = self._segmentation(asked), io.BytesIO()
        overlay = io.BytesIO()
        Image.fromarray(result.overlay()).save(overlay, "PNG")
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("labels.png", label_png(result.labels, result.legend))
            archive.writestr("overlay.png", overlay.getvalue())
            archive.writestr("shares.json", shares_json(result.shares, None))
            archive.writestr("shares.csv", shares_csv(result.shares, None))
        buffer.seek(0)
        return Download(buffer, "segmentation.zip", "application/zip")

    def _segmentation(self, asked: Asked) -> Segmentation:
        return self._segmenter.segment(asked.picture, asked.vocabulary, asked.rejection)


def read_photograph(file: BinaryIO, name: str) -> np.ndarray:
    """Read an uploaded image as (H, W, 3) uint8 RGB.

    The number of pixels is checked before they are decoded, because a small file may hold more than fit into memory.

    Raises:
        InputError: the file is not an image, or has too many pixels.
    """
    height, width = image_size(file, name)
    refuse_large(height, width, name)
    file.seek(0)
    return read_rgb(file, name)


def tiff(pixels: np.ndarray) -> bytes:
    """Encode a photograph (H, W, 3) uint8 RGB as a TIFF file, for the scene engine."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "TIFF")
    return buffer.getvalue()


def refuse_large(height: int, width: int, name: str) -> None:
    """Refuse pictures that have too many pixels.

    Raises:
        InputError: more than :data:`MOST_PIXELS`.
    """
    if height * width > MOST_PIXELS:
        raise InputError(f"{name}: {width} x {height} pixels are too many for this page; use 'sgovss segment'")
