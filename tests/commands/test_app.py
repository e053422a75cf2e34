"""'sgovss app': the command. Its page is tested in tests/page."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from importlib import import_module
from pathlib import Path

import pytest

pytest.importorskip("flask", reason="needs the extra 'app'")


class Server:
    """Stands for a server that is stopped at once."""

    port = 8501

    def serve_forever(self) -> None:
        raise KeyboardInterrupt


@pytest.fixture
def script(monkeypatch):
    module = import_module("sgovss.commands.app")
    monkeypatch.setattr(module, "Predictor", lambda *_, **__: None)
    monkeypatch.setattr(module, "InteractiveSegmenter", lambda *_, **__: None)
    return module


def test_the_page_listens_at_this_machine_only(script, monkeypatch):
    listening = []

    def make_server(host, port, app, threaded):
        listening.append(host)
        raise OSError("taken")

    monkeypatch.setattr("werkzeug.serving.make_server", make_server)
    assert script.main(["--config-file", "sgovss_tiny.yaml"]) == 2
    assert listening == ["127.0.0.1"]


def test_the_folder_for_scenes_is_private_and_deleted(script, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen = []

    def make_server(host, port, app, threaded):
        seen.extend((path.name, path.stat().st_mode & 0o777) for path in tmp_path.iterdir())
        return Server()

    monkeypatch.setattr("werkzeug.serving.make_server", make_server)
    assert script.main(["--config-file", "sgovss_tiny.yaml"]) == 0
    assert [(name[:12], mode) for name, mode in seen] == [("sgovss-page-", 0o700)]
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_no_folder_is_left_by_a_signal(script, monkeypatch, tmp_path, number):
    class Signalled(Server):
        def serve_forever(self) -> None:
            next(tmp_path.iterdir()).joinpath("scene").write_text("x")
            os.kill(os.getpid(), number)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("werkzeug.serving.make_server", lambda *_, **__: Signalled())
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    for each in before:
        signal.signal(each, signal.SIG_DFL)  # nohup, for one, has SIGHUP ignored
    try:
        status = script.main(["--config-file", "sgovss_tiny.yaml"])
    except SystemExit as end:
        status = end.code
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert status == (0 if number == signal.SIGINT else 128 + number)
    assert list(tmp_path.iterdir()) == []


def test_requests_that_still_run_do_not_abort_the_process(script, monkeypatch, tmp_path):
    answered, statuses = threading.Event(), []

    class Busy(Server):
        def serve_forever(self) -> None:
            threading.Thread(target=answered.wait, daemon=True).start()
            raise KeyboardInterrupt

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("werkzeug.serving.make_server", lambda *_, **__: Busy())
    monkeypatch.setattr(os, "_exit", lambda status: statuses.append((status, [*tmp_path.iterdir()])))
    script.main(["--config-file", "sgovss_tiny.yaml"])
    answered.set()
    assert statuses == [(0, [])]
