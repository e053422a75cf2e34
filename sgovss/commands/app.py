"""Serve a local web page: drop an image or a GeoTIFF, type class names, see the classes, download the map.

example:
  sgovss app --config-file sgovss_tiny.yaml --opts MODEL.WEIGHTS output/sgovss_tiny/model_inference.pth

The page encodes an image once, so that changing the class names is fast. It sends nothing to other machines. It writes
nothing to disk, except scenes (GeoTIFF, JPEG 2000; extra geo): they and their products are in a temporary folder, which
is deleted when the page is stopped, by Ctrl-C or a signal to end. Needs the extra app.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sgovss.config import EMBEDDED_CONFIG
from sgovss.errors import InputError, command
from sgovss.inference.interactive import InteractiveSegmenter
from sgovss.inference.predictor import Predictor
from sgovss.page.server import create_app
from sgovss.precision import AUTO
from sgovss.processes import exit_on_signals, exit_past_threads

if TYPE_CHECKING:
    from flask import Flask

    from sgovss.page.scenes import SceneDesk


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page until interrupted; returns the exit status."""
    args = _parser().parse_args(argv)
    if not 0 <= args.port < 2**16:
        raise InputError(f"--port {args.port}: ports go from 0 to {2**16 - 1}; give another")
    # The page writes no text embeddings to disk, so that the words stay in memory.
    options = (*args.opts, "MODEL.CLIP.KEEP_TEXT", "False")
    predictor = Predictor(args.config_file, options=options, precision=AUTO)
    lock = threading.Lock()
    with (
        exit_past_threads(),
        exit_on_signals(),
        tempfile.TemporaryDirectory(prefix="sgovss-page-", ignore_cleanup_errors=True) as folder,
    ):
        scenes = _scenes(predictor, Path(folder), lock)
        _serve(create_app(InteractiveSegmenter(predictor, lock=lock), args.max_megabytes, args.host, scenes), args)
    return 0


def _scenes(predictor: Predictor, folder: Path, lock: threading.Lock) -> SceneDesk | None:
    """Make the desk for scenes; None without the extra geo."""
    if importlib.util.find_spec("rasterio") is None or importlib.util.find_spec("pyogrio") is None:
        return None
    from sgovss.page.scenes import SceneDesk

    return SceneDesk(predictor, folder, lock)


def _serve(app: Flask, args: argparse.Namespace) -> None:
    from werkzeug.serving import make_server

    try:
        server = make_server(args.host, args.port, app, threaded=True)
    except (OSError, OverflowError, SystemExit) as error:
        raise InputError(f"--port {args.port}: cannot listen on this port of {args.host}; give another") from error
    shown = f"[{args.host}]" if ":" in args.host else args.host
    print(f"http://{shown}:{server.port} (stop with Ctrl-C)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog="sgovss app", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", default=EMBEDDED_CONFIG, metavar="FILE", help="a config, the name of one "
                        "that comes with sgovss, a model folder, or a model of the hub (owner/name); default the "
                        "embedded model")  # fmt: skip
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default 127.0.0.1, which "
                        "only this machine can reach")  # fmt: skip
    parser.add_argument("--port", type=int, default=8501, help="port to listen on; default 8501")
    parser.add_argument("--max-megabytes", type=int, default=64, metavar="MB", help="size of the largest image file "
                        "that is accepted; default 64")  # fmt: skip
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options; "
                        "must come last")  # fmt: skip
    return parser
