"""Reading of images and labels."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from sgovss.data.channels import stored_channels
from sgovss.data.file_kinds import first_bytes, other_kind
from sgovss.data.gdal_images import is_tiff, read_gdal_rgb, read_gdal_size, too_many_pixels
from sgovss.data.label_map import IGNORED, LabelMap
from sgovss.data.orientation import orientation, refuse_turned, shown, shown_size
from sgovss.errors import InputError

LABEL_MODES = ("1", "L", "P", "I", "I;16", "I;16L", "I;16B")
DEEP_MODES = (*LABEL_MODES[3:], "F")
# Only these decoders of Pillow are used, because rarely used ones are a risk with untrusted files.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "JPEG2000")
_LAYOUT = "layout in the file"
_BITS, _CHANNELS, _PLANAR = 258, 277, 284  # tags of TIFF
_SAMPLE_FORMAT, _UNSIGNED, _SIGNED = 339, 1, 2  # another, and its values
# The header of the pixels starts so, within the first bytes, and has the bits of the first channel, less 1, there.
_JPEG2000_HEAD, _JPEG2000_START, _JPEG2000_DEPTH = 2**16, b"\xff\x4f\xff\x51", 42
_READ_ERRORS = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)


def load_labels(path: str | Path, labels: LabelMap, dtype: type[np.generic] = np.int64) -> np.ndarray:
    """Read a label image as a writable (H, W) array of class ids and ``labels.ignore_label``.

    ``functools.partial(load_labels, labels=...)`` is a ``sem_seg_loading_fn`` for ``SemSegEvaluator``.

    Raises:
        InputError: the file cannot be read, has several channels, or has a value outside the specification.
    """
    return labels(read_values(path, ignored=labels.ignored), path).astype(dtype)


class UnknownTiffError(InputError):
    """A TIFF file of a kind that Pillow does not decode. GDAL may."""


@contextmanager
def open_image(file: str | Path | BinaryIO, source: str | Path, what: str = "image") -> Iterator[Image.Image]:
    """Open an image file of one of :data:`FORMATS`, for a ``with`` block.

    Args:
        file: a path or an open binary file.
        source: the file name in error messages.
        what: the kind of file in error messages.

    Raises:
        UnknownTiffError: a TIFF file that Pillow does not decode.
        InputError: the file is missing or cannot be read, or has more pixels than Pillow's limit. Errors inside the
            block are converted too, because Pillow reads the pixels there.
    """
    try:
        # Pillow warns about harmless oddities, such as transparency in a palette.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=FORMATS) as image:
                image.info[_LAYOUT] = _layout(image)
                yield image
    except InputError:
        raise
    except _READ_ERRORS as error:
        head = first_bytes(file)
        if isinstance(error, UnidentifiedImageError) and is_tiff(head):
            raise UnknownTiffError(
                f"{source}: cannot read this {what} (a kind of TIFF that Pillow does not read)"
            ) from error
        raise InputError(f"{source}: cannot read this {what} ({_reason(error, head, what)})") from error


def read_values(file: str | Path | BinaryIO, source: str | None = None, ignored: str = IGNORED) -> np.ndarray:
    """Read the values of a label image as an (H, W) array of integers, as they are stored in the file.

    Grey may be stored as two or three equal channels, beside alpha. TIFF files that Pillow does not decode as they
    are, for example with 64-bit values, are read with GDAL.

    Args:
        file: a path or an open binary file.
        source: the file name in error messages; default: the path.
        ignored: where the values of pixels without a class are given, in error messages.

    Raises:
        InputError: the file cannot be read, is turned by an orientation tag, or has channels that differ or values that
            are no whole numbers.
    """
    source = source or str(file)
    try:
        with open_image(file, source, "label image") as image:
            refuse_turned(orientation(image), source, "image")
            bands = image.getbands()
            tags = getattr(image, "tag_v2", {})
            if (stored := tags.get(_CHANNELS, len(bands))) == 1:
                return _whole(_stored(image), source, ignored)
            if image.mode not in ("RGB", "RGBA", "LA", *LABEL_MODES, "F"):
                raise _several(f"mode {image.mode}", source)
            separate_alpha = image.mode == "LA" and tags.get(_PLANAR) == 2  # Pillow fails
            if stored == len(bands) and not is_deep(image) and not separate_alpha:
                pixels = np.asarray(image)
                alpha = pixels[..., -1] if "A" in bands else None
                return _grey(pixels[..., : len(bands) - ("A" in bands)], alpha, f"mode {image.mode}", source)
            if image.format != "TIFF":
                image.load()  # finds damage
    except UnknownTiffError:
        pass
    channels, alpha = stored_channels(file, source)
    return _whole(_grey(channels, alpha, f"{channels.shape[2]} channels", source), source, ignored)


def _grey(channels: np.ndarray, alpha: np.ndarray | None, kind: str, source: str) -> np.ndarray:
    """The (H, W) values of (H, W, C) channels that are equal.

    Raises:
        InputError: the channels differ, or only the alpha channel has several values.
    """
    values = channels[..., 0]
    if not np.array_equal(
        channels, np.broadcast_to(values[..., None], channels.shape), equal_nan=channels.dtype.kind in "fc"
    ):
        raise _several(kind, source, channels.shape[2])
    if alpha is not None and (values == values.flat[0]).all() and np.ptp(alpha) > 0:
        raise InputError(
            f"{source}: this label image has one value, {values.flat[0]}, and a shape in its transparency; save the "
            "alpha channel as a label image of one channel"
        )
    return values


def _several(kind: str, source: str, channels: int = 3) -> InputError:
    remedy = "convert colours with sgovss prepare, with preparation.labels 'colors' in the dataset file"
    if channels < 3:
        remedy = "choose one, such as with 'gdal_translate -b 1'"
    return InputError(f"{source}: label image of {kind}, expected one channel of class values; {remedy}")


def _stored(image: Image.Image) -> np.ndarray:
    """The values of a grey or indexed image as stored.

    Pillow scales 2 and 4 bits to 0..255, inverts some kinds, and does not tell signed from unsigned numbers in a TIFF.
    """
    layout = _layout(image)
    values = np.asarray(image)
    signed = getattr(image, "tag_v2", {}).get(_SAMPLE_FORMAT, (_UNSIGNED,))[0] == _SIGNED
    if (image.mode, layout) == ("L", "L") and signed:
        return values.view(np.int8)
    if (image.mode, layout.rstrip("BNS")) == ("I", "I;32") and not signed:
        return values.view(np.uint32)
    if layout.endswith("I") and image.mode in ("1", "L"):
        values = ~values
    bits = re.match(r"L;([24])", layout)
    return values // (255 // (2 ** int(bits[1]) - 1)) if bits and image.mode == "L" else values


def _whole(values: np.ndarray, source: str, ignored: str) -> np.ndarray:
    """Convert label values to integers.

    Raises:
        InputError: a value is no whole number, or too large for 64 bits.
    """
    if values.dtype.kind == "c":
        raise InputError(f"{source}: label image of complex numbers; write class values as whole numbers")
    if values.dtype.kind != "f":
        return values
    with np.errstate(invalid="ignore"):
        whole = np.isfinite(values) & (np.abs(values) < 2.0**63) & (values == np.round(values))
    missing = np.isnan(values)
    if (odd := ~(whole | missing)).any():
        raise InputError(
            f"{source}: {odd.sum()} label values are no whole numbers, such as {values[odd][0]:g} {_place(odd)}; write "
            f"class values as whole numbers, and missing ones as a number that stands in {ignored}"
        )
    if missing.any():
        raise InputError(
            f"{source}: {missing.sum()} of {missing.size} label values are NaN, the first {_place(missing)}; replace "
            f"them by a number that stands in {ignored}, such as 255, with numpy.nan_to_num(labels, nan=255) or, for "
            "georeferenced files, 'gdalwarp -srcnodata nan -dstnodata 255'"
        )
    return values.astype(np.int64)


def _place(found: np.ndarray) -> str:
    """Where the first pixel is that a mask (H, W) has."""
    row, column = np.argwhere(found)[0]
    return f"in row {row}, column {column} (from 0)"


def read_rgb(file: str | Path | BinaryIO, source: str | None = None, upright: str | None = None) -> np.ndarray:
    """Read an image as a read-only (H, W, 3) uint8 RGB array, rotated according to its EXIF orientation.

    Args:
        file: a path or an open binary file.
        source: the file name in error messages; default: the path.
        upright: the partner of the file in a pair, "label" or "image", with which it has to be in register, so that a
            file with another orientation is refused; None takes it as it is shown.

    Raises:
        InputError: the file is missing or cannot be read, has more than 8 bits per channel, or is turned.
    """
    source = source or str(file)
    try:
        with open_image(file, source) as image:
            if upright is not None:
                refuse_turned(orientation(image), source, upright)
            return rgb_of(image, source)
    except UnknownTiffError:
        return read_gdal_rgb(file, source)


def rgb_of(image: Image.Image, source: str | Path) -> np.ndarray:
    """The pixels of an open image as a read-only (H, W, 3) uint8 RGB array, rotated according to its EXIF orientation.

    Raises:
        InputError: the image has more than 8 bits per channel.
    """
    refuse_deep(image, source)
    return np.asarray(shown(image).convert("RGB"))


def refuse_deep(image: Image.Image, source: str | Path) -> None:
    """Refuse images of more than 8 bits per channel.

    Pillow would keep the upper 8 of 16 bits, which makes 12-bit data nearly black.

    Raises:
        InputError: the image has more than 8 bits per channel.
    """
    if is_deep(image):
        layout = _layout(image) if ";" in _layout(image) else image.mode
        raise InputError(
            f"{source}: image of more than 8 bits a channel ({layout}); scale it to 8 bits first, for example "
            "with 'gdal_translate -ot Byte -scale'"
        )


def is_deep(image: Image.Image) -> bool:
    """Whether an image that is not decoded yet has more than 8 bits per channel."""
    bits = max(getattr(image, "tag_v2", {}).get(_BITS, (1,)))
    return bits > 8 or image.mode in DEEP_MODES or re.match(r"(RGB|LA|CMYK)[AXa]*;(9|1\d)", _layout(image)) is not None


def _layout(image: Image.Image) -> str:
    """How the pixels are stored in the file, as Pillow calls it, such as ``L;4`` for grey with 4 bits."""
    if _LAYOUT in image.info:  # kept at opening, because a look at the EXIF data of a PNG may decode the pixels
        return image.info[_LAYOUT]
    tile = getattr(image, "tile", None)  # only images from files have it, until they are decoded
    if tile and image.format == "JPEG2000" and (bits := _jpeg2000_bits(image)) > 8:
        return f"{image.mode};{bits}"
    stored = tile[0][3] if tile else image.mode
    return stored if isinstance(stored, str) else str(stored[0] if stored else "")


def _jpeg2000_bits(image: Image.Image) -> int:
    """Bits per channel of an open JPEG 2000 image, which Pillow does not tell; 8 if its header is not found."""
    stream = image.fp  # type: ignore[attr-defined]  # of images from files
    place = stream.tell()
    stream.seek(0)
    head = stream.read(_JPEG2000_HEAD)
    stream.seek(place)
    depth = head.find(_JPEG2000_START) + _JPEG2000_DEPTH
    return (head[depth] & 127) + 1 if _JPEG2000_DEPTH <= depth < len(head) else 8


def image_size(file: str | Path | BinaryIO, source: str | None = None, upright: str | None = None) -> tuple[int, int]:
    """Read (height, width) in pixels, after EXIF orientation, from the header of an image; no pixel is decoded.

    Args:
        file: a path or an open binary file.
        source: the file name in error messages; default: the path.
        upright: the partner of the file in a pair, "label" or "image", with which it has to be in register, so that a
            file with another orientation is refused; None takes it as it is shown.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    source = source or str(file)
    try:
        with open_image(file, source) as image:
            if upright is not None:
                refuse_turned(orientation(image), source, upright)
            return shown_size(image)
    except UnknownTiffError:
        return read_gdal_size(file, source)


def _reason(error: Exception, head: bytes, what: str) -> str:
    """Why a file that begins with these bytes cannot be read as an image of a kind, such as "label image"."""
    if isinstance(error, UnidentifiedImageError):
        return other_kind(head, what) or f"its content is none of {', '.join(FORMATS)}; save it as one of them"
    if isinstance(error, Image.DecompressionBombError):
        return too_many_pixels()
    return getattr(error, "strerror", None) or str(error)
