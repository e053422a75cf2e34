"""Turn the finished units of a scene into its outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import rasterio
from rasterio.enums import Resampling

from sgovss.errors import InputError
from sgovss.files import atomic_path
from sgovss.label_ids import no_class_id
from sgovss.painting import draw_overlay
from sgovss.rasters.areas import pixel_areas
from sgovss.rasters.class_sums import ClassSums, Counts, add_up, count_classes
from sgovss.rasters.coverage import Tolerance
from sgovss.rasters.geotiff import create_labels, window_of, with_overviews, write_boxes, write_cog
from sgovss.rasters.merging import merge_small_regions
from sgovss.rasters.options import SceneOptions
from sgovss.rasters.partial import PartialOutputs
from sgovss.rasters.plan import ScenePlan
from sgovss.rasters.segment_classes import SegmentClasses, classify, relabelled, write_segment_polygons
from sgovss.rasters.segments import RasterSegments, VectorSegments, open_segments
from sgovss.rasters.source import RasterSource
from sgovss.rasters.squaring import Squaring
from sgovss.rasters.style import write_attributes, write_style
from sgovss.rasters.summary import LabelRaster
from sgovss.rasters.units import Box
from sgovss.rasters.vectors import write_polygons
from sgovss.vocabulary import Vocabulary


class Finisher:
    """Writes the outputs of a scene.

    Args:
        plan: the plan of the scene.
        source: the raster.
        parts: its finished units.
        legend: classes of the labels.
        options: whether the labels have a band of percents, and how polygons are simplified.
        files: paths of the outputs, by kind.
        scored: number of classes with scores, and of the user's classes.
    """

    def __init__(
        self,
        plan: ScenePlan,
        source: RasterSource,
        parts: PartialOutputs,
        legend: Vocabulary,
        options: SceneOptions,
        files: Mapping[str, Path],
        scored: tuple[int, int],
    ) -> None:
        self._plan, self._source, self._parts = plan, source, parts
        self._legend, self._options, self._files = legend, options, files
        self._scored = scored
        self._segments = None if options.segments is None else open_segments(options.segments, source, parts.folder)
        self._classes: SegmentClasses | None = None

    def __call__(self) -> tuple[ClassSums, dict[str, str]]:
        """Write all outputs except the JSON file; returns the totals, and facts for the report."""
        plan, parts, files = self._plan, self._parts, self._files
        labels = parts.labels
        if self._segments is not None:
            labels = self._of_segments(self._segments)
        elif plan.smallest > 1:
            labels = self._merged(plan.smallest)
        changed = labels != parts.labels
        counts = self._counts(labels) if changed else [parts.finished[unit] for unit in plan.units.all()]
        sums = add_up(counts, self._legend.names, plan.units.height * plan.units.width)
        labels = with_overviews(labels, Resampling.mode)
        facts: dict[str, str] = {}
        if self._classes is not None:
            facts["segments"] = f"{len(self._classes.numbers):,} with pixels"
        if "polygons" in files:
            facts |= self._write_polygons(labels)
        self._write_overlay(labels, sums)
        write_style(files["style"], self._legend)
        write_attributes(files["attributes"], self._legend)
        if parts.probabilities is not None:
            write_cog(with_overviews(parts.probabilities, Resampling.average), files["probabilities"])
        write_cog(labels, files["labels"])
        return sums, facts

    def _write_polygons(self, labels: Path) -> dict[str, str]:
        """Write polygons; returns facts for the report."""
        plan, metres = self._plan, self._options.simplify
        down, across = plan.gsd or (1.0, 1.0)
        tolerance = Tolerance(metres / across, down / across) if metres else None
        path, folder, source = self._files["polygons"], self._parts.folder, Path(self._source.path).name
        if self._segments is not None:
            assert self._classes is not None
            count = write_segment_polygons(
                path, labels, self._legend, self._classes, self._segments, plan, source, tolerance, folder
            )
            return {"polygons": f"{count:,}"}
        chosen = [self._legend.names.index(name) for name in self._options.square_names]
        square = Squaring(chosen, (plan.units.height, plan.units.width), down / across, folder) if chosen else None
        working = folder / "polygons.gpkg"
        count = write_polygons(path, labels, self._legend, source, tolerance, working, square=square)
        facts = {"polygons": f"{count:,}"}
        if square is not None:
            facts["right angles"] = f"{square.fitted:,} of {square.fitted + square.kept:,} polygons"
        return facts

    def _of_segments(self, segments: RasterSegments | VectorSegments) -> Path:
        """Write labels and scores of segments."""
        scored, classes = self._scored
        self._classes = classify(self._parts, scored, self._options.rejection, classes)
        if self._classes is None:
            raise InputError(
                f"--segments {self._options.segments}: none of its segments has a pixel with data of "
                f"{self._source.name}; check the coordinates of both"
            )
        return self._rewritten(relabelled(self._classes, segments, self._options.confidence))

    def _merged(self, smallest: int) -> Path:
        """Write labels whose small regions are merged.

        Merged pixels lose their confidence, since the score of their new class is not kept.
        """
        file = self._parts.folder / "merged.raw"
        merged = merge_small_regions(self._parts.labels, smallest, file)
        new = self._rewritten(partial(_changed, merged))
        file.unlink()
        return new

    def _rewritten(self, change: Callable[[Box, np.ndarray, float], np.ndarray]) -> Path:
        """Write changed labels: ``change`` gets a box, its pixels (bands, h, w) and the no-data value."""
        plan, new = self._plan, self._parts.folder / "labels_again.tif"
        create_labels(new, self._source, self._legend, self._options.confidence)
        with rasterio.open(self._parts.labels) as raster:
            for _, band in groupby(plan.units.all(), key=lambda unit: unit.band):
                boxes = [plan.units.box(unit) for unit in band]
                pixels = [raster.read(window=window_of(box)) for box in boxes]
                changed = [change(box, part, raster.nodata) for box, part in zip(boxes, pixels, strict=True)]
                write_boxes(new, list(zip(boxes, changed, strict=True)))
        return new

    def _counts(self, labels: Path) -> list[Counts]:
        """Count the classes of the labels."""
        source, legend = self._source, self._legend
        areas = pixel_areas(source.crs, source.transform)
        counts = []
        with rasterio.open(labels) as raster:
            for unit in self._plan.units.all():
                box = self._plan.units.box(unit)
                ids = raster.read(1, window=window_of(box))
                ids = np.where(ids == raster.nodata, no_class_id(len(legend)), ids)
                counts.append(count_classes(ids, box, len(legend), areas))
        return counts

    def _write_overlay(self, labels: Path, sums: ClassSums) -> None:
        """Write a picture of the scene with its classes painted over it, and a legend."""
        raster = LabelRaster(self._plan, labels, self._legend, self._options.confidence)
        shares = list(sums.shares.values())
        picture = draw_overlay(self._parts.picture(), raster.read_small_labels(), self._legend, shares=shares)
        with atomic_path(self._files["overlay"]) as unfinished:
            unfinished.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())  # twice as fast as Pillow


def _changed(merged: np.ndarray, box: Box, pixels: np.ndarray, nodata: float) -> np.ndarray:
    """The pixels (bands, h, w) of a box after the merge."""
    labels = merged[box.top : box.bottom, box.left : box.right]
    labels = np.where(pixels[0] == nodata, pixels[0], labels)
    percents = np.where(labels == pixels[0], pixels[1:], pixels.dtype.type(nodata))
    return np.concatenate([labels[None], percents])
