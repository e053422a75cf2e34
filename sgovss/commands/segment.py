"""Segment photographs, and rasters of any size, into classes of your choice.

examples:
  sgovss segment --config-file sgovss_tiny.yaml --input photo.jpg photos/ --output output/mine \\
      --vocabulary "building, road, tree|forest, water" --opts MODEL.WEIGHTS output/sgovss_tiny/model_inference.pth
  sgovss segment --config-file sgovss_tiny.yaml --input county.tif --output output/county \\
      --vocabulary classes.txt --bands 4,3,2 --threshold 0.3 --polygons
  sgovss segment --onnx model.onnx --input photos/ --output output/mine --vocabulary classes.txt

Each photograph gets an overlay with a legend, a PNG of class ids and a JSON file of the classes' shares of the pixels.
Rasters (extra geo) are segmented window by window into GeoTIFFs with the same georeference: whatever GDAL finds
georeferenced, and files in formats of rasters. Besides files and folders, --input takes all names that GDAL opens, such
as URLs, /vsizip/ and subdatasets; STAC items; and servers of map tiles, xyz:https://host/{z}/{x}/{y}.png.
The run gets a page report.html.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import logging
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import sgovss._detectron2  # noqa: F401  before any other import of Detectron2, to suppress its warnings

# isort: split
from tqdm import tqdm

from sgovss.commands.segment_several import SeveralOptions, add_several_arguments, outcomes
from sgovss.commands.segment_shares import fill_share, problem_line
from sgovss.config import load_config
from sgovss.errors import InputError, command
from sgovss.files import sole_run, write_json_atomically
from sgovss.inference.inputs import find_images
from sgovss.inference.memory import needs_windows
from sgovss.inference.photographs import segment_photograph
from sgovss.inference.predictor import ImagePredictor, Predictor
from sgovss.inference.rejection import Rejection
from sgovss.inference.report import ReportEntry, report_entry, write_report
from sgovss.inference.segmentation import Segmentation, output_file
from sgovss.modeling.checkpoint import read_checkpoint
from sgovss.precision import AUTO
from sgovss.rasters.options import AUTO as AUTO_NO_DATA
from sgovss.rasters.options import (
    SceneOptions,
    parse_bands,
    parse_bounds,
    parse_min_area,
    parse_no_data,
    parse_stretch,
)
from sgovss.view_set import QUALITIES, parse_views
from sgovss.vocabulary import Vocabulary

if TYPE_CHECKING:
    from sgovss.rasters.scene import SceneMapper

_SUMMARY = "run.json"

logger = logging.getLogger("sgovss.segment")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        the exit status: 0, or 1 if an image failed. Wrong input gives 2; see :func:`sgovss.errors.command`.
    """
    args = _parser().parse_args(argv)
    args.command = shlex.join(["sgovss", "segment", *(sys.argv[1:] if argv is None else argv)])
    # Check the user's input before a model is loaded and anything is written.
    args.opts = [*args.opts, *_view_options(args)]
    vocabulary, rejection = Vocabulary.parse(args.vocabulary), _rejection(args)
    rejection.scored(vocabulary), rejection.legend(vocabulary)
    for note in rejection.notes(vocabulary):
        print(f"note: {note}", file=sys.stderr)
    # List the images once: the outputs of one process must not become the inputs of another.
    _scene_options(args)
    several = SeveralOptions.of(args)
    _expect_model(args)
    images = _find_inputs(args)
    args.shared_stretch = _shared_stretch(args, images)
    with sole_run(args.output, several.lock):
        if several.share is not None:
            return fill_share(_segmenter(args), images, Path(args.output), several.share)
        segment_all(args, images, several)
    failed = json.loads((Path(args.output) / _SUMMARY).read_text(encoding="utf-8"))["failed"]
    if failed:
        print(f"{len(failed)} of {len(images)} images failed", file=sys.stderr)
    return 1 if failed else 0


def _view_options(args: argparse.Namespace) -> list[str]:
    """Return the config options that --views or --quality stand for."""
    if args.quality:
        return ["TEST.VIEWS", str(list(QUALITIES[args.quality]))]
    if args.views is None:
        return []
    parse_views(args.views, "--views")
    return ["TEST.VIEWS", str([item.strip() for item in args.views.split(",")])]


def _expect_model(args: argparse.Namespace) -> None:
    """Raise an InputError if the files of the model cannot be used."""
    if args.onnx:
        if args.precision == "bfloat16":
            raise InputError("--precision bfloat16: an ONNX file computes in float32; leave out --precision")
        if args.cache:
            raise InputError(
                "--cache stores encoded windows, which an ONNX file does not return; leave out --cache or --onnx"
            )
        from sgovss.export.onnx_file import OnnxImagePath
        from sgovss.export.onnx_predictor import onnx_config

        onnx_config(OnnxImagePath(args.onnx), args.opts)
        return
    cfg = load_config(args.config_file, args.opts)
    if cfg.MODEL.WEIGHTS:
        read_checkpoint(cfg.MODEL.WEIGHTS)


def segment_all(args: argparse.Namespace, images: Mapping[str, Path], several: SeveralOptions) -> None:
    """Segment the images and write the report of the run.

    Args:
        args: of the command.
        images: name of the image -> name of its outputs, as of :func:`find_images`.
        several: where the parts of rasters are filled.
    """
    output, segmenter = Path(args.output), _segmenter(args)
    entries, problems = [], []
    targets = [(path, output / name) for path, name in images.items()]
    with tqdm(total=len(images), unit="image", disable=len(images) == 1) as progress:
        for path, target, outcome in outcomes(segmenter, targets, several, functools.partial(_worker_mapper, args)):
            progress.update()
            if isinstance(outcome, Segmentation):
                entries.append(report_entry(path, outcome, output_file(target, "overlay.png")))
                progress.write(f"{path}: {entries[-1].overlay}")
                continue
            if not isinstance(outcome, InputError):  # one failure must not end a run of days
                logger.error("%s", path, exc_info=outcome)
            problems.append(problem_line(path, outcome))
            progress.write(f"error: {problems[-1]}", file=sys.stderr)
    order = {path: number for number, path in enumerate(images)}
    _report(args, output, sorted(entries, key=lambda entry: order[entry.title]), problems)


def _report(args: argparse.Namespace, output: Path, entries: Sequence[ReportEntry], problems: Sequence[str]) -> None:
    command, classes, model = args.command, args.vocabulary, str(args.onnx or args.config_file)
    settings = {"command": command, "classes": classes, "model": model}
    write_report(output / "report.html", entries, settings, problems)
    images = [entry.title for entry in entries]
    content = {"images": images, "failed": problems, "command": command, "words": classes, "model": model}
    write_json_atomically(output / _SUMMARY, content)
    print(f"report: {output / 'report.html'}")


class _ImageSegmenter:
    """Segments one file, photograph or raster; see :class:`sgovss.commands.segment_shares.Segmenter`."""

    def __init__(
        self,
        predictor: ImagePredictor,
        vocabulary: Vocabulary,
        rejection: Rejection,
        options: SceneOptions | None,
        unused: Sequence[str] = (),
    ) -> None:
        self._predictor, self._vocabulary, self._rejection = predictor, vocabulary, rejection
        self._unused = unused  # options that photographs have no use for
        self._options, self._scored = options, rejection.scored(vocabulary)
        # Class names that the text encoder rejects end the run, not each image.
        predictor.model.text_embedder(self._scored)

    @functools.cached_property
    def mapper(self) -> SceneMapper:
        """The mapper of rasters."""
        from sgovss.rasters.scene import SceneMapper  # with the libraries for rasters

        assert self._options is not None
        return SceneMapper(self._predictor, self._vocabulary, self._options)

    def is_scene(self, name: str) -> bool:
        """Whether an image is segmented by :attr:`mapper`, in parts."""
        if self._options is None:
            return False
        if self._options.segments is not None:
            return True  # also a photograph, with a label picture of its size
        try:
            return _is_scene(name) or needs_windows(Path(name), len(self._scored))
        except InputError:  # is raised again where the image is segmented
            return False

    def __call__(self, name: str, target: Path) -> Segmentation:
        """Segment an image; the names of its outputs begin with ``target``, such as ``output/photo``."""
        if self.is_scene(name):
            return self.mapper(name, target)
        if self._options is None and needs_windows(Path(name), len(self._scored)):
            raise InputError(
                f"{name}: too many pixels to be segmented into {len(self._scored)} classes at once; to segment it "
                "window by window: pip install 'sgovss[geo]'"
            )
        if self._unused:
            logger.warning("%s: a photograph, for which %s is not used", name, " and ".join(self._unused))
        return segment_photograph(self._predictor, Path(name), self._vocabulary, target, self._rejection)


def _segmenter(args: argparse.Namespace) -> _ImageSegmenter:
    vocabulary, options = Vocabulary.parse(args.vocabulary), _scene_options(args)
    return _ImageSegmenter(_predictor(args), vocabulary, _rejection(args), options, _options_given(args))


def _worker_mapper(args: argparse.Namespace) -> SceneMapper:
    """Load the mapper of rasters in a worker, whose working folder changes afterwards."""
    given = {name: getattr(args, name) for name in ("aoi", "segments", "cache")}
    files = {name: Path(value).resolve() for name, value in given.items() if value is not None}
    return _segmenter(argparse.Namespace(**vars(args) | files)).mapper


def _is_scene(name: str) -> bool:
    from sgovss.rasters.inputs import is_scene

    return is_scene(name)


def _find_inputs(args: argparse.Namespace) -> dict[str, Path]:
    """Return the images: the name of each, and the name of its outputs."""
    if not _has_rasterio():
        return find_images(args.input, without=args.output)
    from sgovss.rasters.inputs import InputOptions, find_inputs

    assets = tuple(args.asset.split(",")) if args.asset else ()
    options = InputOptions(args.mosaic, args.stack, assets, parse_bounds(args.bounds), args.gsd)
    return find_inputs(args.input, args.output, options)


def _shared_stretch(args: argparse.Namespace, images: Mapping[str, Path]) -> tuple[tuple[float, float], ...] | None:
    """Return the stretch of all scenes of the run; None if each has its own."""
    if not parse_stretch(args.stretch).shared:
        return None
    from sgovss.rasters.stretch import shared_stretch

    options = _scene_options(args)
    assert options is not None
    return shared_stretch([name for name in images if _is_scene(name)], options)


def _predictor(args: argparse.Namespace) -> ImagePredictor:
    if args.onnx:
        from sgovss.export.onnx_predictor import OnnxPredictor

        return OnnxPredictor(args.onnx, tuple(args.opts))
    return Predictor(args.config_file, options=tuple(args.opts), precision=args.precision)


def _rejection(args: argparse.Namespace) -> Rejection:
    return Rejection.parse(args.threshold, args.background)


def _scene_options(args: argparse.Namespace) -> SceneOptions | None:
    """Return the options for rasters; None without the libraries for rasters. Rasters are then read as photographs."""
    if not _has_rasterio():
        if wanted := _options_given(args):
            raise InputError(f"{wanted[0]} is for rasters, which need further libraries: pip install 'sgovss[geo]'")
        return None
    min_area, in_pixels = parse_min_area(args.min_area)
    stretch = parse_stretch(args.stretch)
    return SceneOptions(
        bands=parse_bands(args.bands),
        stretch=stretch.percentiles,
        stretch_range=getattr(args, "shared_stretch", None) or stretch.ranges,
        no_data=parse_no_data(args.no_data),
        fit_gcps=args.fit_gcps,
        gsd=args.gsd,
        aoi=args.aoi,
        min_area=min_area,
        min_area_in_pixels=in_pixels,
        confidence=args.confidence,
        probabilities=args.probabilities,
        polygons=args.polygons,
        simplify=args.simplify,
        square=args.square or (),
        segments=args.segments,
        edges=args.edges,
        cache=args.cache,
        restart=args.restart,
        overlap=args.overlap,
        rejection=_rejection(args),
    )


_SCENE_ONLY = (
    "bands", "stretch", "no-data", "fit-gcps", "gsd", "aoi", "bounds", "mosaic", "stack", "asset", "min-area",
    "confidence", "probabilities", "polygons", "simplify", "square", "segments",
    "edges", "cache", "resume", "restart", "overlap",
)  # fmt: skip


def _options_given(args: argparse.Namespace) -> list[str]:
    """Return the flags of the options for rasters that differ from their defaults."""
    values = {name: getattr(args, name.replace("-", "_")) for name in _SCENE_ONLY}
    return [f"--{name}" for name, value in values.items() if value and value != _DEFAULTS.get(name)]


_DEFAULTS = {"no-data": AUTO_NO_DATA}


def _has_rasterio() -> bool:
    return importlib.util.find_spec("rasterio") is not None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sgovss segment", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--config-file", metavar="FILE", help="a config, or the name of one that comes with sgovss")
    model.add_argument("--onnx", type=Path, metavar="FILE", help="an ONNX file of 'sgovss export' (extra onnx)")
    parser.add_argument(
        "--input", required=True, nargs="+", metavar="PATH", help="images and rasters, or folders of them"
    )
    parser.add_argument("--vocabulary", required=True, metavar="CLASSES", help="class names separated by ',', with "
                        "synonyms separated by '|'; or a .txt, .json or .yaml file")  # fmt: skip
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--precision", choices=(AUTO, "float32", "bfloat16"), default=AUTO, help="number format of the "
                        "computation; default bfloat16 if the processor supports it, else float32")  # fmt: skip
    parser.add_argument("--background", metavar="NAMES", help="names, separated by '|': a pixel that scores highest "
                        "for one of them becomes 'other'")  # fmt: skip
    parser.add_argument("--threshold", type=float, default=0.0, metavar="SCORE", help="a pixel whose best score is "
                        "below this becomes 'other'; 0 to 1")  # fmt: skip
    views = parser.add_mutually_exclusive_group()
    views.add_argument("--views", metavar="VIEWS", help="average the scores of several views: turns (four quarter "
                       "turns), mirror, and scales, such as turns,1,1.5")  # fmt: skip
    views.add_argument("--quality", choices=QUALITIES, help="a set of views by name; default fast, which is one view. "
                       "good takes 4 times as long, best 13 times")  # fmt: skip
    _add_raster_arguments(parser.add_argument_group("rasters"))
    add_several_arguments(parser)
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options; "
                        "must come last")  # fmt: skip
    return parser


def _add_raster_arguments(rasters: argparse._ArgumentGroup) -> None:
    rasters.add_argument("--bands", metavar="R,G,B", help="numbers or descriptions of the bands to use as red, green "
                         "and blue; default those that the file names so, else the first three")  # fmt: skip
    rasters.add_argument("--stretch", metavar="LOW,HIGH", help="percentiles of the raster to map to 0 and 255, default "
                         "2,98 unless the data are 8-bit; or values, LOW..HIGH, for all bands or with commas for "
                         "each; or 'shared' or 'shared:2,98', percentiles of all rasters of the run")  # fmt: skip
    rasters.add_argument("--no-data", default=AUTO_NO_DATA, metavar="VALUE", help="what to leave out: 'auto' "
                         "(default), which is what the file declares, else constant collars and values far off all "
                         "others; 'declared'; 'none'; or a value")  # fmt: skip
    rasters.add_argument("--mosaic", action="store_true", help="join all files of --input as tiles of one raster")
    rasters.add_argument("--stack", action="store_true", help="use all files of --input as bands of one raster")
    rasters.add_argument("--asset", metavar="NAME", help="asset of a STAC item; several with commas are the bands of "
                         "one raster")  # fmt: skip
    rasters.add_argument("--bounds", metavar="W,S,E,N", help="segment this part only: west,south,east,north in degrees")
    rasters.add_argument("--fit-gcps", action="store_true", help="replace ground control points or RPCs by the "
                         "transform that fits them best; otherwise they are copied to the outputs")  # fmt: skip
    rasters.add_argument("--gsd", type=float, default=0.0, metavar="METRES", help="ground sample distance, in metres "
                         "per pixel, at which the model gets the raster and map tiles are read; default as in its "
                         "training")  # fmt: skip
    rasters.add_argument("--aoi", metavar="FILE", help="area of interest: a vector file, or one of its layers as "
                         "FILE:LAYER; only pixels inside its polygons are segmented")  # fmt: skip
    rasters.add_argument("--min-area", metavar="M2", help="merge regions below this area into a neighbour: square "
                         "metres (100) or pixels (50px)")  # fmt: skip
    rasters.add_argument("--confidence", action="store_true", help="write a second band: score of the class in percent")
    rasters.add_argument("--probabilities", action="store_true", help="write a raster of the scores of all classes")
    rasters.add_argument("--polygons", nargs="?", const="gpkg", default=False, metavar="FORMAT", help="write the "
                         "regions as polygons with class, area and score: gpkg (default), parquet, fgb or geojson"
                         )  # fmt: skip
    rasters.add_argument("--simplify", type=float, default=0.0, metavar="METRES", help="simplify the borders of the "
                         "polygons by this tolerance; neighbours keep their common borders")  # fmt: skip
    rasters.add_argument("--square", metavar="CLASSES", help="give the polygons of these classes right angles, such as "
                         "building,roof; their neighbours are fitted to them")  # fmt: skip
    rasters.add_argument("--segments", metavar="FILE", help="segments from elsewhere, such as those of SAM, "
                         "superpixels or parcels: a raster of their numbers or polygons (a layer as FILE:LAYER); each "
                         "gets the class of its mean score")  # fmt: skip
    rasters.add_argument("--edges", action="store_true", help="smooth the scores along the edges of the image, which "
                         "takes little time")  # fmt: skip
    rasters.add_argument("--cache", type=Path, metavar="DIR", help="keep encoded windows here, so that a run with "
                         "other classes is faster")  # fmt: skip
    rasters.add_argument("--overlap", type=float, metavar="FRACTION", help="fraction of its side that a window shares "
                         "with the next; more is slower and has fewer seams")  # fmt: skip
    again = rasters.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="continue an interrupted run, which is the default")
    again.add_argument("--restart", action="store_true", help="begin anew, without what an earlier run has finished")
