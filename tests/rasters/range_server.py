"""A small HTTP server for tests: ``python range_server.py FOLDER`` prints its port and serves the folder on loopback.

It runs in a process of its own, because GDAL waits for answers without letting other Python threads run. Requests are
written to ``requests.log``. As long as ``drops`` holds a number above zero, an answer with a range is cut off and the
number counted down. ``/tiles/z/x/y.png`` is a tile whose colour is (z, x mod 256, y mod 256); if ``odd`` exists, tiles
of even x are missing; if ``wide`` exists, tiles have 512 pixels along a side.
"""

from __future__ import annotations

import io
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image


class Handler(BaseHTTPRequestHandler):
    """Serves files of a folder, whole or in ranges."""

    folder: Path

    def do_GET(self) -> None:
        content, asked = self._content(), self.headers.get("Range")
        with (self.folder / "requests.log").open("a") as log:
            log.write(f"{self.path} {asked}\n")
        if content is None:
            self.send_error(404)
            return
        total = len(content)
        if asked:
            first, last = asked.removeprefix("bytes=").split("-")
            content = content[int(first) : int(last or total) + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(content) - 1}/{total}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.close_connection = bool(asked) and self._drops()
        self.wfile.write(content[: len(content) // 2] if self.close_connection else content)

    def _content(self) -> bytes | None:
        if self.path.startswith("/tiles/"):
            z, x, y = map(int, self.path.removesuffix(".png").split("/")[2:])
            if (self.folder / "odd").exists() and x % 2 == 0:
                return None
            file = io.BytesIO()
            side = 512 if (self.folder / "wide").exists() else 256
            Image.new("RGB", (side, side), (z, x % 256, y % 256)).save(file, "PNG")
            return file.getvalue()
        path = self.folder / self.path.lstrip("/")
        return path.read_bytes() if path.is_file() else None

    def _drops(self) -> bool:
        file = self.folder / "drops"
        left = int(file.read_text()) if file.exists() else 0
        if left:
            file.write_text(str(left - 1))
        return left > 0

    def log_message(self, *_: object) -> None:
        """Print nothing."""


if __name__ == "__main__":
    Handler.folder = Path(sys.argv[1])
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()
