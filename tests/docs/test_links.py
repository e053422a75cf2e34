"""Links of the pages lead somewhere, on a forge and in the site."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sgovss.commands import SUBCOMMANDS
from tests.docs.blocks import CHECKOUT, PAGES

DOCS = CHECKOUT / "docs"
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)[^)]*\)")


def dead_links(page: Path) -> list[str]:
    """Links to files that do not exist, and links from docs/ to files that are not part of the site."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = [(link, (page.parent / link).resolve()) for link in _LINK.findall(text)]
    inside = DOCS in page.parents
    return [link for link, target in targets if not target.exists() or (inside and DOCS not in target.parents)]


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md", "SECURITY.md", "datasets/README.md"])
def test_links_of_a_page(page: str) -> None:
    assert dead_links(CHECKOUT / page) == []


@pytest.mark.parametrize("text", ["[a](no_page.md)", "![p](pictures/no.png)", "[a](../setup.py)", "[a](no.md#part)"])
def test_dead_links_are_found(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.docs.test_links.DOCS", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(f"[other](page.md#x), [web](https://example.org)\n\n{text}\n\n```sh\n[x](y)\n```\n")
    assert len(dead_links(page)) == 1


def test_readme_is_short() -> None:
    assert len((CHECKOUT / "README.md").read_text(encoding="utf-8").splitlines()) <= 180


def test_get_started_names_every_subcommand() -> None:
    text = (CHECKOUT / "docs" / "get_started.md").read_text(encoding="utf-8")
    listed = re.search(r"`sgovss` has the subcommands (.+?)\. ", text, re.DOTALL)
    assert listed and re.findall(r"`([\w-]+)`", listed[1]) == [*SUBCOMMANDS]
