"""Tables of scores in three formats."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from sgovss.evaluation.tables import format_table, write_tables

HEADERS = ["class", "IoU", "pixels"]
ROWS = [["road & path_1", 12.345678, 1234567], ["a|b", None, 0], ["50 % tree", 100.0, 7]]


@pytest.fixture
def written(tmp_path: Path) -> dict[str, str]:
    write_tables(HEADERS, ROWS, tmp_path / "folder" / "classes.of.it")
    return {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "folder").iterdir()}


def test_three_files(written):
    assert sorted(written) == ["classes.of.it.csv", "classes.of.it.md", "classes.of.it.tex"]


def test_markdown_shows_two_decimals_and_keeps_its_columns(written):
    lines = written["classes.of.it.md"].splitlines()
    assert [line.replace("\\|", "").count("|") for line in lines] == [4] * 5
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == ["road & path_1", "12.35", "1,234,567"]
    assert "a\\|b" in lines[3] and " - |" in lines[3]


def test_latex_escapes_what_latex_would_read_as_a_command(written):
    text = written["classes.of.it.tex"]
    assert r"road \& path\_1" in text and r"50 \% tree" in text
    assert r"\toprule" in text and text.count(r"\\") == 4


def test_csv_has_all_digits_and_empty_cells(written):
    rows = list(csv.DictReader(written["classes.of.it.csv"].splitlines()))
    assert rows[0] == {"class": "road & path_1", "IoU": "12.345678", "pixels": "1234567"}
    assert rows[1] == {"class": "a|b", "IoU": "", "pixels": "0"}


def test_a_table_without_rows():
    assert format_table(HEADERS, [], "simple").split()[:3] == HEADERS
