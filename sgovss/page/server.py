"""The Flask application of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgovss.errors import InputError
from sgovss.inference.interactive import InteractiveSegmenter

if TYPE_CHECKING:
    from flask import Flask

    from sgovss.page.scenes import SceneDesk


def create_app(
    segmenter: InteractiveSegmenter,
    max_megabytes: int = 64,
    host: str = "127.0.0.1",
    scenes: SceneDesk | None = None,
) -> Flask:
    """Create the Flask application of the page.

    Args:
        segmenter: segments the photographs.
        max_megabytes: size of the largest request that is accepted.
        host: name or address of the server; see :func:`sgovss.page.safety.protect`.
        scenes: segments the scenes; None reads 8-bit TIFF and JPEG 2000 files as photographs.

    Raises:
        InputError: Flask is not installed.
    """
    try:
        from flask import Flask
    except ImportError as error:
        raise InputError("the web page needs Flask: pip install 'sgovss[app]'") from error
    from sgovss.page.photographs import PhotographDesk
    from sgovss.page.routes import Routes
    from sgovss.page.safety import protect

    app = Flask("sgovss", static_folder=None)
    protect(app, max_megabytes, host)
    Routes(PhotographDesk(segmenter), scenes).add_to(app)
    return app
