"""Limits of image size and number of classes, so that the scores fit into memory."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from sgovss.data.labels import image_size
from sgovss.errors import InputError

_MAX_SCORES = 400_000_000  # pixels times classes in one piece; about 6 GB with the activations of the encoder
_FEWEST_CLASSES = 16  # up to this number of classes the encoder needs more memory than the scores


def classes_at_once(size: tuple[int, int]) -> int:
    """Return the largest number of classes that an image can be segmented into in one piece.

    Args:
        size: (height, width) of the image in pixels.

    Returns:
        the number of classes; 0 if the image is too large for any number.
    """
    fitting = _MAX_SCORES // (size[0] * size[1])
    return fitting if fitting >= _FEWEST_CLASSES else 0


def needs_windows(path: Path, classes: int) -> bool:
    """Whether an image file is too large to be segmented in one piece.

    Raises:
        InputError: the file is not an image.
    """
    try:
        return classes_at_once(image_size(path)) < classes
    except InputError as error:
        if isinstance(error.__cause__, Image.DecompressionBombError):
            return True
        raise
