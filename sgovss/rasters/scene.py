"""A whole scene in words: from a raster file to a map, with all that a mapper needs around it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from tqdm import tqdm

from sgovss.errors import InputError
from sgovss.inference.files import window_at_once
from sgovss.inference.predictor import Predictor
from sgovss.inference.rejection import Rejection
from sgovss.inference.report import ReportEntry
from sgovss.label_ids import id_dtype
from sgovss.rasters.areas import ground_sample_distance
from sgovss.rasters.features import FeatureCache
from sgovss.rasters.grid import WindowGrid, strip_width
from sgovss.rasters.segmenter import SceneSegmenter
from sgovss.rasters.source import RasterSource
from sgovss.rasters.store import ChunkStore
from sgovss.rasters.style import write_style
from sgovss.rasters.summary import beside, class_rows, draw_overview, facts_of, read_finished, write_finished
from sgovss.rasters.vectors import AreaOfInterest, write_polygons
from sgovss.rasters.writer import gdal_environment, write_labels, write_probabilities
from sgovss.resources import peak_megabytes
from sgovss.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

_WINDOW_SHARE = 4  # of TEST.SCENE.MEMORY, that the scores of one window may take
_FARTHEST = 16.0  # a scene is shrunk or enlarged at most so much


@dataclass(frozen=True)
class SceneOptions:
    """What a user may ask for beside the words.

    Attributes:
        bands: 1-based numbers shown as red, green and blue.
        percentiles: of the stretch to 8 bits; None only stretches what is not 8-bit.
        distance: ground sample distance, in metres, at which the model is to see scenes; 0 takes the one it was
            trained at.
        aoi: vector file of the area of interest.
        smallest: regions below this many square metres, or pixels, join their neighbour.
        smallest_in_pixels: the unit of ``smallest``.
        confidence, probabilities, polygons: further outputs.
        cache: folder for encoded windows.
        resume: go on where an earlier run was interrupted.
        rejection: what makes a pixel "other".
    """

    bands: tuple[int, int, int] | None = None
    percentiles: tuple[float, float] | None = None
    distance: float = 0.0
    aoi: Path | None = None
    smallest: float = 0.0
    smallest_in_pixels: bool = False
    confidence: bool = False
    probabilities: bool = False
    polygons: bool = False
    cache: Path | None = None
    resume: bool = False
    rejection: Rejection = field(default_factory=Rejection)


class SceneMapper:
    """Segments scenes with one model and one vocabulary.

    Args:
        predictor: the model.
        vocabulary: the user's words.
        options: see there.
    """

    def __init__(self, predictor: Predictor, vocabulary: Vocabulary, options: SceneOptions) -> None:
        self.predictor = predictor
        self.options = options
        self.scored = options.rejection.scored(vocabulary)
        self.legend = options.rejection.legend(vocabulary)
        self.classes = len(vocabulary)

    def __call__(self, path: Path, target: Path) -> ReportEntry:
        """Segment one scene.

        Writes ``<target>_labels.tif`` with ``<target>_labels.qml``, ``<target>_overlay.png`` and
        ``<target>_shares.json``; if asked for, ``<target>_probabilities.tif`` and ``<target>_polygons.gpkg``. What is
        finished is kept in ``<target>.parts`` until all is.

        Raises:
            InputError: the scene cannot be read, an option does not fit it, or the outputs cannot be written.
        """
        started = time.monotonic()
        try:
            with gdal_environment(), RasterSource(path, self.options.bands, self.options.percentiles) as source:
                return self._segment(source, target, started)
        except rasterio.errors.RasterioError as error:
            raise InputError(
                f"{path}: {' '.join(str(error).split())}; what is finished is kept for --resume"
            ) from error
        except OSError as error:
            raise InputError(
                f"{target}: cannot write ({error.strerror or error}); what is finished is kept, go on with --resume"
            ) from error

    def _segment(self, source: RasterSource, target: Path, started: float) -> ReportEntry:
        distance = ground_sample_distance(source.crs, source.transform, source.height, source.width)
        scale = self._scale(source, distance)
        grid = self._grid(source, scale)
        area = AreaOfInterest(self.options.aoi, source) if self.options.aoi else None
        smallest = self._smallest(source, distance)
        seen = self._view_settings(source, grid, scale)
        settings = self._settings(seen)
        finished = {**settings, "smallest": smallest, "polygons": self.options.polygons}
        if self.options.resume:
            entry = read_finished(target, finished, self.legend, self._outputs(target))
            if entry is not None:
                return entry
        store = ChunkStore(target.with_name(f"{target.name}.parts"), settings, self.options.resume)
        segmenter = SceneSegmenter(
            source, grid, len(self.scored), self._score(seen), scale, self.predictor.cfg.TEST.SCENE.BATCH, area
        )
        self._fill(store, segmenter, path=source.path)
        labels = beside(target, "labels.tif")
        write_labels(labels, source, grid, store, self.legend, self.options.confidence, smallest)
        write_style(labels.with_suffix(".qml"), self.legend)
        facts = facts_of(source, grid, distance, scale)
        if self.options.probabilities:
            write_probabilities(beside(target, "probabilities.tif"), source, grid, store, self.scored)
        if self.options.polygons:
            count = write_polygons(beside(target, "polygons.gpkg"), labels, self.legend)
            facts["polygons"] = f"{count:,}"
        rows, covered = class_rows(source, labels, self.legend)
        overlay = beside(target, "overlay.png")
        draw_overview(source, labels, self.legend, [row.share for row in rows], overlay)
        seconds = time.monotonic() - started
        facts["time"] = f"{seconds:.1f} s, {source.height * source.width / 1e6 / seconds:.2f} megapixels a second"
        facts["peak memory"] = f"{peak_megabytes():,.0f} MB, of the process so far"
        entry = ReportEntry(str(source.path), overlay, rows, facts)
        write_finished(target, source, entry, covered, finished)
        store.remove()
        return entry

    def _outputs(self, target: Path) -> list[Path]:
        """The files that a finished scene has."""
        endings = ["labels.tif", "labels.qml", "overlay.png"]
        endings += ["probabilities.tif"] * self.options.probabilities + ["polygons.gpkg"] * self.options.polygons
        return [beside(target, ending) for ending in endings]

    def _scale(self, source: RasterSource, distance: float | None) -> float:
        """Pixels of the model's view for one of the scene."""
        wanted = self.options.distance or self.predictor.cfg.INPUT.GROUND_SAMPLE_DISTANCE
        if not wanted or distance is None:
            why = "it is not georeferenced" if wanted else "what the model was trained at is not known (see --gsd)"
            logger.warning("%s: taken at its own resolution, as %s", source.path, why)
            return 1.0
        scale = distance / wanted
        if not 1 / _FARTHEST <= scale <= _FARTHEST:
            raise InputError(
                f"{source.path}: has {distance:.3g} m a pixel, the model is to see {wanted:.3g} m; that is too far "
                "apart, give another --gsd"
            )
        # A tenth more or less is no other scale to the model, and resampling would blur.
        return 1.0 if 0.9 <= scale <= 1.1 else scale

    def _grid(self, source: RasterSource, scale: float) -> WindowGrid:
        node = self.predictor.cfg.TEST.SCENE
        if not 0 < node.STRIDE <= node.WINDOW:
            raise InputError(f"TEST.SCENE: the stride ({node.STRIDE}) must be from 1 to the window ({node.WINDOW})")
        # Where the scene is finer than the model's view, windows have many pixels; their scores must fit too.
        largest = math.isqrt(_WINDOW_SHARE * node.MEMORY * 2**20 // (4 * len(self.scored)))
        enlarged = min(1 / scale, max(1.0, largest / node.WINDOW))
        # Thousands of words: rather smaller windows than more memory than there is.
        enlarged = min(enlarged, window_at_once(len(self.scored)) / node.WINDOW)
        window, stride = (max(1, round(side * enlarged)) for side in (node.WINDOW, node.STRIDE))
        strip = strip_width(len(self.scored), min(window, source.height), node.MEMORY, source.width)
        return WindowGrid(source.height, source.width, window, stride, strip)

    def _smallest(self, source: RasterSource, distance: float | None) -> int:
        """The least number of pixels of a region."""
        if self.options.smallest_in_pixels or not self.options.smallest:
            return math.ceil(self.options.smallest)
        if distance is None:
            raise InputError(f"--min-area: {source.path} is not georeferenced; give pixels, such as 50px")
        return math.ceil(self.options.smallest / distance**2)

    def _view_settings(self, source: RasterSource, grid: WindowGrid, scale: float) -> dict[str, Any]:
        """All that the encoded windows depend on."""
        stat = source.path.stat()
        return {
            "scene": [str(source.path.resolve()), stat.st_size, stat.st_mtime_ns],
            "bands": source.bands,
            "stretch": source.stretch,
            "window": [grid.window, grid.stride],
            "scale": scale,
            "model": self.predictor.fingerprint,
        }

    def _settings(self, seen: Mapping[str, Any]) -> dict[str, Any]:
        """All that the finished chunks depend on."""
        aoi = self.options.aoi
        return {
            **seen,
            "words": [entry.names for entry in self.scored],
            "legend": self.legend.names,
            "threshold": self.options.rejection.threshold,
            "aoi": None if aoi is None else [str(aoi.resolve()), aoi.stat().st_mtime_ns],
            "memory": self.predictor.cfg.TEST.SCENE.MEMORY,
            "outputs": [self.options.confidence, self.options.probabilities],
        }

    def _score(self, seen: Mapping[str, Any]):
        model = self.predictor.model
        if self.options.cache is None:
            return lambda corners, read: model.scores(read(corners).to(model.device), self.scored)
        cache = FeatureCache(self.options.cache, seen)

        def score(corners, read):
            parts = []
            for corner in corners:
                encoded = cache.get(corner, lambda corner=corner: model.encode(read([corner]).to(model.device)))
                levels = {name: level.to(model.device) for name, level in encoded.levels.items()}
                parts.append(model.classify(encoded._replace(levels=levels), self.scored))
            return torch.cat(parts)

        return score

    @torch.no_grad()
    def _fill(self, store: ChunkStore, segmenter: SceneSegmenter, path: Path) -> None:
        grid = segmenter.grid
        total = grid.strips * len(grid.tops)
        dtype = id_dtype(len(self.legend))
        with tqdm(total=total, desc=path.name, unit="row", mininterval=1, leave=False) as progress:
            for strip in range(grid.strips):
                missing = [chunk for chunk in grid.chunks(strip) if not store.has(chunk)]
                progress.update(len(grid.tops) - len(missing))
                for chunk, scores, valid in segmenter.run(strip, missing[0].row) if missing else ():
                    if not store.has(chunk):
                        store.save(chunk, **self._arrays(scores, valid, dtype))
                        progress.update()

    def _arrays(self, scores: torch.Tensor, valid: np.ndarray, dtype: type) -> dict[str, np.ndarray]:
        labels, best = self.options.rejection(scores, self.classes)
        arrays = {"labels": np.where(valid, labels.numpy(), np.iinfo(dtype).max).astype(dtype)}
        if self.options.confidence:
            arrays["confidence"] = _percents(best, valid)
        if self.options.probabilities:
            arrays["probabilities"] = _percents(scores, valid)
        return arrays


def _percents(scores: torch.Tensor, valid: np.ndarray) -> np.ndarray:
    return np.where(valid, (scores.numpy() * 100).round(), 255).astype(np.uint8)
