"""Serve a local web page: drop an image, type class names, see the label map.

example:
  sgovss app --config-file sgovss_tiny.yaml --opts MODEL.WEIGHTS output/sgovss_tiny/model_inference.pth

The page encodes an image once, so that changing the class names is fast. It writes nothing to disk and sends nothing
to other machines. Needs the extra app.
"""

from __future__ import annotations

import argparse
import base64
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from sgovss.data.labels import image_size, read_rgb
from sgovss.errors import InputError, command
from sgovss.inference.interactive import InteractiveSegmenter
from sgovss.inference.predictor import Predictor
from sgovss.inference.rejection import Rejection
from sgovss.inference.segmentation import Segmentation
from sgovss.painting import label_png, paint
from sgovss.precision import AUTO
from sgovss.vocabulary import Vocabulary

if TYPE_CHECKING:
    from flask import Flask

_MOST_PIXELS = 64_000_000  # limit for one image, because several images and their results are kept in memory
PAGE = Path(__file__).parent.parent / "assets" / "app.html"
_POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; frame-ancestors 'none'"
)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page until interrupted; returns the exit status."""
    args = _parser().parse_args(argv)
    if not 0 <= args.port < 2**16:
        raise InputError(f"--port {args.port}: ports go from 0 to {2**16 - 1}; give another")
    # The page writes nothing to disk, so class names are not cached there either.
    options = (*args.opts, "MODEL.CLIP.KEEP_TEXT", "False")
    predictor = Predictor(args.config_file, options=options, precision=AUTO)
    app = create_app(InteractiveSegmenter(predictor), args.max_megabytes, args.host)
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
        return 0
    return 0


def create_app(segmenter: InteractiveSegmenter, max_megabytes: int = 64, host: str = "127.0.0.1") -> Flask:
    """Create the Flask application of the page.

    Args:
        segmenter: segments the images.
        max_megabytes: size of the largest request that is accepted.
        host: name or address of the server. Requests to other names are refused, so that no other site can reach the
            page by resolving its own name to this machine.

    Raises:
        InputError: Flask is not installed.
    """
    try:
        from flask import Flask, Request, jsonify, request
    except ImportError as error:
        raise InputError("the web page needs Flask: pip install 'sgovss[app]'") from error

    class RequestInMemory(Request):
        """A request whose uploads stay in memory; Flask would write large ones to a temporary file."""

        def _get_file_stream(self, *_: object, **__: object) -> io.BytesIO:
            return io.BytesIO()

    app = Flask(__name__, static_folder=None)
    app.request_class = RequestInMemory
    app.config["MAX_CONTENT_LENGTH"] = max_megabytes * 2**20

    @app.before_request
    def refuse_other_sites():
        """Refuse requests that a page of another site sends through the user's browser."""
        origin = request.headers.get("Origin")
        name = _host_name(request.host)
        known = name in (host.lower(), "127.0.0.1", "localhost") or host == "0.0.0.0"
        if not known or (origin is not None and origin.partition("://")[2] != request.host):
            return jsonify(error="requests from other sites are refused"), 403
        return None

    @app.after_request
    def protect(response):
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    @app.errorhandler(InputError)
    def explain(error):
        return jsonify(error=str(error)), 400

    @app.errorhandler(413)
    def too_large(_):
        return jsonify(error=f"the file is larger than {max_megabytes} MB; give a smaller one or --max-megabytes"), 413

    @app.get("/")
    def page():
        return PAGE.read_text(encoding="utf-8")

    @app.post("/image")
    def image():
        started = time.monotonic()
        file = request.files.get("file")
        if file is None:
            raise InputError("no image in the request")
        pixels = _read(file.stream, file.filename or "image")
        name = segmenter.add(pixels)
        height, width = pixels.shape[:2]
        return jsonify(image=name, width=width, height=height, seconds=round(time.monotonic() - started, 2))

    @app.post("/segment")
    def segment():
        started = time.monotonic()
        asked = request.get_json(silent=True)
        result = _segmentation(segmenter, asked)
        pixels = segmenter.image(asked["image"])
        painted = paint(pixels, result.labels.astype(np.uint16), result.legend.colors(), _alpha(asked))
        overlay = _data_url(Image.fromarray(painted), "JPEG")
        seconds = round(time.monotonic() - started, 2)
        notes = _rejection(asked).notes(_classes(asked))
        return jsonify(overlay=overlay, legend=_legend(result), seconds=seconds, notes=notes)

    @app.post("/labels")
    def labels():
        result = _segmentation(segmenter, request.get_json(silent=True))
        content = label_png(result.labels, result.legend)
        return content, {"Content-Type": "image/png", "Content-Disposition": "attachment; filename=labels.png"}

    return app


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sgovss app", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="FILE", help="a config, or the name of one that comes "
                        "with sgovss")  # fmt: skip
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default 127.0.0.1, which "
                        "only this machine can reach")  # fmt: skip
    parser.add_argument("--port", type=int, default=8501, help="port to listen on; default 8501")
    parser.add_argument("--max-megabytes", type=int, default=64, metavar="MB", help="size of the largest image file "
                        "that is accepted; default 64")  # fmt: skip
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options; "
                        "must come last")  # fmt: skip
    return parser


def _host_name(host: str) -> str:
    """The name or address in a Host header, without the port and the brackets of an IPv6 address; "" if malformed."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _read(file: BinaryIO, name: str) -> np.ndarray:
    """Read an uploaded image as (H, W, 3) uint8 RGB.

    The number of pixels is checked before they are decoded, because a small file may hold more than fit into memory.

    Raises:
        InputError: the file is not an image, or has too many pixels.
    """
    height, width = image_size(file, name)
    if height * width > _MOST_PIXELS:
        raise InputError(f"{name}: {width} x {height} pixels are too many for this page; use 'sgovss segment'")
    file.seek(0)
    return read_rgb(file, name)


def _segmentation(segmenter: InteractiveSegmenter, asked: Any) -> Segmentation:
    """Segment the image that a request names.

    Args:
        segmenter: segments the image.
        asked: JSON of the request: ``image`` and ``words`` (the class names), optionally ``background`` and
            ``threshold``.

    Raises:
        InputError: the request is wrong.
    """
    if not isinstance(asked, dict):
        raise InputError("the request is not a JSON object with image and words")
    for key in ("image", "words"):
        if not isinstance(asked.get(key), str):
            raise InputError(f"the request has no {key}")
    return segmenter.segment(asked["image"], _classes(asked), _rejection(asked))


def _classes(asked: dict[str, Any]) -> Vocabulary:
    return Vocabulary.from_string(asked["words"], "classes")


def _rejection(asked: dict[str, Any]) -> Rejection:
    return Rejection.parse(_number(asked, "threshold"), str(asked.get("background") or ""))


def _alpha(asked: dict[str, Any]) -> float:
    return min(1.0, max(0.0, _number(asked, "alpha", 0.5)))


def _number(asked: dict[str, Any], key: str, default: float = 0.0) -> float:
    try:
        return float(asked.get(key, default))
    except (TypeError, ValueError) as error:
        raise InputError(f"{key}: '{asked[key]}' is not a number") from error


def _legend(result: Segmentation) -> list[dict[str, Any]]:
    """List name, colour, share of the pixels and mean score of each class; the largest class first."""
    labels, scores = result.labels, result.scores
    assert scores is not None
    rows = []
    for index, (name, color) in enumerate(zip(result.legend.names, result.legend.colors().tolist(), strict=True)):
        where = labels == index
        confidence = float(scores[where].mean()) if where.any() else None
        rows.append({"name": name, "color": color, "share": result.shares[name], "confidence": confidence})
    return sorted(rows, key=lambda row: -row["share"])


def _data_url(picture: Image.Image, kind: str) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=90)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
