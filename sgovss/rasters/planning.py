"""Plan a scene: resolution, windows, units of work, batches."""

from __future__ import annotations

import logging
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode

from sgovss.errors import InputError
from sgovss.modeling.views import build_views
from sgovss.rasters.areas import ground_sample_distances
from sgovss.rasters.grid import Axis
from sgovss.rasters.names import parts_of_inside
from sgovss.rasters.options import SceneOptions, file_and_layer
from sgovss.rasters.plan import ScenePlan, plan_units
from sgovss.rasters.source import RasterSource
from sgovss.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

_MAX_SCALE = 16.0  # a scene is shrunk or enlarged at most by this factor
_SAME = 0.1  # a smaller difference of the resolution changes the result little, and resampling would blur the scene
_MOST_WINDOWS = 16
_BYTES_OF_A_PIXEL = 2048  # of the encoder's largest maps, in a window of the model
_BYTES_OF_A_SCORE = 8  # of the decoder's maps, for each pixel and class


def plan_scene(
    source: RasterSource,
    target: Path,
    options: SceneOptions,
    scored: Vocabulary,
    legend: Vocabulary,
    cfg: CfgNode,
    model: tuple[int, int, torch.device],
    fingerprint: str,
) -> ScenePlan:
    """Plan a scene.

    Args:
        source: the raster.
        target: folder and beginning of the names of the outputs.
        options: as of the command.
        scored, legend: classes of the scores and of the labels.
        cfg: config of the model.
        model: its ``size_divisibility`` and ``map_cells``, and the device it runs on.
        fingerprint: of the model.

    Raises:
        InputError: an option does not fit the raster.
    """
    node, (step, cells, device) = cfg.TEST.SCENE, model
    gsd = ground_sample_distances(*source.ground, source.height, source.width)
    scales = _scales(source, gsd, options.gsd or cfg.INPUT.GROUND_SAMPLE_DISTANCE)
    stride = node.STRIDE if options.overlap is None else round(node.WINDOW * (1 - options.overlap))
    axis = partial(Axis.plan, window=node.WINDOW, stride=stride, step=step, cells=cells)
    down, across = map(axis, (source.height, source.width), scales)
    largest = max(1.0, *build_views(cfg).scales)
    units, strips = plan_units(down, across, len(scored), node.MEMORY, options.probabilities)
    return ScenePlan(
        path=source.name,
        target=str(target),
        bands=source.bands,
        stretch=source.stretch,
        no_data=source.no_data.as_json(),
        fit_gcps=options.fit_gcps,
        down=down,
        across=across,
        units=units,
        batch=node.BATCH or windows_at_once(device, round(largest**2 * down.window * across.window), len(scored)),
        strips=strips,
        smallest=_smallest(source, options, gsd),
        gsd=gsd,
        settings={
            **_settings(source, options, scored, legend, down, across, fingerprint),
            "views": build_views(cfg).names,
        },
    )


def view_settings(plan: ScenePlan) -> dict[str, Any]:
    """Everything that the encoded windows depend on."""
    return {key: plan.settings[key] for key in ("scene", "bands", "stretch", "no data", "window", "size", "model")}


def windows_at_once(device: torch.device, pixels: int, classes: int) -> int:
    """Choose how many windows are scored at once.

    Args:
        device: a processor gains nothing from several; a GPU does, as long as they take a small part of its memory.
        pixels: of a window.
        classes: T.
    """
    if device.type != "cuda":
        return 1
    memory = torch.cuda.get_device_properties(device).total_memory // 4
    return max(1, min(_MOST_WINDOWS, memory // (pixels * (_BYTES_OF_A_PIXEL + _BYTES_OF_A_SCORE * classes))))


def _scales(source: RasterSource, gsd: tuple[float, float] | None, wanted: float) -> tuple[float, float]:
    """Factors by which the scene is resampled down and across before the model sees it.

    The model gets pixels that are square on the ground.
    """
    if not wanted or gsd is None:
        why = _why_unknown(source) if wanted else "the model's ground sample distance is not known (see --gsd)"
        logger.warning("%s: segmented at its own resolution, because %s", source.name, why)
    if gsd is None:
        return 1.0, 1.0
    down, across = (side / (wanted or math.sqrt(gsd[0] * gsd[1])) for side in gsd)
    if not all(1 / _MAX_SCALE <= scale <= _MAX_SCALE for scale in (down, across)):
        raise InputError(
            f"{source.name}: has {metres(gsd)} per pixel, and the model is to get {wanted:.3g} m; a factor of more "
            f"than {_MAX_SCALE:g} is not supported, give another --gsd"
        )
    return tuple(1.0 if abs(scale - 1) <= _SAME else scale for scale in (down, across))  # type: ignore[return-value]


def _why_unknown(source: RasterSource) -> str:
    """Return why the size of a raster's pixels on the ground is not known."""
    found = source.georeference
    if not found.exists:
        return "its geolocation arrays are not read" if found.arrays else "it is not georeferenced"
    if found.ground is not None:
        return "its coordinates have no place on the earth"
    return "nothing fits its " + found.kind if found.transform.is_identity else "it has no coordinate reference system"


def metres(gsd: tuple[float, float]) -> str:
    """Size of a pixel as text: one number if it is nearly square, else down x across."""
    down, across = gsd
    if abs(down / across - 1) <= _SAME:
        return f"{math.sqrt(down * across):.3g} m"
    return f"{down:.3g} x {across:.3g} m"


def _smallest(source: RasterSource, options: SceneOptions, gsd: tuple[float, float] | None) -> int:
    """Return the minimum size of a region in pixels."""
    if options.simplify and gsd is None:
        raise InputError(f"--simplify: {source.name} is not georeferenced, so metres are not known; leave it out")
    if options.min_area_in_pixels or not options.min_area:
        return math.ceil(options.min_area)
    if gsd is None:
        raise InputError(f"--min-area: {source.name} is not georeferenced; give pixels, such as 50px")
    return math.ceil(options.min_area / (gsd[0] * gsd[1]) - 1e-6)


def _settings(
    source: RasterSource,
    options: SceneOptions,
    scored: Vocabulary,
    legend: Vocabulary,
    down: Axis,
    across: Axis,
    fingerprint: str,
) -> dict[str, Any]:
    """Everything that the pixels of finished units depend on."""
    files = {"aoi": options.aoi, "segments": options.segments}
    offsets = [entry.offset for entry in scored]
    return {
        "scene": source.identity,
        "bands": list(source.bands),
        "stretch": source.stretch,
        "no data": options.no_data,
        "fit gcps": options.fit_gcps,
        "window": [down.window, across.window, down.stride, across.stride],
        "size": [down.length, across.length],
        "model": fingerprint,
        "words": [entry.scored_names for entry in scored],
        "offsets": offsets if any(offsets) else None,  # as in runs from before there were offsets
        "legend": legend.names,
        "threshold": options.rejection.threshold,
        **{name: None if file is None else _file_identity(file) for name, file in files.items()},
        "edges": options.edges or None,  # as in runs from before there was this option
        "outputs": [options.confidence, options.probabilities],
    }


def _file_identity(name: str | Path) -> list[Any]:
    """What changes when a vector file, or the layer of it, changes."""
    file, layer = file_and_layer(name)
    _, archive, inside = parts_of_inside(file)
    outer = archive or Path(file)
    return [f"{outer.resolve()}{inside}", outer.stat().st_mtime_ns, layer]
