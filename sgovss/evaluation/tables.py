"""Tables of scores as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from sgovss.files import atomic_path

Cell = str | int | float | None
"""A text, a count, or a number that Markdown and LaTeX show with two decimals; None if it is undefined."""

_FORMATS = {".md": "github", ".tex": "latex_booktabs"}
_UNDEFINED = "-"


def write_tables(headers: Sequence[str], rows: Sequence[Sequence[Cell]], stem: Path) -> None:
    """Write a table as ``<stem>.md``, ``<stem>.tex`` (for the package booktabs) and ``<stem>.csv``.

    The CSV file has all digits, and nothing in undefined cells.

    Args:
        headers: the heading of each column.
        rows: the cells of each row.
        stem: path of the files without their suffix.

    Raises:
        InputError: the folder cannot be written to.
    """
    for suffix, layout in _FORMATS.items():
        with atomic_path(stem.with_name(stem.name + suffix)) as partial:
            partial.write_text(format_table(headers, rows, layout) + "\n", encoding="utf-8")
    with (
        atomic_path(stem.with_name(stem.name + ".csv")) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        csv.writer(file).writerows([headers, *rows])


def format_table(headers: Sequence[str], rows: Sequence[Sequence[Cell]], layout: str) -> str:
    """Format a table as text.

    Args:
        headers: the heading of each column.
        rows: the cells of each row.
        layout: one of tabulate's, such as ``simple`` or ``github``.
    """
    cells = [[_text(cell) for cell in row] for row in (headers, *rows)]
    if layout == "github":
        cells = [[cell.replace("|", "\\|") for cell in row] for row in cells]
    numbers = [any(isinstance(row[column], int | float) for row in rows) for column in range(len(headers))]
    sides = ["right" if number else "left" for number in numbers]
    return tabulate(cells[1:], headers=cells[0], tablefmt=layout, disable_numparse=True, colalign=sides)


def _text(cell: Cell) -> str:
    if cell is None:
        return _UNDEFINED
    if isinstance(cell, str):
        return cell
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:.2f}"
