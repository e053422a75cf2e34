"""What an uploaded file is: a photograph, or a scene for the scene engine."""

from __future__ import annotations

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JPEG_2000 = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
_PNG = b"\x89PNG\r\n\x1a\n"
_DEPTH = 24  # position of the bit depth in a PNG file


def is_scene(content: bytes) -> bool:
    """Whether the content of a file is a TIFF, a JPEG 2000 or a 16-bit PNG.

    Browsers and Pillow read few of these, and GDAL reads their georeference.
    """
    return content.startswith((*_TIFF, *_JPEG_2000)) or (
        content.startswith(_PNG) and content[_DEPTH : _DEPTH + 1] == b"\x10"
    )
