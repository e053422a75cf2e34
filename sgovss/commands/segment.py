"""Segment photographs, and rasters of any size, into classes of your choice.

examples:
  sgovss segment --input photo.jpg photos/ --output output/mine --vocabulary "building, road, tree|forest, water"
  sgovss segment --input county.tif --output output/county --vocabulary classes.txt --bands 4,3,2 --polygons \\
      --config-file sgovss_tiny.yaml --opts MODEL.WEIGHTS output/sgovss_tiny/model_inference.pth
  sgovss segment --onnx model.onnx --input photos/ --output output/mine --vocabulary classes.txt

Each photograph gets an overlay with a legend, a PNG of class ids and a JSON file of the classes' shares of the pixels.
Rasters (extra geo) are segmented window by window into GeoTIFFs with the same georeference: whatever GDAL finds
georeferenced, and files in formats of rasters. Besides files and folders, --input takes all names that GDAL opens, such
as URLs, /vsizip/ and subdatasets; STAC items; and servers of map tiles, xyz:https://host/{z}/{x}/{y}.png.
The run gets a page report.html.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import sgovss._detectron2  # noqa: F401  before any other import of Detectron2, to suppress its warnings

# isort: split
from sgovss.commands.segment_several import add_several_arguments
from sgovss.errors import command
from sgovss.files import sole_run
from sgovss.inference.segmentation import Segmentation
from sgovss.mapping.options import SegmentOptions
from sgovss.mapping.run import REPORT, prepare, segment_all
from sgovss.mapping.shares import fill_share
from sgovss.precision import AUTO
from sgovss.rasters.options import AUTO as AUTO_NO_DATA
from sgovss.view_set import QUALITIES
from sgovss.vocabulary import Vocabulary


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        the exit status: 0, or 1 if an image failed. Wrong input gives 2; see :func:`sgovss.errors.command`.
    """
    args = _parser().parse_args(argv)
    args.opts = tuple(args.opts)
    options = SegmentOptions(**{field.name: getattr(args, field.name) for field in fields(SegmentOptions)})
    vocabulary = Vocabulary.parse(args.vocabulary)
    for note in options.rejection.notes(vocabulary):
        print(f"note: {note}", file=sys.stderr)
    task = prepare(lambda: args.input, vocabulary, args.output, options)
    with sole_run(args.output, task.several.lock):
        if task.several.share is not None:
            return fill_share(task.segmenter(), task.images, task.output, task.several.share)
        line = shlex.join(["sgovss", "segment", *(sys.argv[1:] if argv is None else argv)])
        model = options.model_name
        settings = {"command": line, "classes": args.vocabulary, "model": model}
        failed = segment_all(task, settings, _done, _failed)
    print(f"report: {task.output / REPORT}")
    if failed:
        print(f"{len(failed)} of {len(task.images)} images failed", file=sys.stderr)
    return 1 if failed else 0


def _done(name: str, result: Segmentation) -> None:
    print(f"{name}: {result.files['overlay']}")


def _failed(line: str, _: BaseException) -> None:
    print(f"error: {line}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="sgovss segment",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--config-file", metavar="FILE", help="a config, the name of one that comes with sgovss, a "
                       "model folder, or a model of the hub (owner/name); default the embedded model")  # fmt: skip
    model.add_argument("--onnx", metavar="FILE", help="an ONNX file of 'sgovss export' (extra onnx)")
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
                       "good takes 4 times as long, best 14 times")  # fmt: skip
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
