"""The result of a scene: fractions and areas of the classes, an overlay, and facts for the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from PIL import Image
from rasterio.windows import Window

from sgovss.files import atomic_path, write_json_atomically
from sgovss.inference.segmentation import Georeference, Segmentation
from sgovss.label_ids import no_class_id
from sgovss.painting import draw_overlay
from sgovss.rasters.areas import pixel_areas
from sgovss.rasters.grid import WindowGrid
from sgovss.rasters.options import SceneOptions
from sgovss.rasters.source import RasterSource
from sgovss.rasters.writer import gdal_environment
from sgovss.vocabulary import Vocabulary

_OVERVIEW = 1400  # longest side of the overlay in pixels


@dataclass(frozen=True)
class ClassSums:
    """Totals of the classes of a scene.

    Attributes:
        shares: fraction of the segmented pixels of each class.
        areas: square metres of each class; None if the raster is not georeferenced.
        segmented: fraction of the pixels of the raster that have a class.
    """

    shares: dict[str, float]
    areas: dict[str, float] | None
    segmented: float


@dataclass(frozen=True)
class LabelRaster:
    """The label raster of a scene, which can be read back as a :class:`Segmentation`.

    Args:
        name: that GDAL opens the scene by.
        options: options that the scene was segmented with.
        file: path of the label raster; see :func:`sgovss.rasters.writer.write_labels`.
        legend: its classes.
    """

    name: str
    options: SceneOptions
    file: Path
    legend: Vocabulary

    def read_labels(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """Read the class ids.

        Args:
            size: (height, width) to read them at; by default the size of the raster.

        Returns:
            (H, W) int64 class ids; :func:`no_class_id` for pixels without a class.
        """
        with gdal_environment(), rasterio.open(self.file) as raster:
            ids = raster.read(1, out_shape=size).astype(np.int64)
            return np.where(ids == raster.nodata, no_class_id(len(self.legend)), ids)

    def read_scores(self) -> np.ndarray:
        """Read the (H, W) float32 scores in 0..1 from the confidence band; NaN where there is no data."""
        with gdal_environment(), rasterio.open(self.file) as raster:
            percent = raster.read(2)
            return np.where(percent == raster.nodata, np.nan, percent / 100).astype(np.float32)

    def read_preview(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the scene (h, w, 3) uint8 and its labels (h, w), shrunk to at most 1400 pixels along a side."""
        with gdal_environment(), RasterSource.from_options(self.name, self.options) as source:
            return self._preview(source)

    def write_overlay(self, source: RasterSource, sums: ClassSums, path: Path) -> None:
        """Write a picture of the scene with its classes painted over it, and a legend."""
        image, labels = self._preview(source)
        picture = draw_overlay(image, labels, self.legend, shares=list(sums.shares.values()))
        with atomic_path(path) as partial:
            Image.fromarray(picture).save(partial)

    def segmentation(
        self, source: RasterSource, sums: ClassSums, files: Mapping[str, Path], facts: Mapping[str, str]
    ) -> Segmentation:
        """Make the result of the scene, which reads arrays from the files when they are asked for."""
        crs = source.crs
        return Segmentation(
            self.read_labels,
            self.legend,
            self.read_scores if self.options.confidence else None,
            preview=self.read_preview,
            shares=sums.shares,
            areas=sums.areas,
            georeference=None if crs is None else Georeference(crs.to_wkt(), tuple(source.transform)[:6]),
            source=Path(self.name),
            files=files,
            facts=facts,
        )

    def _preview(self, source: RasterSource) -> tuple[np.ndarray, np.ndarray]:
        factor = max(1.0, max(source.height, source.width) / _OVERVIEW)
        size = max(1, round(source.height / factor)), max(1, round(source.width / factor))
        return source.read(Window(0, 0, source.width, source.height), size), self.read_labels(size)


def sum_classes(source: RasterSource, labels: Path, legend: Vocabulary) -> ClassSums:
    """Sum up pixels and areas of each class.

    Args:
        source: the scene.
        labels: its label raster; see :func:`sgovss.rasters.writer.write_labels`.
        legend: the classes.
    """
    areas = pixel_areas(source.crs, source.transform)
    counts, squares = np.zeros(len(legend)), np.zeros(len(legend))
    with rasterio.open(labels) as raster:
        for _, window in raster.block_windows(1):
            ids = raster.read(1, window=window)
            per_row = _counts(ids, len(legend))
            counts += per_row.sum(axis=0)
            if areas is not None:
                last, middle = window.row_off + window.height, window.col_off + window.width / 2
                squares += np.nan_to_num(areas.of_rows(window.row_off, last, middle)) @ per_row
    total = max(1.0, float(counts.sum()))
    return ClassSums(
        shares=dict(zip(legend.names, (counts / total).tolist(), strict=True)),
        areas=None if areas is None else dict(zip(legend.names, squares.tolist(), strict=True)),
        segmented=float(counts.sum() / (source.height * source.width)),
    )


def write_finished(
    path: Path, source: RasterSource, sums: ClassSums, facts: Mapping[str, str], settings: Mapping[str, Any]
) -> None:
    """Write shares and areas as JSON. This is the last output, so its presence shows that the scene is finished."""
    content = {
        "image": source.name,
        "height": source.height,
        "width": source.width,
        "segmented": sums.segmented,
        "shares": sums.shares,
        "square_metres": sums.areas,
        "facts": dict(facts),
        "settings": settings,
    }
    write_json_atomically(path, content)


def read_finished(
    result: LabelRaster, source: RasterSource, files: Mapping[str, Path], settings: Mapping[str, Any]
) -> Segmentation | None:
    """Return the result of a scene if it was finished with the same settings and has all its files; else None."""
    try:
        content = json.loads(files["shares"].read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = content.get("settings") == json.loads(json.dumps(settings))
    if not same or not all(path.is_file() for path in files.values()):
        return None
    sums = ClassSums(content["shares"], content["square_metres"], content["segmented"])
    return result.segmentation(source, sums, files, content["facts"])


def facts_of(source: RasterSource, grid: WindowGrid, gsd: float | None, scale: float) -> dict[str, str]:
    """Collect facts about a scene for the report.

    Args:
        source: the scene.
        grid: its windows.
        gsd: its ground sample distance in metres per pixel; None if it is not known.
        scale: factor by which the scene was resampled along each side for the model.
    """
    ranges = source.stretch
    return {
        "size": f"{source.width:,} x {source.height:,} pixels",
        "coordinates": _coordinates(source),
        "ground sample distance": "not known"
        if gsd is None
        else f"{gsd:.3g} m, resampled to {gsd / scale:.3g} m for the model",
        "bands": ", ".join(map(str, source.bands)),
        "stretch": "none" if ranges is None else "; ".join(f"{low:.4g} to {high:.4g}" for low, high in ranges),
        "windows": f"{grid.window} pixels, stride {grid.stride}",
    }


def _coordinates(source: RasterSource) -> str:
    if source.crs is not None and not source.transform.is_identity:
        return str(source.crs.to_string()[:60])
    return source.georeference.kind if source.georeference.exists else "none"


def _counts(ids: np.ndarray, classes: int) -> np.ndarray:
    """Count the pixels of each class in each row: (h, classes) float64."""
    known = np.minimum(ids.astype(np.int64), classes)
    rows = np.arange(len(ids))[:, None] * (classes + 1)
    flat = np.bincount((known + rows).reshape(-1), minlength=len(ids) * (classes + 1))
    return flat.reshape(len(ids), classes + 1)[:, :classes].astype(float)
