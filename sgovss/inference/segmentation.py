"""The result of segmenting an image."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from sgovss.files import atomic_path, write_json_atomically
from sgovss.painting import class_shares, draw_overlay, save_label_png
from sgovss.vocabulary import Vocabulary

ReadArray = Callable[[], np.ndarray]
"""A function that reads an array from a file."""

ReadPreview = Callable[[], tuple[np.ndarray, np.ndarray]]
"""A function that reads an image (h, w, 3) uint8 and its labels (h, w) at the size of a picture."""


class Georeference(NamedTuple):
    """The position of an image on the ground.

    Attributes:
        crs: the coordinate reference system as WKT.
        transform: (a, b, c, d, e, f) with x = a * column + b * row + c and y = d * column + e * row + f.
    """

    crs: str
    transform: tuple[float, ...]


class Segmentation:
    """An image segmented into classes. A notebook shows it as its overlay.

    Args:
        labels: (H, W) int64 class ids, which are positions in the legend; :func:`no_class_id` for pixels without a
            class. Or a function that reads them, which is called at every access, so that the labels of a large raster
            are not held in memory.
        legend: the classes.
        scores: (H, W) float32 in 0..1, the best score of each pixel, also of rejected ones. Or a function that reads
            them. None if they were not kept.
        image: (H, W, 3) uint8 RGB; None if it is not known.
        preview: reads a smaller image and its labels for the overlay, if the image is too large for a picture.
        shares: fraction of the pixels of each class; by default computed from the labels.
        areas: square metres of each class; None if the image has no georeference.
        georeference: None if the image has none.
        source: the image file, or the name that GDAL opens; None if there is none.
        files: files of the result that are written already, by kind, such as ``labels`` and ``overlay``.
        facts: further facts for a report, such as the size of the image and the time taken.
    """

    def __init__(
        self,
        labels: np.ndarray | ReadArray,
        legend: Vocabulary,
        scores: np.ndarray | ReadArray | None = None,
        *,
        image: np.ndarray | None = None,
        preview: ReadPreview | None = None,
        shares: Mapping[str, float] | None = None,
        areas: Mapping[str, float] | None = None,
        georeference: Georeference | None = None,
        source: Path | str | None = None,
        files: Mapping[str, Path] | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> None:
        self._labels = labels
        self._scores = scores
        self._preview = preview
        self._shares = None if shares is None else dict(shares)
        self.legend = legend
        self.image = image
        self.areas = None if areas is None else dict(areas)
        self.georeference = georeference
        self.source = source
        self.files = dict(files or {})
        self.facts = dict(facts or {})

    @property
    def labels(self) -> np.ndarray:
        """(H, W) int64 class ids. Those of a raster are read from the GeoTIFF at every access."""
        return self._labels() if callable(self._labels) else self._labels

    @property
    def scores(self) -> np.ndarray | None:
        """(H, W) float32 in 0..1, the best score of each pixel, or None.

        Those of a raster are read from the GeoTIFF at every access. They are rounded to percents, and NaN where there
        is no data.
        """
        return self._scores() if callable(self._scores) else self._scores

    @property
    def shares(self) -> dict[str, float]:
        """Class name -> fraction of the pixels, for a raster of the segmented pixels."""
        if self._shares is None:
            self._shares = class_shares(self.labels, self.legend)
        return self._shares

    def overlay(self, alpha: float = 0.5) -> np.ndarray:
        """Paint the classes over the image (over white if there is none) and add a legend.

        Args:
            alpha: 0 shows the image with the borders of the classes, 1 the classes only.

        Returns:
            (H', W', 3) uint8 RGB. Small images are enlarged, rasters are shrunk.
        """
        return draw_overlay(*self.picture(), self.legend, alpha, shares=list(self.shares.values()))

    def picture(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the image (h, w, 3) uint8 RGB, white if there is none, and its labels (h, w); both shrunk if large."""
        if self._preview is not None:
            return self._preview()
        labels = self.labels
        return (np.full((*labels.shape, 3), 255, np.uint8) if self.image is None else self.image), labels

    def save(self, folder: str | Path, name: str = "segmentation") -> dict[str, Path]:
        """Write ``<name>_overlay.png``, ``<name>_labels.png`` (class ids, with a palette) and ``<name>_shares.json``.

        The files of a raster exist already, with its georeference; they are copied.

        Args:
            folder: created if it does not exist.
            name: beginning of the names of the files.

        Returns:
            kind of file (``overlay``, ``labels``, ``shares``, ...) -> its path.

        Raises:
            InputError: the folder cannot be created or written to.
        """
        target = Path(folder) / name
        if self.files:
            return {kind: _copy(file, target) for kind, file in self.files.items()}
        labels, scores = self.labels, self.scores
        paths = {
            "labels": output_file(target, "labels.png"),
            "shares": output_file(target, "shares.json"),
            "overlay": output_file(target, "overlay.png"),
        }
        save_label_png(paths["labels"], labels, self.legend)
        content = {
            "image": None if self.source is None else str(self.source),
            "height": labels.shape[0],
            "width": labels.shape[1],
            "mean_score": None if scores is None else float(scores.mean()),
            "shares": self.shares,
        }
        write_json_atomically(paths["shares"], content)
        with atomic_path(paths["overlay"]) as partial:
            Image.fromarray(self.overlay()).save(partial)
        return paths

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(self.overlay()).save(buffer, "PNG")
        return buffer.getvalue()

    def __repr__(self) -> str:
        present = sorted(self.shares.items(), key=lambda item: -item[1])
        return f"Segmentation({', '.join(f'{name} {100 * share:.1f} %' for name, share in present if share)})"


def output_file(target: Path, ending: str) -> Path:
    """Return the path of one output of an image: ``<target>_<ending>``. ``ending`` must not contain an underscore."""
    return target.with_name(f"{target.name}_{ending}")


def _copy(file: Path, target: Path) -> Path:
    copy = output_file(target, file.name.rpartition("_")[2])
    if not (copy.exists() and copy.samefile(file)):
        with atomic_path(copy) as partial:
            shutil.copyfile(file, partial)
    return copy
