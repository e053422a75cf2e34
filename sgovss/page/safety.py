"""Protection of the page: which requests are answered, and what a browser may do with the answers."""

from __future__ import annotations

import io
from urllib.parse import urlsplit

from flask import Flask, Request, Response, jsonify, request

from sgovss.errors import InputError

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class RequestInMemory(Request):
    """A request whose uploads stay in memory; Flask would write large ones to a temporary file."""

    def _get_file_stream(self, *_: object, **__: object) -> io.BytesIO:
        return io.BytesIO()


def protect(app: Flask, max_megabytes: int, host: str) -> None:
    """Limit requests to an application to its own page, and their size.

    Args:
        app: the application.
        max_megabytes: size of the largest request that is accepted.
        host: name or address of the server. Requests to other names are refused, so that no other site can reach the
            page by resolving its own name to this machine.
    """
    app.request_class = RequestInMemory
    app.config["MAX_CONTENT_LENGTH"] = max_megabytes * 2**20

    @app.before_request
    def refuse_other_sites() -> tuple[Response, int] | None:
        if _from_own_page(host):
            return None
        return jsonify(error="requests from other sites are refused"), 403

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response

    @app.errorhandler(InputError)
    def explain(error: InputError) -> tuple[Response, int]:
        return jsonify(error=str(error)), 400

    @app.errorhandler(413)
    def too_large(_: Exception) -> tuple[Response, int]:
        return jsonify(error=f"the file is larger than {max_megabytes} MB; give a smaller one or --max-megabytes"), 413


def _from_own_page(host: str) -> bool:
    """Whether the current request was sent by the page itself, not by a page of another site."""
    known = host == "0.0.0.0" or _name_of(request.host) in (host.lower(), "127.0.0.1", "localhost")
    origin = request.headers.get("Origin")
    return known and (origin is None or origin.partition("://")[2] == request.host)


def _name_of(host: str) -> str:
    """The name or address in a Host header, without the port and the brackets of an IPv6 address; "" if malformed."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
