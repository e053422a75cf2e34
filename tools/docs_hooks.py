"""A hook of mkdocs: roles of Sphinx in docstrings, such as :meth:`Vocabulary.of`, become plain code."""

from __future__ import annotations

import re

_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):<code>(?:~(?:\w+\.)*)?([^<]*)</code>")


def on_page_content(html: str, **_: object) -> str:
    """Return the page without the names of roles; of a name with a tilde, only the last part is kept."""
    return _ROLE.sub(r"<code>\1</code>", html)
