"""The result of a scene: its label raster, totals, overlay, and facts for the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from sgovss.files import write_json_atomically
from sgovss.inference.segmentation import Georeference, Segmentation
from sgovss.label_ids import no_class_id
from sgovss.rasters.class_sums import ClassSums
from sgovss.rasters.gdal import gdal_environment
from sgovss.rasters.no_data import NoData
from sgovss.rasters.picture import picture_size, read_picture
from sgovss.rasters.plan import ScenePlan
from sgovss.rasters.planning import metres
from sgovss.rasters.source import RasterSource
from sgovss.vocabulary import Vocabulary


@dataclass(frozen=True)
class LabelRaster:
    """The label raster of a scene, which can be read back as a :class:`Segmentation`.

    Args:
        plan: the plan of the scene.
        file: path of the label raster; see :func:`sgovss.rasters.geotiff.create_labels`.
        legend: its classes.
        confidence: whether it has a band of percents.
    """

    plan: ScenePlan
    file: Path
    legend: Vocabulary
    confidence: bool

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
        """Read the (H, W) float32 scores in 0..1 from the confidence band; NaN where there is none."""
        with gdal_environment(), rasterio.open(self.file) as raster:
            percent = raster.read(2)
            return np.where(percent == raster.nodata, np.nan, percent / 100).astype(np.float32)

    def read_preview(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the scene (h, w, 3) uint8 and its labels (h, w), shrunk to at most 1400 pixels along a side."""
        with gdal_environment(), open_source(self.plan) as source:
            picture = read_picture(source, self.plan.units)
        return picture, self.read_small_labels()

    def read_small_labels(self) -> np.ndarray:
        """Read the labels (h, w) at the size of the overview picture."""
        return self.read_labels(picture_size(self.plan.units.height, self.plan.units.width))

    def segmentation(
        self, source: RasterSource, sums: ClassSums, files: Mapping[str, Path], facts: Mapping[str, str]
    ) -> Segmentation:
        """Make the result of the scene, which reads arrays from the files when they are asked for."""
        crs = source.crs
        return Segmentation(
            self.read_labels,
            self.legend,
            self.read_scores if self.confidence else None,
            preview=self.read_preview,
            shares=sums.shares,
            areas=sums.areas,
            georeference=None if crs is None else Georeference(crs.to_wkt(), tuple(source.transform)[:6]),
            source=source.name,
            files=files,
            facts=facts,
        )


def open_source(plan: ScenePlan) -> RasterSource:
    """Open the raster of a plan, with all that was found out about it when it was planned."""
    no_data = NoData.from_json(plan.no_data)
    return RasterSource(plan.path, plan.bands, ranges=plan.stretch, no_data=no_data, fit_gcps=plan.fit_gcps)


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


def facts_of(source: RasterSource, plan: ScenePlan) -> dict[str, str]:
    """Collect facts about a scene for the report."""
    ranges, gsd, axes = source.stretch, plan.gsd, (plan.down, plan.across)
    return {
        "size": f"{source.width:,} x {source.height:,} pixels",
        "coordinates": _coordinates(source),
        "ground sample distance": "not known"
        if gsd is None
        else f"{metres(gsd)}, resampled to {metres((gsd[0] / axes[0].scale, gsd[1] / axes[1].scale))} for the model",
        "bands": ", ".join(map(str, source.bands)),
        "stretch": "none" if ranges is None else "; ".join(f"{low:.4g} to {high:.4g}" for low, high in ranges),
        "windows": " x ".join(dict.fromkeys(f"{axis.window}" for axis in axes))
        + f" pixels of the model, stride {max(axis.stride for axis in axes)}",
    }


def _coordinates(source: RasterSource) -> str:
    if source.crs is not None and not source.transform.is_identity:
        return str(source.crs.to_string()[:60])
    return source.georeference.kind if source.georeference.exists else "none"
