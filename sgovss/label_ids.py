"""The values of pixels without a class or without data, and the integer type of label maps."""

from __future__ import annotations

import numpy as np

IMAGE_PAD_VALUE = 128.0
"""The value, in all bands, of pixels without data in images."""


def no_class_id(num_classes: int) -> int:
    """The id of pixels without a class: 255, or 65535 if 255 can be the id of a class."""
    return 255 if num_classes <= 255 else 65535


def id_dtype(num_classes: int) -> type[np.unsignedinteger]:
    """The smallest unsigned type that holds the class ids and :func:`no_class_id`: uint8 or uint16."""
    return np.uint8 if num_classes <= 255 else np.uint16
