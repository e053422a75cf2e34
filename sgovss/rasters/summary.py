"""What a scene's map comes to: shares and areas of the classes, an overview, and the facts for the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from PIL import Image
from rasterio.windows import Window

from sgovss.files import atomic_path, write_json_atomically
from sgovss.inference.report import ClassRow, ReportEntry
from sgovss.painting import draw_overlay
from sgovss.rasters.areas import pixel_areas
from sgovss.rasters.grid import WindowGrid
from sgovss.rasters.source import RasterSource
from sgovss.vocabulary import Vocabulary

_OVERVIEW = 1400  # longest side of the overlay in pixels


def class_rows(source: RasterSource, labels: Path, legend: Vocabulary) -> tuple[list[ClassRow], float]:
    """Share and area of each class, and the share of the scene's pixels that have any.

    Args:
        labels: the label raster of :func:`sgovss.rasters.writer.write_labels`.
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
    total = max(1.0, counts.sum())
    colors = legend.colors().tolist()
    rows = [
        ClassRow(name, tuple(color), count / total, None if areas is None else square)
        for name, color, count, square in zip(legend.names, colors, counts, squares, strict=True)
    ]
    return rows, counts.sum() / (source.height * source.width)


def draw_overview(source: RasterSource, labels: Path, legend: Vocabulary, shares: Sequence[float], path: Path) -> None:
    """Write a picture of the whole scene under its classes, with a legend of their shares."""
    factor = max(1.0, max(source.height, source.width) / _OVERVIEW)
    size = max(1, round(source.height / factor)), max(1, round(source.width / factor))
    image = source.read(Window(0, 0, source.width, source.height), size)
    with rasterio.open(labels) as raster:
        ids, nodata = raster.read(1, out_shape=size), int(raster.nodata)
    picture = draw_overlay(image, ids.astype(np.int64), legend, ignore=nodata, shares=shares)
    with atomic_path(path) as partial:
        Image.fromarray(picture).save(partial)


def write_finished(
    target: Path, source: RasterSource, entry: ReportEntry, covered: float, settings: Mapping[str, Any]
) -> None:
    """Write shares and areas as JSON, last of all: a scene that has this file is finished."""
    rows = entry.classes
    content = {
        "image": entry.title,
        "height": source.height,
        "width": source.width,
        "segmented": covered,
        "shares": {row.name: row.share for row in rows},
        "square_metres": None if rows[0].square_metres is None else {row.name: row.square_metres for row in rows},
        "facts": dict(entry.facts),
        "settings": settings,
    }
    write_json_atomically(beside(target, "shares.json"), content)


def read_finished(
    target: Path, settings: Mapping[str, Any], legend: Vocabulary, outputs: Sequence[Path]
) -> ReportEntry | None:
    """The entry of a scene that was finished with the same settings and whose outputs are there; else None."""
    try:
        content = json.loads(beside(target, "shares.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if content.get("settings") != json.loads(json.dumps(settings)) or not all(path.is_file() for path in outputs):
        return None
    areas = content["square_metres"] or {}
    colors = legend.colors().tolist()
    rows = [
        ClassRow(name, tuple(color), content["shares"][name], areas.get(name))
        for name, color in zip(legend.names, colors, strict=True)
    ]
    return ReportEntry(content["image"], beside(target, "overlay.png"), rows, content["facts"])


def beside(target: Path, ending: str) -> Path:
    """The path of one of a scene's outputs."""
    return target.with_name(f"{target.name}_{ending}")


def facts_of(source: RasterSource, grid: WindowGrid, distance: float | None, scale: float) -> dict[str, str]:
    """What the report says of a scene beside its classes."""
    seen = "" if distance is None else f", {distance / scale:.3g} m a pixel to the model"
    return {
        "size": f"{source.width:,} x {source.height:,} pixels",
        "coordinates": "none" if source.crs is None else source.crs.to_string()[:60],
        "ground sample distance": "not known" if distance is None else f"{distance:.3g} m{seen}",
        "bands": ", ".join(map(str, source.bands)),
        "stretch": "none"
        if source.stretch is None
        else "; ".join(f"{lo:.4g} to {hi:.4g}" for lo, hi in source.stretch),
        "windows": f"{grid.window} pixels every {grid.stride}",
    }


def _counts(ids: np.ndarray, classes: int) -> np.ndarray:
    """(h, classes) pixels of each class in each row."""
    known = np.minimum(ids.astype(np.int64), classes)
    rows = np.arange(len(ids))[:, None] * (classes + 1)
    flat = np.bincount((known + rows).reshape(-1), minlength=len(ids) * (classes + 1))
    return flat.reshape(len(ids), classes + 1)[:, :classes].astype(float)
