"""All channels of a label image as they are stored, where Pillow keeps 8 of 16 bits or leaves channels out."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from sgovss.data.file_kinds import first_bytes
from sgovss.data.gdal_images import gdal_channels, is_tiff
from sgovss.errors import InputError

_STEP = 257  # from 8 to 16 bits, 255 becomes 65535


def stored_channels(file: str | Path | BinaryIO, source: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a label image that Pillow opens, or a TIFF, with all channels.

    Returns:
        (H, W, C) array of the type in the file, red first, without alpha; the (H, W) alpha channel, if there is one.

    Raises:
        InputError: the file cannot be read, has more than four channels, or is a TIFF and rasterio is missing.
    """
    if is_tiff(first_bytes(file)):
        return gdal_channels(file, source)
    if isinstance(file, str | Path):
        content = Path(file).read_bytes()
    else:
        file.seek(0)
        content = file.read()
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise InputError(f"{source}: cannot read this label image; save it as PNG with 8 bits a channel")
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return pixels[..., 2::-1], pixels[..., 3] if pixels.shape[2] > 3 else None


def eight_bit_colors(channels: np.ndarray, source: str) -> np.ndarray:
    """Convert colours (H, W, C) of more than 8 bits to (H, W, C) int32 from 0 to 255, without rounding.

    Raises:
        InputError: the values are neither 0 to 255 nor multiples of 257, which stand for them in 16 bits.
    """
    if channels.dtype.kind in "ui" and channels.min() >= 0:
        if channels.max() <= 255:
            return channels.astype(np.int32)
        if channels.max() <= 255 * _STEP and not (channels % _STEP).any():
            return (channels // _STEP).astype(np.int32)
    raise InputError(
        f"{source}: label image with colours of more than 8 bits a channel, up to {channels.max()}; write the colours "
        "of the dataset file as 8 bits, each from 0 to 255"
    )
