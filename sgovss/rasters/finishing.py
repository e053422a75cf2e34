"""Turn the finished units of a scene into its outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.enums import Resampling

from sgovss.files import atomic_path, replace_durably
from sgovss.label_ids import no_class_id
from sgovss.painting import draw_overlay
from sgovss.rasters.areas import pixel_areas
from sgovss.rasters.class_sums import ClassSums, Counts, add_up, count_classes
from sgovss.rasters.geotiff import add_overviews, create_labels, create_probabilities, window_of, write_boxes
from sgovss.rasters.merging import merge_small_regions
from sgovss.rasters.partial import PartialOutputs
from sgovss.rasters.plan import ScenePlan
from sgovss.rasters.source import RasterSource
from sgovss.rasters.style import write_style
from sgovss.rasters.summary import LabelRaster
from sgovss.rasters.units import Box
from sgovss.rasters.vectors import write_polygons
from sgovss.vocabulary import Vocabulary

Change = Callable[[Box, np.ndarray], np.ndarray]
"""The box of a unit and its pixels (bands, h, w) -> other pixels of the same shape."""


class Finisher:
    """Writes the outputs of a scene.

    Args:
        plan: the plan of the scene.
        source: the raster.
        parts: its finished units.
        legend, scored: classes of the labels and of the scores.
        confidence: whether the labels have a band of percents.
        files: paths of the outputs, by kind.
    """

    def __init__(
        self,
        plan: ScenePlan,
        source: RasterSource,
        parts: PartialOutputs,
        legend: Vocabulary,
        scored: Vocabulary,
        confidence: bool,
        files: Mapping[str, Path],
    ) -> None:
        self._plan, self._source, self._parts = plan, source, parts
        self._legend, self._scored = legend, scored
        self._confidence, self._files = confidence, files

    def __call__(self) -> tuple[ClassSums, dict[str, str]]:
        """Write all outputs except the JSON file; returns the totals, and facts for the report."""
        plan, parts = self._plan, self._parts
        merging = plan.smallest > 1
        if merging:
            self._merge(plan.smallest)
        elif not self._in_order():
            self._write_labels_again()
        if parts.probabilities is not None:
            if not self._in_order():
                again = parts.probabilities.with_name("probabilities_again.tif")
                create_probabilities(again, self._source, self._scored)
                self._copy(parts.probabilities, again)
                again.replace(parts.probabilities)
            add_overviews(parts.probabilities, Resampling.average)
        counts = self._counts() if merging else [parts.finished[unit] for unit in plan.units.all()]
        sums = add_up(counts, self._legend.names, plan.units.height * plan.units.width)
        add_overviews(parts.labels, Resampling.mode)
        facts = {}
        if "polygons" in self._files:
            facts["polygons"] = f"{write_polygons(self._files['polygons'], parts.labels, self._legend):,}"
        self._write_overlay(sums)
        write_style(self._files["style"], self._legend)
        if parts.probabilities is not None:
            replace_durably(parts.probabilities, self._files["probabilities"])
        replace_durably(parts.labels, self._files["labels"])
        return sums, facts

    def _in_order(self) -> bool:
        """Whether the tiles were written by one run, in the order of a run with one process and no interruption.

        Otherwise they are copied in this order, so that equal results are equal files.
        """
        order = [unit for part in self._plan.serial_order([*self._plan.units.all()]) for unit in part]
        return [*self._parts.finished] == order and len(self._parts.runs) == 1

    def _write_labels_again(self, change: Change = lambda _, pixels: pixels) -> None:
        again = self._parts.labels.with_name("labels_again.tif")
        create_labels(again, self._source, self._legend, self._confidence)
        self._copy(self._parts.labels, again, change)
        again.replace(self._parts.labels)

    def _copy(self, old: Path, new: Path, change: Change = lambda _, pixels: pixels) -> None:
        """Copy all units in order, band by band."""
        plan = self._plan
        with rasterio.open(old) as raster:
            for part in plan.serial_order([*plan.units.all()]):
                for _, band in groupby(part, key=lambda unit: unit.band):
                    boxes = [plan.units.box(unit) for unit in band]
                    pixels = [change(box, raster.read(window=window_of(box))) for box in boxes]
                    write_boxes(new, list(zip(boxes, pixels, strict=True)))

    def _merge(self, smallest: int) -> None:
        """Merge small regions. Merged pixels lose their confidence, since the score of their new class is not kept."""
        file = self._parts.folder / "merged.raw"
        merged = merge_small_regions(self._parts.labels, smallest, file)
        with rasterio.open(self._parts.labels) as raster:
            nodata = raster.nodata

        def change(box: Box, pixels: np.ndarray) -> np.ndarray:
            labels = merged[box.top : box.bottom, box.left : box.right]
            labels = np.where(pixels[0] == nodata, pixels[0], labels)
            percents = np.where(labels == pixels[0], pixels[1:], pixels.dtype.type(nodata))
            return np.concatenate([labels[None], percents])

        self._write_labels_again(change)
        file.unlink()

    def _counts(self) -> list[Counts]:
        """Count the classes of the labels as they are now."""
        source, legend = self._source, self._legend
        areas = pixel_areas(source.crs, source.transform)
        counts = []
        with rasterio.open(self._parts.labels) as raster:
            for unit in self._plan.units.all():
                box = self._plan.units.box(unit)
                ids = raster.read(1, window=window_of(box))
                ids = np.where(ids == raster.nodata, no_class_id(len(legend)), ids)
                counts.append(count_classes(ids, box.top, (box.left + box.right) / 2, len(legend), areas))
        return counts

    def _write_overlay(self, sums: ClassSums) -> None:
        """Write a picture of the scene with its classes painted over it, and a legend."""
        raster = LabelRaster(self._plan, self._parts.labels, self._legend, self._confidence)
        shares = list(sums.shares.values())
        picture = draw_overlay(self._parts.picture(), raster.read_small_labels(), self._legend, shares=shares)
        with atomic_path(self._files["overlay"]) as partial:
            Image.fromarray(picture).save(partial, compress_level=1)  # six times as fast, and a tenth larger
