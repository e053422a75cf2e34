"""The page on bad input says what the tests say."""

from importlib import import_module


def test_the_page_is_up_to_date(load_script, checkout):
    tool = import_module("research.checks.robustness_table")
    written = (checkout / "docs" / "robustness.md").read_text(encoding="utf-8")
    assert written == tool.page(), "run: python -m research.checks.robustness_table"
