"""The table of datasets says what the files say."""

from importlib import import_module


def test_the_page_is_up_to_date(load_script, checkout):
    tool = import_module("research.checks.dataset_table")
    written = (checkout / "datasets" / "README.md").read_text(encoding="utf-8")
    assert written == tool.page(), "run: python -m research.checks.dataset_table"
