"""The pages that are made from the code say what the code says."""

import pytest

from research.checks import pages


@pytest.mark.parametrize("name", pages.PAGES)
def test_the_page_is_up_to_date(name, checkout):
    written = (checkout / name).read_text(encoding="utf-8")
    assert written == pages.PAGES[name](), "run: python -m research.checks.pages"
