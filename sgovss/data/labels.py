"""Reading of images and labels; the only place where label values become class ids."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from sgovss.data.specification import DatasetSpecification
from sgovss.errors import InputError
from sgovss.label_ids import no_class_id

OUTSIDE = -1
LABEL_MODES = ("1", "L", "P", "I", "I;16", "I;16L", "I;16B")
DEEP_MODES = (*LABEL_MODES[3:], "F")
# Only these decoders of Pillow are used, because rarely used ones are a risk with untrusted files.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "JPEG2000")
EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_READ_ERRORS = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A lookup table from label values to class ids.

    Attributes:
        table: (largest known value + 2,) int32. Entry v is the class id of label value v, or ``ignore_label``, or -1 if
            v is not in the specification. The last entry is -1; it is used for all larger values.
        ignore_label: 255, or 65535 if there are more than 255 classes.
        num_classes: number of classes; ids are 0 to ``num_classes - 1``.
    """

    table: np.ndarray
    ignore_label: int
    num_classes: int

    @classmethod
    def from_specification(cls, spec: DatasetSpecification) -> LabelMap:
        """Build the map for the labels that training reads."""
        return cls.from_values(spec.values, spec.ignore.values)

    @classmethod
    def from_values(cls, values: Sequence[Sequence[int]], ignored: Sequence[int]) -> LabelMap:
        """Build the map from the label values of each class, in id order, and the ignored label values."""
        ignore_label = no_class_id(len(values))
        largest = max((*(value for of_class in values for value in of_class), *ignored))
        table = np.full(largest + 2, OUTSIDE, np.int32)
        table[list(ignored)] = ignore_label
        for index, of_class in enumerate(values):
            table[list(of_class)] = index
        return cls(table, ignore_label, len(values))

    @property
    def dtype(self) -> type[np.generic]:
        """The smallest type that holds all ids and that Detectron2 can resize: uint8, else float32."""
        return np.uint8 if self.ignore_label == 255 else np.float32

    def without(self, held_out: Collection[int]) -> LabelMap:
        """A copy of the map that ignores the pixels of these classes and renumbers the other ids without gaps."""
        kept = [index for index in range(self.num_classes) if index not in held_out]
        new_ids = np.full(self.num_classes, self.ignore_label, np.int32)
        new_ids[kept] = np.arange(len(kept))
        table = self.table.copy()
        is_class = (table != OUTSIDE) & (table != self.ignore_label)
        table[is_class] = new_ids[table[is_class]]
        return LabelMap(table, self.ignore_label, len(kept))

    def lookup(self, raw: np.ndarray) -> np.ndarray:
        """Convert an (H, W) integer array of label values to a new (H, W) int32 array of ids; -1 for unknown values."""
        last = len(self.table) - 1
        raw = np.asarray(raw, np.int64)
        return self.table[np.where(raw < 0, last, np.minimum(raw, last))]

    def __call__(self, raw: np.ndarray, source: str | Path) -> np.ndarray:
        """Convert like :meth:`lookup`, but refuse unknown values.

        Args:
            raw: (H, W) integers.
            source: the file that error messages name.

        Raises:
            InputError: a value is not in the specification; the message gives the value and its number of pixels.
        """
        ids = self.lookup(raw)
        outside = ids == OUTSIDE
        if outside.any():
            found, counts = np.unique(raw[outside], return_counts=True)
            most = int(np.argmax(counts))
            others = f" and {len(found) - 1} other such values" if len(found) > 1 else ""
            raise InputError(
                f"{source}: label value {found[most]} ({counts[most]} pixels){others} is outside the dataset's "
                "specification; correct the label, or add the value to a class or to 'ignore' in the dataset file"
            )
        return ids


def load_labels(path: str | Path, labels: LabelMap, dtype: type[np.generic] = np.int64) -> np.ndarray:
    """Read a label image as a writable (H, W) array of class ids and ``labels.ignore_label``.

    ``functools.partial(load_labels, labels=...)`` is a ``sem_seg_loading_fn`` for ``SemSegEvaluator``.

    Raises:
        InputError: the file cannot be read, has several channels, or has a value outside the specification.
    """
    return labels(read_values(path), path).astype(dtype)


@contextmanager
def open_image(file: str | Path | BinaryIO, source: str | Path, what: str = "image") -> Iterator[Image.Image]:
    """Open an image file of one of :data:`FORMATS`, for a ``with`` block.

    Args:
        file: a path or an open binary file.
        source: the file name in error messages.
        what: the kind of file in error messages.

    Raises:
        InputError: the file is missing or cannot be read, or has more pixels than Pillow's limit. Errors inside the
            block are converted too, because Pillow reads the pixels there.
    """
    try:
        # Pillow warns about harmless oddities, such as transparency in a palette.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=FORMATS) as image:
                yield image
    except InputError:
        raise
    except _READ_ERRORS as error:
        raise InputError(f"{source}: cannot read this {what} ({_reason(error)})") from error


def read_values(path: str | Path) -> np.ndarray:
    """Read the values of a label image as an (H, W) array of integers.

    Raises:
        InputError: the file cannot be read, or has several channels.
    """
    with open_image(path, path, "label image") as image:
        if image.mode in LABEL_MODES:
            return np.asarray(image)
        raise InputError(
            f"{path}: label image of mode {image.mode}, expected one channel of class values; convert colours with "
            "sgovss prepare"
        )


def read_rgb(file: str | Path | BinaryIO, source: str | None = None) -> np.ndarray:
    """Read an image as a read-only (H, W, 3) uint8 RGB array, rotated according to its EXIF orientation.

    Args:
        file: a path or an open binary file.
        source: the file name in error messages; default: the path.

    Raises:
        InputError: the file is missing or cannot be read, or has more than 8 bits per channel.
    """
    source = source or str(file)
    with open_image(file, source) as image:
        return rgb_of(image, source)


def rgb_of(image: Image.Image, source: str | Path) -> np.ndarray:
    """The pixels of an open image as a read-only (H, W, 3) uint8 RGB array, rotated according to its EXIF orientation.

    Raises:
        InputError: the image has more than 8 bits per channel.
    """
    refuse_deep(image, source)
    turn = _TURNS.get(orientation(image))
    return np.asarray((image if turn is None else image.transpose(turn)).convert("RGB"))


def refuse_deep(image: Image.Image, source: str | Path) -> None:
    """Refuse images of more than 8 bits per channel.

    Pillow would keep the upper 8 of 16 bits, which makes 12-bit data nearly black.

    Raises:
        InputError: the image has more than 8 bits per channel.
    """
    tile = getattr(image, "tile", None)  # only images from files have it
    stored = tile[0][3] if tile else image.mode
    layout = stored if isinstance(stored, str) else str(stored[0] if stored else "")
    if image.mode in DEEP_MODES or re.match(r"(RGB|LA|CMYK)[AXa]*;16", layout):
        raise InputError(f"{source}: image of more than 8 bits a channel ({layout}); scale it to 8 bits first")


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an open image; 1 if it is shown as it is stored."""
    value = image.getexif().get(EXIF_ORIENTATION)
    return value if value in _TURNS else 1


def image_size(file: str | Path | BinaryIO, source: str | None = None) -> tuple[int, int]:
    """Read (height, width) in pixels, after EXIF orientation, from the header of an image; no pixel is decoded.

    Args:
        file: a path or an open binary file.
        source: the file name in error messages; default: the path.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    with open_image(file, source or str(file)) as image:
        width, height = image.size
        return (width, height) if orientation(image) in (5, 6, 7, 8) else (height, width)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"its content is none of {', '.join(FORMATS)}"
    if isinstance(error, Image.DecompressionBombError):
        assert Image.MAX_IMAGE_PIXELS is not None  # as the limit was exceeded
        return f"more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels; cut it into tiles"
    return getattr(error, "strerror", None) or str(error)
