"""Segment a scene of any size: from a raster file to a georeferenced label map."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from tqdm import tqdm

from sgovss.errors import InputError
from sgovss.inference.memory import window_at_once
from sgovss.inference.predictor import ImagePredictor
from sgovss.inference.segmentation import Segmentation, output_file
from sgovss.label_ids import id_dtype, no_class_id
from sgovss.modeling.meta_arch import SGOVSS
from sgovss.rasters.area_of_interest import AreaOfInterest
from sgovss.rasters.areas import ground_sample_distance
from sgovss.rasters.blending import Corner, ReadWindows, ScoreWindows, WindowBlender
from sgovss.rasters.features import FeatureCache
from sgovss.rasters.grid import WindowGrid, strip_width
from sgovss.rasters.options import SceneOptions, file_and_layer
from sgovss.rasters.source import RasterSource
from sgovss.rasters.store import ChunkStore
from sgovss.rasters.style import write_style
from sgovss.rasters.summary import LabelRaster, facts_of, read_finished, sum_classes, write_finished
from sgovss.rasters.vectors import write_polygons
from sgovss.rasters.writer import gdal_environment, write_labels, write_probabilities
from sgovss.resources import peak_megabytes
from sgovss.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

_WINDOW_MULTIPLE = 4  # the scores of one window may take at most 4 times TEST.SCENE.MEMORY
_MAX_SCALE = 16.0  # a scene is shrunk or enlarged at most by this factor


class RasterSegmenter:
    """Segments rasters with one model and one vocabulary.

    Args:
        predictor: the model.
        vocabulary: the classes, or a text for :meth:`Vocabulary.parse`.
        options: bands, resolution, outputs and others; None for the defaults.

    Raises:
        InputError: the vocabulary is wrong, or an option does not fit the model.
    """

    def __init__(
        self, predictor: ImagePredictor, vocabulary: Vocabulary | str, options: SceneOptions | None = None
    ) -> None:
        vocabulary = Vocabulary.parse(vocabulary) if isinstance(vocabulary, str) else vocabulary
        self.options = options or SceneOptions()
        if self.options.cache and not isinstance(predictor.model, SGOVSS):
            raise InputError(
                "--cache stores encoded windows, which an ONNX file does not return; leave out --cache or --onnx"
            )
        self.predictor = predictor
        self.scored = self.options.rejection.scored(vocabulary)
        self.legend = self.options.rejection.legend(vocabulary)
        self.classes = len(vocabulary)

    def __call__(self, path: str | Path, target: str | Path) -> Segmentation:
        """Segment one raster.

        Writes ``<target>_labels.tif`` with ``<target>_labels.qml``, ``<target>_overlay.png`` and
        ``<target>_shares.json``; on request ``<target>_probabilities.tif`` and ``<target>_polygons.gpkg``. Finished
        parts are kept in ``<target>.parts`` until all files are written.

        Args:
            path: a file that GDAL reads.
            target: folder and beginning of the names of the outputs, such as ``output/county``.

        Returns:
            a result that reads labels and scores from ``<target>_labels.tif`` when they are asked for.

        Raises:
            InputError: the raster cannot be read, an option does not fit it, or the outputs cannot be written.
        """
        started = time.monotonic()
        try:
            with gdal_environment(), RasterSource.from_options(path, self.options) as source:
                return self._segment(source, Path(target), started)
        except rasterio.errors.RasterioError as error:
            raise InputError(
                f"{path}: {' '.join(str(error).split())}; finished parts are kept, continue with --resume"
            ) from error
        except OSError as error:
            raise InputError(
                f"{target}: cannot write ({error.strerror or error}); finished parts are kept, continue with --resume"
            ) from error

    def _segment(self, source: RasterSource, target: Path, started: float) -> Segmentation:
        for line in source.remarks:
            logger.warning("%s: %s", source.name, line)
        gsd = ground_sample_distance(*source.ground, source.height, source.width)
        scale = self._scale(source, gsd)
        grid = self._grid(source, scale)
        area = AreaOfInterest(self.options.aoi, source) if self.options.aoi else None
        smallest = self._smallest(source, gsd)
        view = self._view_settings(source, grid, scale)
        settings = self._settings(view)
        finished = {**settings, "smallest": smallest, "polygons": self.options.polygons}
        files = self._files(target)
        result = LabelRaster(source.name, self.options, files["labels"], self.legend)
        if self.options.resume:
            segmentation = read_finished(result, source, files, finished)
            if segmentation is not None:
                return segmentation
        store = ChunkStore(target.with_name(f"{target.name}.parts"), settings, self.options.resume)
        batch = self.predictor.cfg.TEST.SCENE.BATCH
        blender = WindowBlender(source, grid, len(self.scored), self._score(view), scale, batch, area)
        self._fill(store, blender, source.path)
        facts = facts_of(source, grid, gsd, scale)
        facts |= self._write(files, source, grid, store, smallest)
        sums = sum_classes(source, files["labels"], self.legend)
        result.write_overlay(source, sums, files["overlay"])
        seconds = time.monotonic() - started
        facts["time"] = f"{seconds:.1f} s, {source.height * source.width / 1e6 / seconds:.2f} megapixels a second"
        facts["peak memory"] = f"{peak_megabytes():,.0f} MB, of the process so far"
        write_finished(files["shares"], source, sums, facts, finished)
        store.remove()
        return result.segmentation(source, sums, files, facts)

    def _files(self, target: Path) -> dict[str, Path]:
        """Return the paths of a scene's outputs, by kind."""
        endings = {"labels": "labels.tif", "style": "labels.qml", "overlay": "overlay.png", "shares": "shares.json"}
        if self.options.probabilities:
            endings["probabilities"] = "probabilities.tif"
        if self.options.polygons:
            endings["polygons"] = "polygons.gpkg"
        return {kind: output_file(target, ending) for kind, ending in endings.items()}

    def _write(
        self, files: Mapping[str, Path], source: RasterSource, grid: WindowGrid, store: ChunkStore, smallest: int
    ) -> dict[str, str]:
        """Write labels, style, probabilities and polygons; returns facts for the report."""
        write_labels(files["labels"], source, grid, store, self.legend, self.options.confidence, smallest)
        write_style(files["style"], self.legend)
        if self.options.probabilities:
            write_probabilities(files["probabilities"], source, grid, store, self.scored)
        if not self.options.polygons:
            return {}
        count = write_polygons(files["polygons"], files["labels"], self.legend)
        return {"polygons": f"{count:,}"}

    def _scale(self, source: RasterSource, gsd: float | None) -> float:
        """Return the factor by which the scene is resampled along each side before the model sees it."""
        wanted = self.options.gsd or self.predictor.cfg.INPUT.GROUND_SAMPLE_DISTANCE
        if not wanted or gsd is None:
            why = "it is not georeferenced" if wanted else "the model's ground sample distance is not known (see --gsd)"
            logger.warning("%s: segmented at its own resolution, because %s", source.name, why)
            return 1.0
        scale = gsd / wanted
        if not 1 / _MAX_SCALE <= scale <= _MAX_SCALE:
            raise InputError(
                f"{source.name}: has {gsd:.3g} m per pixel, and the model is to get {wanted:.3g} m; a factor of more "
                f"than {_MAX_SCALE:g} is not supported, give another --gsd"
            )
        # A difference of a tenth changes the result little, and resampling would blur the scene.
        return 1.0 if 0.9 <= scale <= 1.1 else scale

    def _grid(self, source: RasterSource, scale: float) -> WindowGrid:
        node = self.predictor.cfg.TEST.SCENE
        # If the scene is shrunk for the model, a window has more pixels, whose scores must fit into memory.
        largest = math.isqrt(_WINDOW_MULTIPLE * node.MEMORY * 2**20 // (4 * len(self.scored)))
        enlarged = min(1 / scale, max(1.0, largest / node.WINDOW))
        # With thousands of classes the windows are made smaller instead.
        enlarged = min(enlarged, window_at_once(len(self.scored)) / node.WINDOW)
        window, stride = (max(1, round(side * enlarged)) for side in (node.WINDOW, node.STRIDE))
        strip = strip_width(len(self.scored), min(window, source.height), node.MEMORY, source.width)
        return WindowGrid(source.height, source.width, window, stride, strip)

    def _smallest(self, source: RasterSource, gsd: float | None) -> int:
        """Return the minimum size of a region in pixels."""
        if self.options.min_area_in_pixels or not self.options.min_area:
            return math.ceil(self.options.min_area)
        if gsd is None:
            raise InputError(f"--min-area: {source.name} is not georeferenced; give pixels, such as 50px")
        return math.ceil(self.options.min_area / gsd**2)

    def _view_settings(self, source: RasterSource, grid: WindowGrid, scale: float) -> dict[str, Any]:
        """Return everything that the encoded windows depend on."""
        return {
            "scene": source.identity,
            "bands": source.bands,
            "stretch": source.stretch,
            "window": [grid.window, grid.stride],
            "scale": scale,
            "model": self.predictor.fingerprint,
        }

    def _settings(self, view: Mapping[str, Any]) -> dict[str, Any]:
        """Return everything that the finished chunks depend on."""
        aoi = None if self.options.aoi is None else file_and_layer(self.options.aoi)
        return {
            **view,
            "words": [entry.names for entry in self.scored],
            "legend": self.legend.names,
            "threshold": self.options.rejection.threshold,
            "no data": self.options.no_data,
            "aoi": None if aoi is None else [str(aoi[0].resolve()), aoi[0].stat().st_mtime_ns, aoi[1]],
            "memory": self.predictor.cfg.TEST.SCENE.MEMORY,
            "outputs": [self.options.confidence, self.options.probabilities],
        }

    def _score(self, view: Mapping[str, Any]) -> ScoreWindows:
        """Return the function that scores windows, with the cache if there is one."""
        model = self.predictor.model
        if self.options.cache is None:
            return lambda corners, read: model.scores(read(corners).to(model.device), self.scored)
        assert isinstance(model, SGOVSS)
        return _cached(model, FeatureCache(Path(self.options.cache), view), self.scored)

    @torch.no_grad()
    def _fill(self, store: ChunkStore, blender: WindowBlender, path: Path) -> None:
        """Segment the chunks that the store does not hold yet."""
        grid = blender.grid
        total = grid.strips * len(grid.tops)
        with tqdm(total=total, desc=path.name, unit="row", mininterval=1, leave=False) as progress:
            for strip in range(grid.strips):
                missing = [chunk for chunk in grid.chunks(strip) if not store.has(chunk)]
                progress.update(len(grid.tops) - len(missing))
                for chunk, scores, valid in blender.run(strip, missing[0].row) if missing else ():
                    if not store.has(chunk):
                        store.save(chunk, **self._arrays(scores, valid))
                        progress.update()

    def _arrays(self, scores: torch.Tensor, valid: np.ndarray) -> dict[str, np.ndarray]:
        labels, best = self.options.rejection(scores, self.classes)
        count = len(self.legend)
        arrays = {"labels": np.where(valid, labels.numpy(), no_class_id(count)).astype(id_dtype(count))}
        if self.options.confidence:
            arrays["confidence"] = _percents(best, valid)
        if self.options.probabilities:
            arrays["probabilities"] = _percents(scores, valid)
        return arrays


def _cached(model: SGOVSS, cache: FeatureCache, scored: Vocabulary) -> ScoreWindows:
    """Return a function that scores windows and keeps their encodings in a cache."""

    def score_one(corner: Corner, read: ReadWindows) -> torch.Tensor:
        encoded = cache.get(corner, lambda: model.encode(read([corner]).to(model.device)))
        levels = {name: level.to(model.device) for name, level in encoded.levels.items()}
        return model.classify(encoded._replace(levels=levels), scored)

    def score(corners: Sequence[Corner], read: ReadWindows) -> torch.Tensor:
        return torch.cat([score_one(corner, read) for corner in corners])

    return score


def _percents(scores: torch.Tensor, valid: np.ndarray) -> np.ndarray:
    """Convert scores in 0..1 to uint8 percents, with 255 for no data."""
    return np.where(valid, (scores.numpy() * 100).round(), 255).astype(np.uint8)
