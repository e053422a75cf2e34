"""The class of each segment: that of its mean score."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
import torch
from rasterio.windows import Window

from sgovss.files import allocate
from sgovss.inference.rejection import Rejection
from sgovss.rasters.coverage import Tolerance
from sgovss.rasters.geotiff import window_of
from sgovss.rasters.partial import PartialOutputs
from sgovss.rasters.plan import ScenePlan
from sgovss.rasters.polygons import Region
from sgovss.rasters.segment_sums import sums_dtype
from sgovss.rasters.segments import Features, RasterSegments, Segments, VectorSegments
from sgovss.rasters.units import Box
from sgovss.rasters.vector_files import PolygonFile
from sgovss.rasters.vectors import Areas, Fields, class_fields, placed, with_common, write_regions
from sgovss.vocabulary import Vocabulary

_AT_ONCE = 2**16  # segments that are classified together
_NO_NUMBER = -1
_RESERVED = ("fid", "geom", "geometry")  # of GeoPackages


class SegmentClasses(NamedTuple):
    """The classes of the segments that have pixels.

    Attributes:
        numbers: (N,) int64 rising numbers of the segments.
        ids: (N,) int32 class ids.
        scores: (N,) float32 mean score of the class.
    """

    numbers: np.ndarray
    ids: np.ndarray
    scores: np.ndarray

    def positions(self, numbers: np.ndarray) -> np.ndarray:
        """The places of segments in the arrays. Numbers that are not among them get any place."""
        return np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)

    def known(self, numbers: np.ndarray) -> np.ndarray:
        """Which numbers are those of segments with pixels: bool of the same shape."""
        return self.numbers[self.positions(numbers)] == numbers


def classify(parts: PartialOutputs, scored: int, rejection: Rejection, classes: int) -> SegmentClasses | None:
    """Add up the sums of all units, and choose the class of each segment.

    The sums are in a file beside the parts. Memory holds some 20 bytes for each segment.

    Args:
        parts: finished units.
        scored: number of classes with scores.
        rejection: rule for labelling segments as "other".
        classes: number of the user's classes.

    Returns:
        the classes; None if no segment has a pixel with data.
    """
    units = [*parts.plan.units.all()]
    numbers = np.unique(np.concatenate([parts.sums(unit)["segment"] for unit in units]))
    if not len(numbers):
        return None
    file, row = parts.folder / "segments.table", sums_dtype(scored)
    file.unlink(missing_ok=True)  # of an interrupted run
    allocate(file, len(numbers) * row.itemsize)
    table = np.memmap(file, row, "r+", shape=(len(numbers),))
    for unit in units:
        rows = parts.sums(unit)
        at = np.searchsorted(numbers, rows["segment"])
        for name in ("pixels", "scores"):
            table[name][at] += rows[name]
    ids, scores = np.zeros(len(numbers), np.int32), np.zeros(len(numbers), np.float32)
    for first in range(0, len(numbers), _AT_ONCE):
        part = table[first : first + _AT_ONCE]
        means = np.clip(part["scores"] / part["pixels"][:, None], 0, 1).astype(np.float32)
        labels, best = rejection(torch.from_numpy(means.T[..., None].copy()), classes)
        ids[first : first + len(part)], scores[first : first + len(part)] = labels[:, 0], best[:, 0]
    del table
    file.unlink()
    return SegmentClasses(numbers, ids, scores)


def relabelled(
    found: SegmentClasses, segments: Segments, confidence: bool
) -> Callable[[Box, np.ndarray, float], np.ndarray]:
    """Return a function that gives the pixels of a box the classes of their segments.

    Its arguments are the box; its pixels (bands, h, w) as they are written; and the no-data value. Pixels of no data
    are kept.
    """

    def change(box: Box, pixels: np.ndarray, nodata: float) -> np.ndarray:
        at = found.positions(segments(window_of(box)))
        bands = [found.ids[at], *([np.rint(found.scores[at] * 100)] if confidence else [])]
        return np.where(pixels[0] == nodata, pixels.dtype.type(nodata), np.stack(bands).astype(pixels.dtype))

    return change


def write_segment_polygons(
    path: Path,
    labels: Path,
    legend: Vocabulary,
    found: SegmentClasses,
    segments: RasterSegments | VectorSegments,
    plan: ScenePlan,
    source: str,
    tolerance: Tolerance | None,
    folder: Path,
) -> int:
    """Write the segments as polygons, with the fields of regions, ``segment`` (its number), and their own attributes.

    Polygons of a file are written as they are there, in the coordinates of the scene. Those of a raster are its
    4-connected regions inside the data of the scene; so a segment may have several.

    Args:
        path: file to write.
        labels: the label raster.
        legend: its classes.
        found: classes of the segments; others are not written.
        segments: the segments.
        plan: of the scene.
        source: name of the scene.
        tolerance: by which the borders of regions of a raster are simplified.
        folder: for files that do not remain.

    Returns:
        the number of polygons.
    """
    working = folder / "polygons.gpkg"
    if isinstance(segments, VectorSegments):
        return _write_features(path, labels, legend, found, segments, source, working)
    numbers = folder / "segments.tif"
    _write_positions(numbers, labels, found, segments, plan)

    def fields(batch: Sequence[Region]) -> Fields:
        return _fields(found, np.array([region.label for region in batch], np.int64), legend)

    count = write_regions(path, numbers, fields, source, tolerance, working)
    numbers.unlink()
    return count


def _write_features(
    path: Path,
    labels: Path,
    legend: Vocabulary,
    found: SegmentClasses,
    segments: VectorSegments,
    source: str,
    working: Path,
) -> int:
    with rasterio.open(labels) as raster:
        areas, back = Areas(raster), ~raster.transform
        file = PolygonFile(path, working, None if raster.crs is None else raster.crs.to_wkt(), "MultiPolygon")
    for batch in segments.batches():
        with_pixels = found.known(batch.numbers)
        numbers, shapes = batch.numbers[with_pixels], batch.shapes[with_pixels]
        fields = {**_fields(found, found.positions(numbers), legend), **_own_attributes(batch, with_pixels)}
        squares = areas([placed(shape, back) for shape in shapes])
        file.add(shapes, with_common(fields, squares, source, file.count))
    file.finish()
    return file.count


def _fields(found: SegmentClasses, positions: np.ndarray, legend: Vocabulary) -> dict[str, np.ndarray]:
    known = class_fields(found.ids[positions], found.scores[positions], legend)
    return {**known, "segment": found.numbers[positions]}


def _own_attributes(features: Features, kept: np.ndarray) -> Mapping[str, np.ndarray]:
    """The attributes of features. Names that other fields have get "segment_" before them."""
    taken = {"id", "class", "class_id", "area_m2", "score", "source", "segment", *_RESERVED}
    result = {}
    for name, values in features.fields.items():
        free = name
        while free.lower() in taken:
            free = f"segment_{free}"
        taken.add(free.lower())
        result[free] = _as_text(values[kept])
    return result


def _as_text(values: np.ndarray) -> np.ndarray:
    """Values of an attribute, with lists as JSON, as GeoPackages have them."""
    lists = [isinstance(value, np.ndarray) for value in values]
    if not any(lists):
        return values
    texts = [json.dumps(value.tolist()) if is_list else value for value, is_list in zip(values, lists, strict=True)]
    return np.array(texts, object)


def _write_positions(
    path: Path, labels: Path, found: SegmentClasses, segments: RasterSegments, plan: ScenePlan
) -> None:
    """Write a raster of the places of segments in ``found``, for pixels that have a class."""
    with rasterio.open(labels) as raster:
        profile = {**raster.profile, "dtype": "int32", "nodata": _NO_NUMBER, "count": 1}
        with rasterio.open(path, "w", **profile) as target:
            for unit in plan.units.all():
                window: Window = window_of(plan.units.box(unit))
                places = found.positions(segments(window)).astype(np.int32)
                missing = raster.read(1, window=window) == raster.nodata
                target.write(np.where(missing, np.int32(_NO_NUMBER), places), 1, window=window)
