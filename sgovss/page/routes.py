"""The requests of the page."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, Response, jsonify, request, send_file

from sgovss.errors import InputError
from sgovss.page.answers import Desk, Download, Picture
from sgovss.page.asked import Asked
from sgovss.page.examples import EXAMPLES, draw_example
from sgovss.page.photographs import PhotographDesk, read_photograph, tiff
from sgovss.page.uploads import is_scene

if TYPE_CHECKING:  # needs the extra geo
    from sgovss.page.scenes import SceneDesk

_ASSETS = Path(__file__).parent.parent / "assets" / "page"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Routes:
    """The functions that answer the requests.

    Args:
        photographs: holds the photographs.
        scenes: holds the scenes; None if they cannot be read here.
    """

    def __init__(self, photographs: PhotographDesk, scenes: SceneDesk | None) -> None:
        self._photographs = photographs
        self._scenes = scenes

    def add_to(self, app: Flask) -> None:
        """Add all routes to an application."""
        for file in sorted(_ASSETS.iterdir()):  # only these files are served, whatever path a request has
            address = "/" if file.name == "index.html" else f"/{file.name}"
            app.add_url_rule(address, file.name, _serve(file))
        for answer in (self.image, self.example, self.segment, self.labels, self.files):
            app.add_url_rule(f"/{answer.__name__}", view_func=answer, methods=["POST"])
        app.add_url_rule("/preview/<name>", view_func=self.preview)
        app.add_url_rule("/progress/<name>", view_func=self.progress)

    def image(self) -> Response:
        """Take an uploaded picture."""
        started = time.monotonic()
        file = request.files.get("file")
        if file is None:
            raise InputError("no image in the request; send it as the file 'file' of a form")
        title = file.filename or "image"
        content = file.stream.read()
        if self._scenes is not None and is_scene(content):
            picture = self._scenes.add(content, title)
        else:
            pixels = read_photograph(io.BytesIO(content), title)
            if self._scenes is not None and self._photographs.shrinks(pixels):  # every pixel is seen
                picture = self._scenes.add(tiff(pixels), title, no_data="none")
            else:
                picture = self._photographs.add(pixels, title)
        return _described(picture, started)

    def example(self) -> Response:
        """Draw an example; the request names its number."""
        started = time.monotonic()
        asked = request.get_json(silent=True)
        number = asked.get("number", 0) if isinstance(asked, dict) else 0
        if not isinstance(number, int) or not 0 <= number < 2**31:
            raise InputError(f"number: '{number}' is not the number of an example; give 0 or more")
        pixels, title = draw_example(number % EXAMPLES)
        return _described(self._photographs.add(pixels, title, "drawn, not a photograph"), started)

    def preview(self, name: str) -> Response:
        """Return the picture for the screen."""
        return Response(self._desk(name).preview(name), mimetype="image/jpeg")

    def progress(self, name: str) -> Response:
        """Say how much of a scene is segmented, 0 to 1; null if it is not being segmented now."""
        return jsonify(filled=None if self._scenes is None else self._scenes.progress(name))

    def segment(self) -> Response:
        """Segment a picture for the screen."""
        started = time.monotonic()
        asked = _asked()
        view = self._desk(asked.picture).view(asked)
        message = view.packed(time.monotonic() - started, asked.rejection.notes(asked.vocabulary))
        return Response(message, mimetype="application/octet-stream")

    def labels(self) -> Response:
        """Return the label map of a picture."""
        asked = _asked()
        return _sent(self._desk(asked.picture).labels(asked))

    def files(self) -> Response:
        """Return a zip of all products of a picture."""
        asked = _asked()
        return _sent(self._desk(asked.picture).files(asked))

    def _desk(self, name: str) -> Desk:
        return self._scenes if self._scenes is not None and self._scenes.holds(name) else self._photographs


def _serve(file: Path) -> Callable[[], Response]:
    return lambda: Response(file.read_bytes(), mimetype=_TYPES[file.suffix])


def _asked() -> Asked:
    return Asked.parse(request.get_json(silent=True))


def _described(picture: Picture, started: float) -> Response:
    content = asdict(picture)
    return jsonify(image=content.pop("name"), **content, seconds=round(time.monotonic() - started, 2))


def _sent(download: Download) -> Response:
    return send_file(download.content, download.kind, as_attachment=True, download_name=download.name)
