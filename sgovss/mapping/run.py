"""A run over images: check what is asked for, segment, and write the report."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from sgovss.config import load_config
from sgovss.errors import InputError
from sgovss.files import write_json_atomically
from sgovss.inference.inputs import find_images
from sgovss.inference.predictor import ImagePredictor
from sgovss.inference.report import ReportEntry, report_entry, write_report
from sgovss.inference.segmentation import Segmentation, output_file
from sgovss.mapping.options import SegmentOptions, has_rasterio
from sgovss.mapping.segmenter import ImageSegmenter, Stretch, is_scene, load_mapper, load_segmenter
from sgovss.mapping.several import SeveralOptions, outcomes
from sgovss.mapping.shares import problem_line
from sgovss.modeling.checkpoint import read_checkpoint
from sgovss.rasters.options import parse_bounds, parse_no_data
from sgovss.vocabulary import Vocabulary

REPORT = "report.html"

logger = logging.getLogger("sgovss.segment")


@dataclass(frozen=True)
class Task:
    """What is to be segmented.

    Attributes:
        vocabulary: the classes.
        options: checked options.
        several: where the parts of rasters are filled.
        images: name of each image -> name of its outputs, relative to ``output``.
        output: folder of the outputs.
        stretch: that of all rasters; None if each has its own.
        predictor: a model that is loaded already; None to load the one that the options name.
    """

    vocabulary: Vocabulary
    options: SegmentOptions
    several: SeveralOptions
    images: Mapping[str, Path]
    output: Path
    stretch: Stretch | None
    predictor: ImagePredictor | None = None

    def segmenter(self) -> ImageSegmenter:
        """Load the model."""
        return load_segmenter(self.options, self.vocabulary, self.stretch, self.predictor)


def prepare(
    names: Callable[[], Sequence[str]],
    vocabulary: Vocabulary,
    output: str | Path,
    options: SegmentOptions,
    predictor: ImagePredictor | None = None,
) -> Task:
    """Check what a user asks for, before a model is loaded and anything is segmented.

    Args:
        names: returns files, folders and names that GDAL opens; it is called when the rest is checked.
        vocabulary: the classes.
        output: folder of the outputs.
        options: how.
        predictor: a model that is loaded already.

    Raises:
        InputError: an option, the model or an image is wrong or missing.
    """
    rejection = options.rejection
    rejection.scored(vocabulary), rejection.legend(vocabulary)
    scene = options.scene()
    several = SeveralOptions.of(options)
    if predictor is None:
        _expect_model(options)
    # List the images once: the outputs of one process must not become the inputs of another.
    images, stretch = _find(names(), output, options), None
    if scene is not None and options.shares_stretch:
        from sgovss.rasters.stretch import shared_stretch

        stretch = shared_stretch([name for name in images if is_scene(name)], scene)
    return Task(vocabulary, options, several, images, Path(output), stretch, predictor)


def segment_all(
    task: Task,
    settings: Mapping[str, str],
    done: Callable[[str, Segmentation], None],
    failed: Callable[[str, BaseException], None],
) -> list[str]:
    """Segment the images of a task and write ``report.html`` and ``run.json``.

    Args:
        task: as prepared.
        settings: of the run for the report: ``command``, ``classes`` and ``model``.
        done: is called with the name and the result of each image.
        failed: is called with a line on each image that failed, and the exception.

    Returns:
        these lines.
    """
    segmenter = task.segmenter()
    entries, problems = [], []
    targets = [(name, task.output / target) for name, target in task.images.items()]
    load = functools.partial(load_mapper, task.options, task.vocabulary, task.stretch)
    with tqdm(total=len(targets), unit="image", disable=len(targets) == 1) as progress:
        for name, target, outcome in outcomes(segmenter, targets, task.several, load):
            progress.update()
            if isinstance(outcome, Segmentation):
                entries.append(report_entry(name, outcome, output_file(target, "overlay.png")))
                with progress.external_write_mode():
                    done(name, outcome)
                continue
            if not isinstance(outcome, InputError):  # one failure must not end a run of days
                logger.error("%s", name, exc_info=outcome)
            problems.append(problem_line(name, outcome))
            with progress.external_write_mode():
                failed(problems[-1], outcome)
    _write(task, settings, entries, problems)
    return problems


def _write(task: Task, settings: Mapping[str, str], entries: Sequence[ReportEntry], problems: Sequence[str]) -> None:
    order = {name: number for number, name in enumerate(task.images)}
    entries = sorted(entries, key=lambda entry: order[entry.title])
    write_report(task.output / REPORT, entries, settings, problems)
    content = {"images": [entry.title for entry in entries], "failed": problems, "command": settings["command"]}
    content |= {"words": settings["classes"], "model": settings["model"]}
    write_json_atomically(task.output / "run.json", content)


def _expect_model(options: SegmentOptions) -> None:
    """Raise an InputError if the files of the model cannot be used."""
    if options.onnx:
        if options.precision == "bfloat16":
            raise InputError("--precision bfloat16: an ONNX file computes in float32; leave out --precision")
        if options.cache:
            raise InputError(
                "--cache stores encoded windows, which an ONNX file does not return; leave out --cache or --onnx"
            )
        from sgovss.export.onnx_file import OnnxImagePath
        from sgovss.export.onnx_predictor import onnx_config

        onnx_config(OnnxImagePath(options.onnx), options.config_options)
        return
    cfg = load_config(options.model_name, options.config_options)
    if cfg.MODEL.WEIGHTS:
        read_checkpoint(cfg.MODEL.WEIGHTS)


def _find(names: Sequence[str], output: str | Path, options: SegmentOptions) -> dict[str, Path]:
    """Return the images: the name of each, and the name of its outputs."""
    if not has_rasterio():
        return find_images(names)
    from sgovss.rasters.inputs import InputOptions, find_inputs

    assets = tuple(options.asset.split(",")) if options.asset else ()
    no_data = parse_no_data(options.no_data)
    joining = InputOptions(options.mosaic, options.stack, assets, parse_bounds(options.bounds), options.gsd, no_data)
    return find_inputs(names, output, joining)
