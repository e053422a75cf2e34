"""Segment a scene of any size: from a raster file to a georeferenced label map."""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import rasterio
import torch
from tqdm.auto import tqdm

from sgovss.errors import InputError
from sgovss.inference.predictor import ImagePredictor
from sgovss.inference.segmentation import Segmentation, output_file
from sgovss.modeling.guided_filter import smooth_along_edges
from sgovss.modeling.meta_arch import SGOVSS
from sgovss.modeling.views import build_views, mean_maps
from sgovss.rasters.area_of_interest import AreaOfInterest
from sgovss.rasters.features import CachedScores, FeatureCache
from sgovss.rasters.filling import ScoreWindows, UnitFiller
from sgovss.rasters.finishing import Finisher
from sgovss.rasters.gdal import gdal_environment
from sgovss.rasters.options import SceneOptions
from sgovss.rasters.partial import PartialOutputs, UnitPixels, begun_plan, folder_of, remove_begun
from sgovss.rasters.plan import ScenePlan
from sgovss.rasters.planning import plan_scene, view_settings
from sgovss.rasters.segments import check_segments, open_segments
from sgovss.rasters.source import RasterSource
from sgovss.rasters.summary import LabelRaster, facts_of, open_source, read_finished, write_finished
from sgovss.rasters.threads import writer
from sgovss.rasters.unit_files import UnitFiles
from sgovss.rasters.units import Unit
from sgovss.resources import peak_megabytes
from sgovss.vocabulary import Words

logger = logging.getLogger(__name__)

_READERS = {"cpu": 1, "cuda": 4}


class SceneMapper:
    """Segments rasters with one model and one vocabulary, in three steps.

    ``plan`` divides a scene into units, ``fill`` computes the pixels of units, in any order and in any process, and
    ``finish`` writes the outputs. Calling the mapper does all three in this process.

    Args:
        predictor: the model.
        vocabulary: the classes, in any form that :meth:`Vocabulary.of` takes.
        options: bands, resolution, outputs and others; None for the defaults.

    Raises:
        InputError: the vocabulary is wrong, or an option does not fit the model.
    """

    def __init__(self, predictor: ImagePredictor, vocabulary: Words, options: SceneOptions | None = None) -> None:
        self.options = options or SceneOptions()
        vocabulary = self.options.rejection.classes(vocabulary)
        if self.options.cache and not isinstance(predictor.model, SGOVSS):
            raise InputError(
                "--cache stores encoded windows, which an ONNX file does not return; leave out --cache or --onnx"
            )
        self.predictor = predictor
        self.scored = self.options.rejection.scored(vocabulary)
        self.legend = self.options.rejection.legend(vocabulary)
        self.classes = len(vocabulary)
        if unknown := [name for name in self.options.square_names if name not in self.legend.names]:
            raise InputError(f"--square: '{unknown[0]}' is no class; the classes are {', '.join(self.legend.names)}")

    def __call__(
        self, path: str | Path, target: str | Path, tell: Callable[[float], None] | None = None
    ) -> Segmentation:
        """Segment one raster.

        Writes ``<target>_labels.tif`` with ``<target>_labels.qml``, ``<target>_overlay.png`` and
        ``<target>_shares.json``; on request ``<target>_probabilities.tif`` and ``<target>_polygons.gpkg``. Finished
        parts are kept in ``<target>.parts`` until all files are written, and are used by the next call with the same
        settings.

        Args:
            path: a file, or any other name that GDAL opens.
            target: folder and beginning of the names of the outputs, such as ``output/county``.
            tell: is called with the fraction of the parts that are filled, whenever it has grown.

        Returns:
            a result that reads labels and scores from ``<target>_labels.tif`` when they are asked for.

        Raises:
            InputError: the raster cannot be read, an option does not fit it, or the outputs cannot be written.
        """
        started = time.monotonic()
        plan = self.plan(path, target)
        if (finished := self.finished(plan)) is not None:
            return finished
        with self._begun(plan) as (_, parts):
            self._fill_missing(plan, parts, tell or (lambda _: None))
        return self.finish(plan, started)

    def plan(self, path: str | Path, target: str | Path) -> ScenePlan:
        """Plan a scene, or read the plan of an unfinished run with the same target and settings.

        Raises:
            InputError: the raster cannot be read, an option does not fit it, or ``<target>.parts`` holds a run with
                other settings or something else.
        """
        with gdal_environment(), RasterSource.from_options(path, self.options) as source:
            remarks = list(source.remarks)
            if self.options.aoi:
                remarks += AreaOfInterest(self.options.aoi, source).remarks
            if self.options.segments:
                check_segments(self.options, source)
            for line in remarks:
                logger.warning("%s: %s", path, line)
            model = self.predictor.model
            plan = plan_scene(
                source,
                Path(target),
                self.options,
                self.scored,
                self.legend,
                self.predictor.cfg,
                (model.size_divisibility, model.map_cells, model.device),
                self.predictor.fingerprint,
            )
        if self.options.restart:
            remove_begun(plan.target)
        return begun_plan(plan) or plan

    def fill(self, plan: ScenePlan, units: Sequence[Unit]) -> Generator[list[tuple[Unit, UnitPixels]], None, None]:
        """Compute the pixels of a rectangle of units. Nothing is written, except to the folder of ``--cache``.

        A unit gets the same pixels whether it is filled alone or with others; together no window is encoded twice.

        Args:
            plan: of :meth:`plan`, also of another process.
            units: one unit, or a rectangle of :meth:`UnitGrid.passes`.

        Yields:
            the units of one band of rows, with their pixels.

        Raises:
            InputError: the raster is damaged.
        """
        model, options = self.predictor.model, self.options
        rows = round(plan.down.window / plan.down.scale)
        with gdal_environment(), open_source(plan) as source, gdal_environment(source.cache_size(rows)):
            filler = UnitFiller(
                plan=plan,
                source=source,
                area=AreaOfInterest(options.aoi, source) if options.aoi else None,
                score=self._score(plan),
                device=model.device,
                scored=len(self.scored),
                classes=self.classes,
                rejection=options.rejection,
                confidence=options.confidence,
                probabilities=options.probabilities,
                threads=_READERS.get(model.device.type, 1),
                segments=open_segments(options.segments, source, folder_of(plan.target)) if options.segments else None,
            )
            with closing(filler([*units])) as bands:
                yield from bands

    def fill_files(self, plan: ScenePlan, units: Sequence[Unit]) -> None:
        """Fill units into files of ``<target>.parts``, without those that are there already; see :class:`UnitFiles`.

        Any number of processes may do this at the same time, after :func:`sgovss.rasters.partial.begin`.

        Raises:
            InputError: the raster is damaged, or the files cannot be written.
        """
        there = UnitFiles(plan).found()
        for part in plan.serial_order([unit for unit in units if unit not in there]):
            with closing(self.fill(plan, part)) as bands, self._errors(plan):
                for band in bands:
                    self.write_files(plan, band)

    def write_files(self, plan: ScenePlan, results: Sequence[tuple[Unit, UnitPixels]]) -> None:
        """Write filled units into files of ``<target>.parts``.

        Raises:
            InputError: the files cannot be written.
        """
        with self._errors(plan):
            UnitFiles(plan).write(results)

    def missing(self, plan: ScenePlan) -> list[Unit]:
        """Begin a scene or continue it; returns the units that are not finished, band by band.

        Raises:
            InputError: the raster cannot be read, or the folder cannot be written to.
        """
        with self._begun(plan) as (_, parts):
            return _missing(plan, parts)

    def finish(self, plan: ScenePlan, started: float | None = None) -> Segmentation:
        """Write the outputs of a scene whose units are all kept in ``<target>.parts``.

        Args:
            plan: of :meth:`plan`.
            started: :func:`time.monotonic` at the start of the work, for the report.

        Raises:
            InputError: units are missing, or the outputs cannot be written.
        """
        with self._begun(plan) as (source, parts):
            files = self._files(plan)
            if missing := _missing(plan, parts):
                raise InputError(
                    f"{parts.folder}: {len(missing)} parts are not finished yet; run the missing shares, or the same "
                    "command without --finish"
                )
            # Without it, outputs that are replaced only in part are not taken for finished ones.
            files["shares"].unlink(missing_ok=True)
            scored = len(self.scored), self.classes
            finisher = Finisher(plan, source, parts, self.legend, self.options, files, scored)
            sums, more = finisher()
            if not sums.segmented:
                logger.warning(
                    "%s: no pixel with data, so the map is empty; check --no-data, --bounds and --aoi, or the address "
                    "of a tile service",
                    plan.path,
                )
            facts = facts_of(source, plan) | more
            if started is not None:
                seconds = time.monotonic() - started
                rate = source.height * source.width / 1e6 / seconds
                facts["time"] = f"{seconds:.1f} s, {rate:.2f} megapixels a second"
            if not math.isnan(peak := peak_megabytes()):
                facts["peak memory"] = f"{peak:,.0f} MB, of the process so far"
            write_finished(files["shares"], source, sums, facts, self._finished_settings(plan))
            parts.remove()
            return self._result(plan).segmentation(source, sums, files, facts)

    def finished(self, plan: ScenePlan) -> Segmentation | None:
        """Return the result of a scene that was finished with the same settings and has all its files; else None.

        With the option ``restart`` no scene counts as finished.
        """
        if self.options.restart:
            return None
        with gdal_environment(), open_source(plan) as source:
            found = read_finished(self._result(plan), source, self._files(plan), self._finished_settings(plan))
        if found is not None:
            logger.warning("%s: already finished, nothing to do; --restart segments it again", plan.path)
        return found

    def _fill_missing(self, plan: ScenePlan, parts: PartialOutputs, tell: Callable[[float], None]) -> None:
        """Fill the units that are not finished, while another thread writes those that are."""
        total = sum(1 for _ in plan.units.all())
        missing = _missing(plan, parts)
        if 0 < len(missing) < total:
            logger.warning("%s: continues, %d of %d parts are finished", plan.path, total - len(missing), total)
        name = Path(plan.path).name
        with (
            tqdm(total=total, initial=total - len(missing), desc=name, unit="part", leave=False) as progress,
            writer() as write,
        ):
            for units in plan.serial_order(missing):
                with closing(self.fill(plan, units)) as bands:
                    for band in bands:
                        write(lambda band=band: parts.keep(band))  # type: ignore[misc]
                        progress.update(len(band))
                        tell(progress.n / total)

    @contextmanager
    def _begun(self, plan: ScenePlan) -> Iterator[tuple[RasterSource, PartialOutputs]]:
        """Open a scene and its unfinished outputs, with the units that other processes have left in files."""
        options = self.options
        with self._errors(plan), gdal_environment(), open_source(plan) as source:
            parts = PartialOutputs(plan, source, self.legend, self.scored, options.confidence, options.probabilities)
            UnitFiles(plan).move_into(parts)
            yield source, parts

    def _result(self, plan: ScenePlan) -> LabelRaster:
        return LabelRaster(plan, self._files(plan)["labels"], self.legend, self.options.confidence)

    def _files(self, plan: ScenePlan) -> dict[str, Path]:
        """Return the paths of a scene's outputs, by kind."""
        endings = {"labels": "labels.tif", "style": "labels.qml", "overlay": "overlay.png", "shares": "shares.json"}
        endings["attributes"] = "labels.tif.aux.xml"
        if self.options.probabilities:
            endings["probabilities"] = "probabilities.tif"
        if self.options.polygon_format:
            endings["polygons"] = f"polygons.{self.options.polygon_format}"
        return {kind: output_file(Path(plan.target), ending) for kind, ending in endings.items()}

    def _finished_settings(self, plan: ScenePlan) -> dict[str, object]:
        """Return everything that the outputs depend on."""
        options = self.options
        outputs = {"polygons": options.polygon_format, "simplify": options.simplify, "square": options.square_names}
        return {**plan.settings, "smallest": plan.smallest, "colors": self.legend.colors().tolist(), **outputs}

    def _score(self, plan: ScenePlan) -> ScoreWindows:
        """Return the function that scores windows, and smooths the scores along edges if that is wanted."""
        score = self._score_unsmoothed(plan)
        if not self.options.edges:
            return score
        return lambda corners, images: smooth_along_edges(score(corners, images), images)

    def _score_unsmoothed(self, plan: ScenePlan) -> ScoreWindows:
        """Return the function that scores windows, with the cache if there is one."""
        model, scored, views = self.predictor.model, self.scored, build_views(self.predictor.cfg)
        if self.options.cache is not None:
            assert isinstance(model, SGOVSS)
            return CachedScores(model, scored, FeatureCache(Path(self.options.cache), view_settings(plan)), views)

        def score(_: Sequence[tuple[int, int]], images: torch.Tensor) -> torch.Tensor:
            one_view = functools.partial(model.score_maps, vocabulary=scored)
            return mean_maps(one_view, images.to(model.device), views, model.size_divisibility)

        return score

    @contextmanager
    def _errors(self, plan: ScenePlan) -> Iterator[None]:
        """Raise errors of GDAL and of the disk in one line."""
        kept = "finished parts are kept, repeat the command to continue"
        try:
            yield
        except rasterio.errors.RasterioError as error:
            raise InputError(f"{plan.path}: {' '.join(str(error).split())}; {kept}") from error
        except OSError as error:
            raise InputError(f"{plan.target}: cannot write ({error.strerror or error}); {kept}") from error


def _missing(plan: ScenePlan, parts: PartialOutputs) -> list[Unit]:
    return [unit for unit in plan.units.all() if unit not in parts.finished]
