"""The site that ``make docs`` builds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.blocks import CHECKOUT

_LOADED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?([^\"' >]+)|<link\b([^>]+)>|url\(([^)]+)\)")


def loaded(html: str) -> list[str]:
    """What a browser loads to show a page, that is on another server."""
    found = []
    for source, link, style in _LOADED.findall(html):
        if link and not re.search(r"rel=[\"']?(stylesheet|icon|preload|preconnect|dns-prefetch)", link):
            continue
        found.append(source or link or style)
    return [item for item in found if re.search(r"(^|href=)[\"']?(https?:)?//", item)]


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example.org/a.js"></script>',
        "<img alt=x src=//example.org/a.png>",
        '<link rel="preconnect" href="https://fonts.gstatic.com" crossorigin>',
        "<style>a{background:url(https://example.org/a.svg)}</style>",
    ],
)
def test_what_comes_from_elsewhere_is_found(html: str) -> None:
    assert len(loaded(html)) == 1
    assert loaded('<a href="https://example.org">x</a><img src="a.png"><link rel="stylesheet" href="b.css">') == []
    inside = "<style>a{background:url('data:image/svg+xml,<svg xmlns=\"http://www.w3.org/2000/svg\"/>')}</style>"
    assert loaded(inside) == []


@pytest.mark.parametrize(
    ("role", "shown"),
    [
        (":meth:<code>Vocabulary.of</code>", "<code>Vocabulary.of</code>"),
        (":class:<code>~sgovss.synthetic.canvas.Canvas</code>", "<code>Canvas</code>"),
        ("a:<code>b</code>", "a:<code>b</code>"),
    ],
)
def test_roles_are_shown_as_code(load_script: Callable[[str], ModuleType], role: str, shown: str) -> None:
    assert load_script("tools/docs_hooks.py").on_page_content(role, page=None) == shown


@pytest.mark.slow
def test_site_is_complete_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path]
    variables = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=CHECKOUT, env=variables, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    pages = {page.stem for page in tmp_path.rglob("*.html")}
    assert {page.stem for page in (CHECKOUT / "docs").rglob("*.md")} <= pages
    for page in [*tmp_path.rglob("*.html"), *tmp_path.rglob("*.css")]:
        assert loaded(page.read_text(encoding="utf-8")) == [], page
        assert not re.search(r":(class|func|meth):<code>", page.read_text(encoding="utf-8")), page
    assert "save_pretrained" in (tmp_path / "api.html").read_text(encoding="utf-8")
