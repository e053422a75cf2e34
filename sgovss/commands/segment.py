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
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import sgovss._detectron2  # noqa: F401  before any other import of Detectron2, to suppress its warnings

# isort: split
from detectron2.utils import comm
from tqdm import tqdm

from sgovss.config import load_config
from sgovss.engine.launch_options import LaunchOptions
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

_SUMMARY = "run.json"
_PATIENCE = timedelta(days=30)  # how long a finished process waits for the others

logger = logging.getLogger("sgovss.segment")

Segment = Callable[[str, Path], Segmentation]
"""A function that segments one image. Its arguments are the name of the image, and the folder and beginning of the
names of the outputs, such as ``output/photo``."""


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
    processes = (args.processes, args.num_machines, args.machine_rank, args.dist_url, "--processes")
    args.processes = LaunchOptions(*processes).checked().processes
    _expect_model(args)
    images = _find_inputs(args)
    args.shared_stretch = _shared_stretch(args, images)
    # Only the first machine locks the folder; the others write to it too.
    with nullcontext() if args.machine_rank else sole_run(args.output):
        _launch(args, images)
    if args.machine_rank:
        return 0
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


def _launch(args: argparse.Namespace, images: Mapping[str, Path]) -> None:
    """Run :func:`segment_all` in this process, or in those that the arguments ask for."""
    if args.processes * args.num_machines == 1:
        segment_all(args, images)
        return
    from detectron2.engine import launch  # with all that training needs

    launch(
        segment_all,
        args.processes,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=(args, images),
        timeout=_PATIENCE,
    )


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


def segment_all(args: argparse.Namespace, images: Mapping[str, Path]) -> None:
    """Segment this process's part of the images. The first process writes the report of the run.

    Process i of N takes every N-th image, from the i-th on. Each process writes its results to a file in ``--output``,
    because one may finish hours before another. All machines must see the same folder.

    Args:
        args: of the command.
        images: name of the image -> name of its outputs, as of :func:`find_images`.
    """
    output, rank = Path(args.output), comm.get_rank()
    mine = list(images.items())[rank :: comm.get_world_size()]
    segment = _segment(args)
    entries, problems = [], []
    with tqdm(mine, unit="image", disable=len(mine) == 1) as progress:
        for path, name in progress:
            target = output / name
            try:
                segmentation = segment(path, target)
            except InputError as error:
                problems.append(str(error))
            except Exception as error:  # one failure must not end a run of days
                logger.exception("%s", path)
                problems.append(f"{path}: {type(error).__name__}: {error}")
            else:
                entries.append(report_entry(path, segmentation, output_file(target, "overlay.png")))
                progress.write(f"{path}: {entries[-1].overlay}")
                continue
            progress.write(f"error: {problems[-1]}", file=sys.stderr)
    content = {"entries": [entry.as_json() for entry in entries], "problems": problems}
    write_json_atomically(_results_file(output, rank), content)
    comm.synchronize()
    if comm.is_main_process():
        _report(args, output, comm.get_world_size())


def _report(args: argparse.Namespace, output: Path, processes: int) -> None:
    """Merge the results of all processes into the report."""
    entries: list[ReportEntry] = []
    problems: list[str] = []
    for rank in range(processes):
        file = _results_file(output, rank)
        content = json.loads(file.read_text(encoding="utf-8"))
        entries += [ReportEntry.from_json(entry) for entry in content["entries"]]
        problems += content["problems"]
        file.unlink()
    command, classes, model = args.command, args.vocabulary, str(args.onnx or args.config_file)
    settings = {"command": command, "classes": classes, "model": model}
    write_report(output / "report.html", entries, settings, problems)
    images = [entry.title for entry in entries]
    content = {"images": images, "failed": problems, "command": command, "words": classes, "model": model}
    write_json_atomically(output / _SUMMARY, content)
    print(f"report: {output / 'report.html'}")


def _results_file(output: Path, rank: int) -> Path:
    return output / f".run-{rank}.json"


def _segment(args: argparse.Namespace) -> Segment:
    """Return the function that segments one file, photograph or raster."""
    vocabulary, rejection = Vocabulary.parse(args.vocabulary), _rejection(args)
    scored = rejection.scored(vocabulary)
    predictor = _predictor(args)
    # Class names that the text encoder rejects end the run, not each image.
    predictor.model.text_embedder(scored)
    options, unused = _scene_options(args), _options_given(args)

    @functools.cache
    def raster_segmenter() -> Segment:
        from sgovss.rasters.scene import SceneMapper  # with the libraries for rasters

        assert options is not None
        return SceneMapper(predictor, vocabulary, options)

    def segment(name: str, target: Path) -> Segmentation:
        if options is not None and _is_scene(name):
            return raster_segmenter()(name, target)
        path = Path(name)
        if not needs_windows(path, len(scored)):
            if unused:
                logger.warning("%s: a photograph, for which %s is not used", name, " and ".join(unused))
            return segment_photograph(predictor, path, vocabulary, target, rejection)
        if options is None:
            raise InputError(
                f"{name}: too many pixels to be segmented into {len(scored)} classes at once; to segment it "
                "window by window: pip install 'sgovss[geo]'"
            )
        return raster_segmenter()(name, target)

    return segment


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
        cache=args.cache,
        restart=args.restart,
        overlap=args.overlap,
        rejection=_rejection(args),
    )


_SCENE_ONLY = (
    "bands", "stretch", "no-data", "fit-gcps", "gsd", "aoi", "bounds", "mosaic", "stack", "asset", "min-area",
    "confidence", "probabilities", "polygons", "simplify", "cache", "resume", "restart", "overlap",
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
    several = parser.add_argument_group("several processes, among which the images are divided")
    several.add_argument(
        "--processes", type=int, default=1, metavar="N", help="on this machine; on GPUs give one per GPU"
    )
    several.add_argument("--num-machines", type=int, default=1, metavar="N", help="number of machines")
    several.add_argument("--machine-rank", type=int, default=0, metavar="I", help="number of this machine, from 0")
    several.add_argument("--dist-url", default="auto", metavar="URL", help="tcp://host:port of the first machine")
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
    rasters.add_argument("--cache", type=Path, metavar="DIR", help="keep encoded windows here, so that a run with "
                         "other classes is faster")  # fmt: skip
    rasters.add_argument("--overlap", type=float, metavar="FRACTION", help="fraction of its side that a window shares "
                         "with the next; more is slower and has fewer seams")  # fmt: skip
    again = rasters.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="continue an interrupted run, which is the default")
    again.add_argument("--restart", action="store_true", help="begin anew, without what an earlier run has finished")
