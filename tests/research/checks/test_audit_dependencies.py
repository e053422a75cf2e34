"""The audit of installed packages with substitutes for the pages of PyPI."""

from __future__ import annotations

import io
import json
import urllib.error
from importlib import import_module

import pytest

PAGES = {
    "sound": {"info": {"version": "2.0"}, "vulnerabilities": []},
    "weak": {
        "info": {"version": "1.5"},
        "vulnerabilities": [{"id": "PYSEC-1"}, {"id": "PYSEC-2", "withdrawn": "2026-01-01"}],
    },
}


@pytest.fixture
def tool(monkeypatch):
    tool = import_module("research.checks.audit_dependencies")

    def page(url, timeout):
        name = url.split("/")[-2]
        if name not in PAGES:
            raise urllib.error.HTTPError(url, 404, "no such page", None, None)
        return io.BytesIO(json.dumps(PAGES[name]).encode())

    monkeypatch.setattr(tool.urllib.request, "urlopen", page)
    return tool


def run(tool, monkeypatch, capsys, packages):
    monkeypatch.setattr(tool, "installed", lambda: packages)
    return tool.main([]), capsys.readouterr().out.splitlines()


def test_a_vulnerability_of_the_newest_version_is_named(tool, monkeypatch, capsys):
    status, lines = run(tool, monkeypatch, capsys, [("sound", "2.0"), ("weak", "1.5")])
    assert status == 1
    assert lines == ["2 packages, 2 audited, 1 with vulnerabilities", "vulnerable: weak 1.5: PYSEC-1"]


def test_what_nothing_is_known_of_is_not_called_sound(tool, monkeypatch, capsys):
    status, lines = run(tool, monkeypatch, capsys, [("sound", "1.9"), ("own", "1.0")])
    assert status == 0
    assert lines[0] == "2 packages, 0 audited, 0 with vulnerabilities"
    assert lines[1:] == ["not audited: sound 1.9 (newest is 2.0)", "not audited: own 1.0 (HTTP 404)"]


def test_the_installed_packages_are_found(tool):
    names = [name for name, _ in tool.installed()]
    assert "torch" in names and "sgovss" not in names
