"""Where the processor time of a megapixel of a scene goes."""

from __future__ import annotations

import argparse
import functools
import pkgutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from tabulate import tabulate
from torch import nn

from research.benchmark.scenes import LAYOUTS, write_scene
from sgovss.engine.workloads import aerial_class_names
from sgovss.files import write_json_atomically

_READ, _ENCODE, _HEAD, _BLEND, _ENLARGE = "read", "encoder", "head", "blend", "enlarge and choose"
_REST = "write and rest"
_FUNCTIONS = {
    "sgovss.rasters.source.RasterSource.read": _READ,
    "sgovss.rasters.source.RasterSource.valid": _READ,
    "sgovss.rasters.blending.ScoreSums.add": _BLEND,
    "sgovss.rasters.blending.ScoreSums.mean": _BLEND,
    "sgovss.rasters.filling.best_classes": _ENLARGE,
}


def add_command(commands: Any) -> None:
    """Add ``megapixel`` to the subcommands of an argument parser."""
    parser = commands.add_parser("megapixel", help="where the time of a megapixel of a scene goes, on one thread")
    parser.add_argument("--config-file", default="sgovss_tiny.yaml", metavar="FILE")
    parser.add_argument("--size", type=int, default=3000, help="side of the raster in pixels; default 3000")
    parser.add_argument("--layout", choices=LAYOUTS, default="tiles", help="layout of the file; default tiles")
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 300], help="numbers of classes")
    parser.add_argument("--precisions", nargs="+", choices=("float32", "bfloat16"), default=["float32", "bfloat16"])
    parser.add_argument("--repeats", type=int, default=3, help="default 3")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    parser.set_defaults(run=benchmark_megapixel)


def benchmark_megapixel(args: argparse.Namespace) -> None:
    """Segment a raster on one thread; print the milliseconds of each part for a megapixel, and write ``--json``."""
    from sgovss.inference.predictor import Predictor
    from sgovss.rasters.scene import SceneMapper

    torch.set_num_threads(1)  # the time of a part is that of the thread it runs in
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "scene.tif"
        write_scene(scene, args.size, args.layout)
        for precision in args.precisions:
            predictor = Predictor(args.config_file, options=tuple(args.opts), precision=precision)
            for classes in args.classes:
                mapper = SceneMapper(predictor, ", ".join(aerial_class_names(classes)))
                mapper(_first(scene, Path(folder)), Path(folder) / f"first_{precision}_{classes}")
                runs = [
                    seconds_of_parts(
                        predictor.model,
                        functools.partial(mapper, scene, Path(folder) / f"{precision}_{classes}_{number}"),
                    )
                    for number in range(args.repeats)
                ]
                rows.append({"precision": precision, "classes": classes, **_row(runs, args.size**2 / 1e6)})
                print(tabulate(rows[-1:], headers="keys"), flush=True)
    print(tabulate(rows, headers="keys", tablefmt="github"))
    if args.json:
        write_json_atomically(args.json, {**args.origin, "rows": rows})


def seconds_of_parts(model: nn.Module, work: Callable[[], object]) -> dict[str, float]:
    """Do some work with a model; return the processor time of each part in seconds, and of the rest.

    The time of a part is that of the threads that run it.
    """
    spent: dict[str, float] = defaultdict(float)
    with ExitStack() as stack:
        for name, part in _FUNCTIONS.items():
            owner, _, attribute = name.rpartition(".")
            function = getattr(pkgutil.resolve_name(owner), attribute)
            stack.enter_context(mock.patch(name, _timed(function, spent, part)))
        for module, part in ((model.image_encoder, _ENCODE), (model.head, _HEAD)):
            stack.enter_context(_clock(module, spent, part))
        begun = time.process_time()
        work()
        whole = time.process_time() - begun
    return {**spent, _REST: whole - sum(spent.values()), "all": whole}


def _timed(function: Callable[..., Any], spent: dict[str, float], part: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        begun = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent[part] += time.thread_time() - begun

    return timed


@contextmanager
def _clock(module: Any, spent: dict[str, float], part: str) -> Iterator[None]:
    """Count the time of a module's calls."""

    def start(*_: Any) -> None:
        spent[part] -= time.thread_time()

    def stop(*_: Any) -> None:
        spent[part] += time.thread_time()

    handles = [module.register_forward_pre_hook(start), module.register_forward_hook(stop)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _row(runs: list[dict[str, float]], megapixels: float) -> dict[str, Any]:
    """Medians in milliseconds a megapixel, and the range of the whole."""
    row: dict[str, Any] = {
        part: round(1e3 * statistics.median(run.get(part, 0.0) for run in runs) / megapixels)
        for part in (_READ, _ENCODE, _HEAD, _BLEND, _ENLARGE, _REST, "all")
    }
    whole = [1e3 * run["all"] / megapixels for run in runs]
    return {**row, "range": f"{min(whole):.0f} to {max(whole):.0f}"}


def _first(scene: Path, folder: Path) -> Path:
    """A small raster, so that the words are encoded and the kernels chosen before the clock starts."""
    path = folder / "first.tif"
    if not path.exists():
        write_scene(path, 512, "tiles")
    return path
