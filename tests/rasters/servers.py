"""The server of ``range_server.py``, for tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


class Server:
    """The server of ``range_server.py`` and the folder that it serves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, Path(__file__).with_name("range_server.py"), folder]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{self.process.stdout.readline().strip()}"

    def put(self, name: str, content: bytes) -> str:
        """Put a file on the server; returns its URL."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return f"{self.url}/{name}"

    def asked(self) -> list[tuple[str, str]]:
        """The path and range of each request so far."""
        return [tuple(line.split(" ")) for line in (self.folder / "requests.log").read_text().splitlines()]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
