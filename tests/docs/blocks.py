"""The code blocks of README, CONTRIBUTING and the pages in docs/.

A comment in front of a block says that it is not run, and why::

    <!-- block: parse: needs eight GPUs -->      only its syntax and its options are checked
    <!-- block: skip: installs a program -->     nothing is checked
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{page.name}" for page in (CHECKOUT / "docs").glob("*.md")))

SKIPPED = {"docs/robustness.md": "installs pip-audit, which needs a network connection"}
"""Pages that are written by a command, so that their blocks have no comments."""

_BLOCK = re.compile(
    r"(?:<!-- block: (?P<mark>\w+): [^>]+ -->\s*\n)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: path of the page in the checkout.
        line: number of the line of its fence.
        language: word after the fence; empty for pictures in text.
        text: content without the indentation of the fence.
        mark: ``run`` by default, else ``parse`` or ``skip``.
    """

    page: str
    line: int
    language: str
    text: str
    mark: str = "run"

    @property
    def name(self) -> str:
        """Page and line."""
        return f"{self.page}:{self.line}"


def blocks_of(page: str, text: str) -> list[Block]:
    """All blocks of a page in their order."""
    found = []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("indent")) + 1
        content = "".join(row.removeprefix(match["indent"]) for row in match["text"].splitlines(keepends=True))
        mark = "skip" if page in SKIPPED else match["mark"] or "run"
        found.append(Block(page, line, match["language"], content, mark))
    return found


def blocks(*languages: str, pages: tuple[str, ...] = PAGES) -> list[Block]:
    """The blocks of these languages in all pages, without those that are skipped."""
    every = [block for page in pages for block in blocks_of(page, (CHECKOUT / page).read_text(encoding="utf-8"))]
    return [block for block in every if block.language in languages and block.mark != "skip"]
