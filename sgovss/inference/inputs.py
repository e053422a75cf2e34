"""Images as users name or pass them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from sgovss import paths
from sgovss.data.labels import read_rgb, rgb_of
from sgovss.data.listing import IMAGE_SUFFIXES, walk_files
from sgovss.errors import InputError

logger = logging.getLogger(__name__)

RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".img")
IMAGE_OR_RASTER = tuple(dict.fromkeys((*IMAGE_SUFFIXES, *RASTER_SUFFIXES)))
SIDECARS = (".ovr", ".msk", ".aux", ".xml", ".hdr")  # files beside a raster; some begin like one
_MAGIC = (  # first bytes of TIFF, BigTIFF, JPEG, PNG, JPEG 2000, Erdas, PCIDSK and NITF files
    b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\xff\xd8\xff", b"\x89PNG", b"\0\0\0\x0cjP  ", b"EHFA_",
    b"PCIDSK", b"NITF",
)  # fmt: skip
# Images of phones, cameras and other programs, and of satellites, which neither Pillow nor GDAL may read.
_OTHER_IMAGES = (
    ".heic", ".heif", ".hif", ".avif", ".jxl", ".jxr", ".gif", ".psd", ".xcf", ".svg", ".ecw", ".sid",
    ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf",
)  # fmt: skip
_OUTPUTS = ("_labels.tif", "_labels.png", "_overlay.png", "_probabilities.tif")
_SHARES = "_shares.json"
_UNFINISHED = ".parts"  # end of the name of a folder of unfinished outputs

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


def find_images(inputs: Sequence[str | Path]) -> dict[str, Path]:
    """Find the image files among files and folders, and name the outputs of each.

    Args:
        inputs: image and raster files, and folders that are searched with their subfolders. Outputs of earlier runs in
            these folders are left out.

    Returns:
        path of the image -> relative path of its outputs, without suffix.

    Raises:
        InputError: a path does not exist, a folder has no image, or the outputs of two images have the same name.
    """
    found: dict[str, Path] = {}
    for path in map(Path, inputs):
        found |= files_of(path)
    return named_apart(found)


def files_of(path: Path, among: Callable[[Sequence[Path], Path], list[Path]] | None = None) -> dict[str, Path]:
    """Return the image files of one path.

    Args:
        path: see :func:`find_images`.
        among: chooses the images among the sorted files of a folder; None to choose by suffixes and first bytes.
    """
    if paths.is_file(path):
        return {str(path): Path(path.stem)}
    if not paths.is_folder(path):
        raise InputError(f"{path}: no such file or folder; correct the path")
    files = sorted(walk_files(path))
    kept = [file for file in files if not _is_output(file, path)]
    found = among(kept, path) if among else [file for file in kept if is_image(file)]
    left_out = [file for file in {*files} - {*kept} if is_image(file)]
    passed_over = _passed_over(kept, found)
    if not found and left_out:
        raise InputError(f"{path}: no image in this folder other than outputs of earlier runs; check --input")
    if not found and passed_over:
        raise InputError(f"{path}: {passed_over}")
    if not found:
        others = " and other rasters of GDAL" if among else ""
        raise InputError(f"{path}: no image in this folder (looked for {', '.join(IMAGE_OR_RASTER)}{others})")
    if left_out:
        logger.warning("%s: %d outputs of earlier runs are not segmented again", path, len(left_out))
    if passed_over:
        logger.warning("%s: %s", path, passed_over)
    return _titles(found, path)


def _passed_over(files: Sequence[Path], found: Sequence[Path]) -> str:
    """What a user has to know of the images that are not among those found; empty if there are none."""
    others = [file for file in files if file.suffix.lower() in _OTHER_IMAGES and file not in found]
    if not others:
        return ""
    kinds = ", ".join(sorted({file.suffix.lower() for file in others}))
    return (
        f"images that cannot be read here: {len(others)} ({kinds}), such as {others[0].name}; convert to JPEG, PNG or "
        "GeoTIFF"
    )


def _titles(files: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Name the outputs of each file as the file; with its suffix if another file, of a common suffix, has the name."""
    names = {file: file.relative_to(folder).with_suffix("") for file in files}
    taken = {name for file, name in names.items() if file.suffix.lower() in IMAGE_OR_RASTER}
    for file, name in names.items():
        if file.suffix.lower() in IMAGE_OR_RASTER:
            continue
        if name in taken:
            names[file] = file.relative_to(folder).with_name(file.name.replace(".", "_"))
        taken.add(names[file])
    return {str(file): name for file, name in names.items()}


def named_apart(found: Mapping[str, Path]) -> dict[str, Path]:
    """Check that names are text and that no two images have outputs of the same name.

    Args:
        found: image -> relative path of its outputs.

    Raises:
        InputError: they have.
    """
    if odd := [name for name in found if not _is_text(name)]:
        raise InputError(f"{odd[0]!a}: the name of this file is not UTF-8 text; rename it")
    owners: dict[Path, str] = {}
    for image, name in found.items():
        if owners.setdefault(name, image) != image:
            raise InputError(f"{owners[name]} and {image} would both be written as '{name}'; rename one of them")
    return dict(found)


def is_image(file: Path) -> bool:
    """Whether a file of a folder is an image or raster, by its suffix; if that says nothing, by its first bytes."""
    suffix = file.suffix.lower()
    if suffix in IMAGE_OR_RASTER:
        return True
    if suffix in SIDECARS or not paths.is_file(file):
        return False
    # An ENVI raster has no mark of its own, but a header beside it.
    if file.with_name(f"{file.name}.hdr").is_file() or (suffix in ("", ".dat", ".bin") and _header(file).is_file()):
        return True
    try:
        with file.open("rb") as content:
            return content.read(8).startswith(_MAGIC)
    except OSError:
        return False


def _header(file: Path) -> Path:
    return file.with_suffix(".hdr")


def _is_output(file: Path, top: Path) -> bool:
    """Whether a file below a folder is an output of a run. Each run writes shares beside its labels and overlays."""
    if any(_is_unfinished(parent) for parent in file.parents if top in parent.parents):
        return True
    title = next((file.name.removesuffix(ending) for ending in _OUTPUTS if file.name.endswith(ending)), None)
    if title is None:
        return False
    return file.with_name(f"{title}{_SHARES}").is_file() or _is_unfinished(file.with_name(f"{title}{_UNFINISHED}"))


def _is_unfinished(folder: Path) -> bool:
    return folder.suffix == _UNFINISHED and (folder / "plan.json").is_file()


def _is_text(name: str) -> bool:
    """Whether a path is valid UTF-8. File systems accept any bytes, but a report must be UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
