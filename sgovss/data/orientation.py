"""Orientation tags: viewers turn the pixels of a file as its tag says, and most other programs do not."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from sgovss.errors import InputError

_ORIENTATION = 0x0112  # of EXIF and of TIFF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(image: Image.Image) -> int:
    """The orientation of an open image whose pixels are not decoded yet; 1 if it is shown as it is stored."""
    value = image.getexif().get(_ORIENTATION)
    return value if value in _TURNS else 1


def tiff_orientation(file: str | Path | BinaryIO) -> int:
    """The orientation of a TIFF of any kind; 1 for files that are shown as they are stored, or are no TIFF."""
    try:
        with Path(file).open("rb") if isinstance(file, str | Path) else nullcontext(file) as stream:
            stream.seek(0)
            value = next((value for tag, value in _short_tags(stream) if tag == _ORIENTATION), 1)
    except (OSError, ValueError, KeyError, struct.error):  # the reader of the pixels tells damage
        return 1
    return value if value in _TURNS else 1


def _short_tags(stream: BinaryIO) -> Iterator[tuple[int, int]]:
    """The tags of the first image of a TIFF or BigTIFF, with the first two bytes of each value as a number."""
    order = {b"II": "<", b"MM": ">"}[stream.read(2)]

    def read(form: str) -> tuple[int, ...]:
        return struct.unpack(order + form, stream.read(struct.calcsize(order + form)))

    is_big = {42: False, 43: True}[read("H")[0]]
    stream.seek(read("HHQ")[2] if is_big else read("L")[0])
    for _ in range(read("Q" if is_big else "H")[0]):
        tag, _, _, value, *_ = read("HHQH6x" if is_big else "HHLH2x")
        yield tag, value


def shown(image: Image.Image) -> Image.Image:
    """An open image as viewers show it."""
    turn = None if _turned_by_pillow(image) else _TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)


def shown_size(image: Image.Image) -> tuple[int, int]:
    """(height, width) in pixels of an open image as viewers show it."""
    width, height = image.size
    swapped = not _turned_by_pillow(image) and orientation(image) in (5, 6, 7, 8)
    return (width, height) if swapped else (height, width)


def _turned_by_pillow(image: Image.Image) -> bool:
    return image.format == "TIFF"  # at decoding; its size is the turned one from the start


def refuse_turned(number: int, source: str | Path, partner: str | None = None) -> None:
    """Refuse an orientation other than 1; the other file of a pair may fit the turned pixels, or the stored ones.

    Args:
        number: of :func:`orientation`.
        source: the file name in the message.
        partner: what has to match, "label" or "image"; None for a file without one.

    Raises:
        InputError: always for another number than 1.
    """
    if number == 1:
        return
    # ImageMagick may number the colours of a palette anew.
    way = "PIL.ImageOps.exif_transpose" if partner == "image" else "'mogrify -auto-orient'"
    match = f" to match the {partner}" if partner else ""
    raise InputError(
        f"{source}: has EXIF orientation {number}, so it is shown rotated; rotate its pixels{match} and remove the "
        f"tag, for example with {way}"
    )
