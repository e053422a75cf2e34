"""Conversion of one published image and its label to the files that training reads."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from sgovss.data.archives import RawFile
from sgovss.data.gdal_images import read_gdal_rgb
from sgovss.data.labels import UnknownTiffError, open_image, read_rgb, refuse_deep
from sgovss.data.orientation import orientation, refuse_turned
from sgovss.data.raw_labels import RawLabels, looks_interpolated
from sgovss.data.specification import DatasetSpecification
from sgovss.data.suffixes import same_suffix
from sgovss.errors import InputError
from sgovss.files import atomic_path
from sgovss.tiling import windows

_LOSSY = (".jpg", ".jpeg")


class Pair(NamedTuple):
    """A published image, its label, and their name in the prepared dataset."""

    name: str
    image: RawFile
    label: RawFile

    @property
    def stamp(self) -> tuple[int, ...]:
        """Sizes and modification times of the files; they differ if the data was downloaded again."""
        return (*self.image.stamp, *self.label.stamp)


@dataclass(frozen=True)
class Prepared:
    """The result of converting one pair.

    Attributes:
        name: name of the pair.
        size: (height, width) in pixels.
        tiles: number of image-label pairs written.
        pixels: number of pixels of each class, ignored pixels last; each pixel of the published label counts once, even
            if tiles overlap.
        stamp: :attr:`Pair.stamp` of the converted files.
        interpolated: whether a label of class values may have been resized with interpolation. Journals of earlier
            versions do not say.
    """

    name: str
    size: tuple[int, int]
    tiles: int
    pixels: tuple[int, ...]
    stamp: tuple[int, ...]
    interpolated: bool = False


class PairConverter:
    """Writes a pair in the form that training reads. Instances can be pickled for worker processes.

    Args:
        spec: a specification with ``preparation``.
        split: one of its splits.
        folder: the dataset's folder.
    """

    def __init__(self, spec: DatasetSpecification, split: str, folder: Path) -> None:
        part, preparation = spec.splits[split], spec.required_preparation
        self._labels = RawLabels(spec)
        self._tile, self._stride = preparation.tile, preparation.stride
        self._bands, self._of_values = preparation.bands, preparation.labels == "values"
        self._image_folder, self._label_folder = folder / part.images[0], folder / part.labels[0]
        self._image_suffix, self._label_suffix = part.image_suffix, part.label_suffix

    def __call__(self, pair: Pair) -> Prepared:
        """Write all tiles of a pair.

        Raises:
            InputError: image or label cannot be read, differ in size, or have a value outside the specification.
            OSError: the target cannot be written to.
        """
        ids = self._labels.read(pair.label.read(), str(pair.label))
        content = pair.image.read()
        image = None if self._is_copied(pair) else read_rgb_bands(content, str(pair.image), self._bands)
        size = _size(content, str(pair.image)) if image is None else (image.shape[0], image.shape[1])
        if size != ids.shape:
            raise InputError(
                f"{pair.label}: label is {ids.shape[1]}x{ids.shape[0]} pixels, its image {pair.image} is "
                f"{size[1]}x{size[0]}; make them equal"
            )
        written = self._labels.written(ids)
        pixels = np.bincount(ids.reshape(-1), minlength=self._labels.num_classes + 1)
        for name, (top, bottom, left, right) in self.tiles(pair.name, size):
            image_path, label_path = self._paths(name)
            with atomic_path(image_path) as partial:
                if image is None:
                    partial.write_bytes(content)
                else:
                    Image.fromarray(image[top:bottom, left:right]).save(partial, compress_level=3)
            with atomic_path(label_path) as partial:
                Image.fromarray(written[top:bottom, left:right]).save(partial, format="PNG")
        count = sum(1 for _ in self.tiles(pair.name, size))
        interpolated = self._of_values and looks_interpolated(written)
        return Prepared(pair.name, size, count, tuple(pixels.tolist()), pair.stamp, interpolated)

    def tiles(self, name: str, size: tuple[int, int]) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
        """Tiles of an image of this size.

        Yields:
            The name ``<name>_<top>_<bottom>_<left>_<right>`` and the window (top, bottom, left, right) of each tile;
            if images are not cut into tiles, the plain name and the whole image.
        """
        if self._tile is None:
            yield name, (0, size[0], 0, size[1])
            return
        assert self._stride is not None  # a specification has both or neither
        for window in windows(*size, self._tile, self._stride):
            yield "_".join([name, *map(str, window)]), window

    @property
    def folders(self) -> tuple[Path, Path]:
        """The target folders of images and labels."""
        return self._image_folder, self._label_folder

    def is_there(self, done: Prepared) -> bool:
        """Whether all files that an earlier run wrote still exist."""
        return all(path.is_file() for name, _ in self.tiles(done.name, done.size) for path in self._paths(name))

    def _paths(self, name: str) -> tuple[Path, Path]:
        return self._image_folder / f"{name}{self._image_suffix}", self._label_folder / f"{name}{self._label_suffix}"

    def _is_copied(self, pair: Pair) -> bool:
        suffix = Path(pair.image.member or pair.image.path).suffix.lower()
        wanted = Path(f"x{self._image_suffix}").suffix.lower()
        copied = same_suffix(suffix, wanted) and self._tile is None and self._bands is None
        if wanted in _LOSSY and not copied:
            raise InputError(
                f"{pair.image}: would be compressed again as {wanted}, which loses detail; set image_suffix of the "
                "split to .png"
            )
        return copied


def read_rgb_bands(content: bytes, source: str, bands: Sequence[int] | None) -> np.ndarray:
    """Decode an image file to an (H, W, 3) uint8 RGB array.

    Args:
        content: bytes of the file.
        source: the file name in error messages.
        bands: 1-based numbers of the bands to use as red, green and blue; None for an ordinary image.

    Raises:
        InputError: the image cannot be read, has more than 8 bits per channel, or lacks one of the bands.
    """
    file = io.BytesIO(content)
    if bands is not None:
        return read_gdal_rgb(file, source, bands)
    return read_rgb(file, source, upright="label")


def _size(content: bytes, source: str) -> tuple[int, int]:
    """(height, width) in pixels of an image that is copied unchanged. The image is decoded to detect damage."""
    file = io.BytesIO(content)
    try:
        with open_image(file, source) as image:
            refuse_turned(orientation(image), source, "label")
            refuse_deep(image, source)
            image.load()
            return image.height, image.width
    except UnknownTiffError:
        height, width, _ = read_gdal_rgb(file, source).shape
        return height, width
