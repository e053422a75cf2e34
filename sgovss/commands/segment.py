"""Segment images, and scenes of any size, in words.

    python demo/demo.py --config-file configs/sgovss_tiny.yaml --input scene.jpg photos/ \\
        --vocabulary "building, road, tree|forest, water" --output output/demo \\
        --opts MODEL.WEIGHTS output/sgovss_tiny/model_inference.pth
    python demo/demo.py --config-file configs/sgovss_tiny.yaml --input county.tif --bands 4,3,2 --polygons \\
        --vocabulary words.txt --threshold 0.3 --output output/county

    python demo/demo.py --onnx model.onnx --input photos/ --vocabulary words.txt --output output/mine

Rasters (.tif, .vrt, .jp2, .img) become GeoTIFFs with the source's coordinates, window by window (extra geo).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import sgovss._detectron2  # noqa: F401  before any other import of Detectron2, whose warnings it keeps back

# isort: split
from detectron2.engine import launch
from detectron2.utils import comm
from tqdm import tqdm

from sgovss.config import load_config
from sgovss.errors import InputError, command
from sgovss.export.onnx_file import OnnxImagePath
from sgovss.export.onnx_predictor import OnnxPredictor, onnx_config
from sgovss.files import sole_run, write_json_atomically
from sgovss.inference.files import RASTER_SUFFIXES, find_images, is_large, segment_file
from sgovss.inference.predictor import Predictor
from sgovss.inference.rejection import Rejection
from sgovss.inference.report import ReportEntry, write_report
from sgovss.modeling.checkpoint import read_checkpoint
from sgovss.precision import AUTO
from sgovss.vocabulary import Vocabulary

_SUMMARY = "run.json"
_PATIENCE = timedelta(days=30)  # that a process which is done waits for the others

logger = logging.getLogger("sgovss.demo")

Segment = Callable[[Path, Path], ReportEntry]


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 1 if an image failed, 2 if nothing could be done."""
    args = _parser().parse_args(argv)
    args.command = shlex.join(["demo/demo.py", *(sys.argv[1:] if argv is None else argv)])
    # All that a user may have got wrong, before a model is loaded and anything is written.
    vocabulary, rejection = Vocabulary.parse(args.vocabulary), _rejection(args)
    rejection.scored(vocabulary), rejection.legend(vocabulary)
    # Listed once: what one process writes must not be another's input.
    images = find_images(args.input, without=args.output)
    _scene_options(args)
    _expect_model(args)
    # The other machines write to the first one's folder.
    with nullcontext() if args.machine_rank else sole_run(args.output):
        launch(
            segment_all,
            args.processes,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args, images),
            timeout=_PATIENCE,
        )
    if args.machine_rank:
        return 0
    failed = json.loads((Path(args.output) / _SUMMARY).read_text(encoding="utf-8"))["failed"]
    if failed:
        print(f"{len(failed)} of {len(images)} images failed", file=sys.stderr)
    return 1 if failed else 0


def _expect_model(args: argparse.Namespace) -> None:
    """Raise an InputError if the files that are to be a model are none."""
    if args.onnx:
        if args.precision == "bfloat16":
            raise InputError("--precision bfloat16: an ONNX file computes in float32; leave out --precision")
        onnx_config(OnnxImagePath(args.onnx), args.opts)
        return
    cfg = load_config(args.config_file, args.opts)
    if cfg.MODEL.WEIGHTS:
        read_checkpoint(cfg.MODEL.WEIGHTS)


def segment_all(args: argparse.Namespace, images: Mapping[Path, Path]) -> None:
    """Segment this process's share of the images; the first process writes the run's report.

    Each image is one process's alone: every ``--processes``-th of the list. What came of them goes through files,
    since one process may be done hours before another; several machines need the same ``--output``.
    """
    output, rank = Path(args.output), comm.get_rank()
    mine = list(images.items())[rank :: comm.get_world_size()]
    segment = _segment(args)
    entries, problems = [], []
    with tqdm(mine, unit="image", disable=len(mine) == 1) as progress:
        for path, name in progress:
            try:
                entry = segment(path, output / name)
            except InputError as error:
                problems.append(str(error))
            except Exception as error:  # one odd file must not end a run of days
                logger.exception("%s", path)
                problems.append(f"{path}: {type(error).__name__}: {error}")
            else:
                entries.append(entry)
                progress.write(f"{path}: {entry.overlay}")
                continue
            progress.write(f"error: {problems[-1]}", file=sys.stderr)
    content = {"entries": [entry.as_json() for entry in entries], "problems": problems}
    write_json_atomically(_share(output, rank), content)
    comm.synchronize()
    if comm.is_main_process():
        _report(args, output, comm.get_world_size())


def _report(args: argparse.Namespace, output: Path, processes: int) -> None:
    """Put what the processes left together."""
    entries: list[ReportEntry] = []
    problems: list[str] = []
    for rank in range(processes):
        content = json.loads(_share(output, rank).read_text(encoding="utf-8"))
        entries += [ReportEntry.from_json(entry) for entry in content["entries"]]
        problems += content["problems"]
        _share(output, rank).unlink()
    settings = {"command": args.command, "words": args.vocabulary, "model": str(args.onnx or args.config_file)}
    write_report(output / "report.html", entries, settings, problems)
    write_json_atomically(
        output / _SUMMARY, {"images": [entry.title for entry in entries], "failed": problems, **settings}
    )
    print(f"report: {output / 'report.html'}")


def _share(output: Path, rank: int) -> Path:
    return output / f".run-{rank}.json"


def _segment(args: argparse.Namespace) -> Segment:
    """What segments one file, whichever kind it is."""
    vocabulary, rejection = Vocabulary.parse(args.vocabulary), _rejection(args)
    scored = rejection.scored(vocabulary)
    predictor = _predictor(args)
    # Words that the model cannot read are no image's fault.
    predictor.model.text_embedder(scored)
    scene = _scene_mapper(args, predictor, vocabulary)

    def segment(path: Path, target: Path) -> ReportEntry:
        if scene is not None and path.suffix.lower() in RASTER_SUFFIXES:
            return scene(path, target)
        if not is_large(path, len(scored)):
            return segment_file(predictor, path, vocabulary, target, rejection)
        if scene is None:
            raise InputError(
                f"{path}: too many pixels to be segmented into {len(scored)} classes at once; to have it segmented "
                "window by window, pip install 'sgovss[geo]'"
            )
        return scene(path, target)

    return segment


def _predictor(args: argparse.Namespace) -> Predictor:
    if args.onnx:
        return OnnxPredictor(args.onnx, tuple(args.opts))
    return Predictor(args.config_file, options=tuple(args.opts), precision=args.precision)


def _scene_mapper(args: argparse.Namespace, predictor: Predictor, vocabulary: Vocabulary) -> Segment | None:
    """What segments window by window; None without the libraries for it."""
    options = _scene_options(args)
    if options is None:
        return None
    from sgovss.rasters.scene import SceneMapper

    return SceneMapper(predictor, vocabulary, options)


def _rejection(args: argparse.Namespace) -> Rejection:
    words = tuple(word.strip() for word in (args.background or "").split("|") if word.strip())
    return Rejection(args.threshold, words)


def _scene_options(args: argparse.Namespace):
    """SceneOptions, or None without the libraries for rasters, which are read as photographs then."""
    if importlib.util.find_spec("rasterio") is None:
        if wanted := [f"--{name}" for name in _SCENE_ONLY if getattr(args, name.replace("-", "_"))]:
            raise InputError(f"{wanted[0]} is for rasters, which need further libraries: pip install 'sgovss[geo]'")
        return None
    from sgovss.rasters.scene import SceneOptions

    smallest, in_pixels = _min_area(args.min_area)
    if args.cache and args.onnx:
        raise InputError("--cache keeps encoded windows, but --onnx goes from windows to scores; leave one of them out")
    if args.gsd < 0:
        raise InputError(f"--gsd: {args.gsd:g} is no distance; give metres per pixel, such as 0.3")
    if args.aoi is not None and not args.aoi.exists():
        raise InputError(f"--aoi {args.aoi}: no such file")
    return SceneOptions(
        bands=None if args.bands is None else _numbers(args.bands, int, 3, "--bands", "4,3,2"),
        percentiles=None if args.stretch is None else _numbers(args.stretch, float, 2, "--stretch", "2,98"),
        distance=args.gsd,
        aoi=args.aoi,
        smallest=smallest,
        smallest_in_pixels=in_pixels,
        confidence=args.confidence,
        probabilities=args.probabilities,
        polygons=args.polygons,
        cache=args.cache,
        resume=args.resume,
        rejection=_rejection(args),
    )


def _numbers(text: str, kind: type, count: int, flag: str, example: str) -> tuple:
    try:
        numbers = tuple(kind(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        raise InputError(f"{flag}: '{text}' is not {count} numbers with commas, such as {example}")
    if kind is float and not 0 <= numbers[0] < numbers[1] <= 100:
        raise InputError(f"{flag}: '{text}' must rise, from 0 to 100, as in {example}")
    return numbers


def _min_area(text: str | None) -> tuple[float, bool]:
    """The number, and whether it counts pixels."""
    if text is None:
        return 0.0, False
    try:
        number = float(text.removesuffix("px"))
    except ValueError:
        number = -1.0
    if not number >= 0:
        raise InputError(f"--min-area: '{text}' is neither square metres, such as 100, nor pixels, such as 50px")
    return number, text.endswith("px")


_SCENE_ONLY = (
    "bands", "stretch", "gsd", "aoi", "min-area", "confidence", "probabilities", "polygons", "cache", "resume",
)  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--config-file", metavar="FILE", help="a config, or the name of one of sgovss")
    model.add_argument("--onnx", type=Path, metavar="FILE", help="a model of 'sgovss export' (extra onnx)")
    parser.add_argument(
        "--input", required=True, nargs="+", metavar="PATH", help="images and rasters, or folders of them"
    )
    parser.add_argument(
        "--vocabulary",
        required=True,
        metavar="WORDS",
        help="classes parted by ',' with synonyms parted by '|', or a .txt, .json or .yaml file",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="where overlays, labels and shares are written")
    parser.add_argument("--precision", choices=(AUTO, "float32", "bfloat16"), default=AUTO, help="what to compute in; "
                        "default bfloat16 where the processor has it")  # fmt: skip
    parser.add_argument("--background", metavar="WORDS", help="words, parted by '|', for what becomes 'other'")
    parser.add_argument("--threshold", type=float, default=0.0, help="pixels that score below become 'other' (0 to 1)")
    scene = parser.add_argument_group("rasters")
    scene.add_argument("--bands", metavar="R,G,B", help="numbers of the bands to show; default the first three")
    scene.add_argument("--stretch", metavar="LOW,HIGH", help="percentiles of the scene to stretch to 8 bits; default "
                       "2,98 unless the data are 8-bit")  # fmt: skip
    scene.add_argument("--gsd", type=float, default=0.0, metavar="METRES", help="show the scene to the model at this "
                       "ground sample distance; default what it was trained at, if known")  # fmt: skip
    scene.add_argument("--aoi", type=Path, metavar="FILE", help="vector file: segment only inside its polygons")
    scene.add_argument("--min-area", metavar="M2", help="merge smaller regions into their neighbours: 100, or 50px; "
                       "holds the scene's labels in memory")  # fmt: skip
    scene.add_argument("--confidence", action="store_true", help="second band: score of the class in percent")
    scene.add_argument("--probabilities", action="store_true", help="a raster of every class's score in percent")
    scene.add_argument("--polygons", action="store_true", help="a GeoPackage of regions with class and area")
    scene.add_argument("--cache", type=Path, metavar="DIR", help="keep encoded windows: other words are then faster")
    scene.add_argument("--resume", action="store_true", help="go on with scenes that were interrupted")
    several = parser.add_argument_group("several processes, each with its share of the images")
    several.add_argument("--processes", type=int, default=1, metavar="N", help="on this machine; one for each GPU")
    several.add_argument("--num-machines", type=int, default=1, metavar="N")
    several.add_argument("--machine-rank", type=int, default=0, metavar="I")
    several.add_argument("--dist-url", default="auto", metavar="URL", help="tcp://host:port of the first machine")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    return parser
