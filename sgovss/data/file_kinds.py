"""What a file is that cannot be decoded as an image, by its first bytes, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

_BYTES = 32
_KINDS = (
    (b"version https://git-lfs", "the pointer of Git LFS to a file; fetch the file itself with 'git lfs pull'"),
    (b"<!doctype html", "a web page; download the file itself again"),
    (b"<html", "a web page; download the file itself again"),
    (b"gif8", "a GIF; save it as PNG"),
    (b"\x93numpy", "an array of NumPy; save it as PNG or TIFF, such as with PIL.Image.fromarray"),
    (b"pk\x03\x04", "a zip archive; unpack it"),
    (b"%pdf", "a PDF; save it as PNG"),
    (b"ncols", "a grid in text; save it as TIFF, such as with gdal_translate"),
    *((first, "an image in text; save it as PNG") for first in (b"p1\n", b"p2\n", b"p3\n")),
)
_POLYGONS = (b"\0\0\x27\x0a", b"sqlite format 3")  # shapefile, GeoPackage


def first_bytes(file: str | Path | BinaryIO) -> bytes:
    """The first bytes of a file; a zero byte, which says nothing, if it cannot be read."""
    try:
        if isinstance(file, str | Path):
            with Path(file).open("rb") as stream:
                return stream.read(_BYTES)
        file.seek(0)
        return file.read(_BYTES)
    except (OSError, ValueError):
        return b"\0"


def other_kind(head: bytes, what: str) -> str | None:
    """A description of a file that is no image, and a remedy; None if it may be one.

    Args:
        head: :func:`first_bytes` of the file.
        what: what it is given for, such as "label image".
    """
    start = head.lower().removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    draw = "; draw polygons as label images first, with gdal_rasterize" if "label" in what else ""
    if not head:
        return "an empty file; copy it again"
    if (kind := next((kind for first, kind in _KINDS if start.startswith(first)), None)) is not None:
        return kind
    if start.startswith(_POLYGONS):
        return f"polygons, not an image{draw}"
    if start[:1] in (b"{", b"[", b"<") or all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return f"text, such as polygons, not an image{draw}" if draw else "text, not an image"
    return None
