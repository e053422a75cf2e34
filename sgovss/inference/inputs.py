"""Images as users name or pass them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from sgovss.data.labels import read_rgb, rgb_of
from sgovss.data.listing import IMAGE_SUFFIXES, list_images
from sgovss.errors import InputError

RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".img")
_SUFFIXES = tuple(dict.fromkeys((*IMAGE_SUFFIXES, *RASTER_SUFFIXES)))

ImageInput: TypeAlias = "np.ndarray | Image.Image | str | os.PathLike[str]"
"""An image as Python code gives it; see :func:`rgb_pixels`."""


def rgb_pixels(image: ImageInput) -> np.ndarray:
    """Return the pixels of an image that Python code gives.

    Args:
        image: an array (H, W, 3) uint8 RGB, a PIL image, or the path of an image file. The orientation in the EXIF data
            of an image is applied.

    Returns:
        (H, W, 3) uint8 RGB; an array is not copied.

    Raises:
        InputError: it is none of these, has another shape or type or no pixel, or the file cannot be read.
    """
    if isinstance(image, str | os.PathLike):
        return read_rgb(Path(image).expanduser(), str(image))
    pixels = rgb_of(image, "image") if isinstance(image, Image.Image) else image
    if not isinstance(pixels, np.ndarray):
        raise InputError(
            "image: expected an array (H, W, 3) uint8 RGB, a PIL image or the path of an image file, not "
            f"{type(image).__name__}"
        )
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise InputError(f"image: expected (H, W, 3) uint8 RGB, not {pixels.shape} {pixels.dtype}")
    return pixels


def find_images(inputs: Sequence[str | Path], without: str | Path | None = None) -> dict[Path, Path]:
    """Find the image files among files and folders, and name the outputs of each.

    Args:
        inputs: image and raster files, and folders that are searched with their subfolders.
        without: a folder to skip, such as that of the outputs.

    Returns:
        path of the image -> relative path of its outputs, without suffix.

    Raises:
        InputError: a path does not exist, a folder has no image, or the outputs of two images have the same name.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, inputs):
        if path.is_dir():
            files = [file for file in list_images(path, _SUFFIXES) if not _below(file, without)]
            found.update({file: file.relative_to(path).with_suffix("") for file in files})
        elif path.is_file():
            found[path] = Path(path.stem)
        else:
            raise InputError(f"{path}: no such file or folder")
    if odd := [path for path in found if not _is_text(path)]:
        raise InputError(f"{str(odd[0])!a}: the name of this file is not UTF-8 text; rename it")
    owners: dict[Path, Path] = {}
    for path, name in found.items():
        if owners.setdefault(name, path) != path:
            raise InputError(f"{owners[name]} and {path} would both be written as '{name}'; rename one of them")
    return found


def _below(file: Path, folder: str | Path | None) -> bool:
    return folder is not None and Path(folder).resolve() in file.resolve().parents


def _is_text(path: Path) -> bool:
    """Whether a path is valid UTF-8. File systems accept any bytes, but a report must be UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
