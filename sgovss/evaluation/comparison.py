"""Comparison of a run's results with published results on the same test sets. Each published result has a source."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from tabulate import tabulate

from sgovss.data.registration import dataset_metadata, how_to_get
from sgovss.errors import InputError
from sgovss.files import atomic_path, write_json_atomically
from sgovss.yaml_text import load_yaml

PUBLISHED = Path(__file__).resolve().parent.parent / "assets" / "published.yaml"
OURS = "sgovss, this run"
_SECOND_HAND = " †"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PublishedRow(_Model):
    """Published results of one method.

    Attributes:
        method: name of the method.
        backbone: its image encoder; None if the source does not name it.
        source: the paper and the table that the numbers are quoted from.
        first_hand: whether the numbers were read in the source itself; otherwise a third party quotes them.
        mean: mean mIoU in percent as the source prints it, over its own choice of test sets; None if it is not known.
        values: mIoU in percent by column heading; columns that the source does not have are left out.
    """

    method: str
    backbone: str | None
    source: str
    first_hand: bool = True
    mean: float | None = None
    values: dict[str, float] = {}

    @model_validator(mode="after")
    def _has_a_number(self) -> PublishedRow:
        if not self.values and self.mean is None:
            raise ValueError(f"{self.method}: neither values nor a mean")
        return self


class PublishedTable(_Model):
    """Published results under one protocol.

    Attributes:
        title: the protocol, with its training set.
        columns: registered name of the test set by column heading; None for a set without a dataset file.
        notes: reasons why published numbers may differ from this run's, or why there are none.
        rows: results of the methods; empty if no published table was available.
    """

    title: str
    columns: Annotated[dict[str, str | None], Field(min_length=1)]
    notes: tuple[str, ...] = ()
    rows: tuple[PublishedRow, ...] = ()

    @model_validator(mode="after")
    def _has_columns(self) -> PublishedTable:
        for row in self.rows:
            if unknown := row.values.keys() - self.columns.keys():
                raise ValueError(f"{row.method}: no column '{min(unknown)}'")
        return self

    @property
    def datasets(self) -> dict[str, str]:
        """Registered name of the test set by column heading, without sets that have no dataset file."""
        return {heading: name for heading, name in self.columns.items() if name is not None}


def published_tables() -> dict[str, PublishedTable]:
    """Read all published tables that come with sgovss; return them by name."""
    content = load_yaml(PUBLISHED.read_text(encoding="utf-8"))
    return {name: PublishedTable.model_validate(table) for name, table in content.items()}


def published_table(name: str) -> PublishedTable:
    """Return the published table of a protocol.

    Raises:
        InputError: there is no table of this name.
    """
    tables = published_tables()
    if name not in tables:
        raise InputError(f"TEST.PUBLISHED: no table '{name}'; give one of {', '.join(tables)}")
    return tables[name]


def write_comparison(name: str, evaluated: Sequence[str], folder: Path) -> None:
    """Print a published table with a row for this run, and write it as ``comparison.json`` and ``comparison.md``.

    Args:
        name: name of the published table.
        evaluated: registered names of the test sets of this run.
        folder: the run's output folder; results are read from its folder ``evaluation``.

    Raises:
        InputError: there is no table of this name.
    """
    table = published_table(name)
    results = {dataset: _result(folder / "evaluation" / f"{dataset}.json") for dataset in evaluated}
    ours = {heading: results[dataset]["mIoU"] for heading, dataset in table.datasets.items() if dataset in results}
    absent = [line for dataset in table.datasets.values() if (line := how_to_get(dataset)) is not None]
    notes = [*table.notes, *_about_this_run(results)]
    content = {
        "protocol": name,
        "title": table.title,
        "metric": "mIoU in percent",
        "columns": table.columns,
        "ours": {"mIoU": ours, "images": {data: result["images"] for data, result in results.items()}},
        "settings": {data: result["settings"] for data, result in results.items()},
        "published": [row.model_dump(mode="json") for row in table.rows],
        "notes": notes,
        "absent": absent,
    }
    write_json_atomically(folder / "comparison.json", content)
    text = markdown(table.model_copy(update={"notes": tuple(notes)}), ours, absent)
    with atomic_path(folder / "comparison.md") as partial:
        partial.write_text(text, encoding="utf-8")
    print(f"\n{text}\nAlso in {folder / 'comparison.md'} and {folder / 'comparison.json'}")


def markdown(table: PublishedTable, ours: Mapping[str, float | None] | None, absent: Sequence[str]) -> str:
    """Format a table as Markdown, with sources and notes below it.

    Args:
        table: the published results.
        ours: mIoU in percent of this run by column heading; it becomes the last row. None for no such row.
        absent: a line for each test set that was not evaluated.
    """
    sources = list(dict.fromkeys(row.source for row in table.rows))
    with_mean = any(row.mean is not None for row in table.rows)
    rows = [
        [
            f"{row.method} [{sources.index(row.source) + 1}]" + ("" if row.first_hand else _SECOND_HAND),
            row.backbone or "",
            *_cells([*map(row.values.get, table.columns), *([row.mean] if with_mean else [])]),
        ]
        for row in table.rows
    ]
    if ours is not None:
        rows.append([f"**{OURS}**", "", *_cells([*map(ours.get, table.columns), *([None] if with_mean else [])])])
    headers = ["method", "backbone", *table.columns, *(["mean of the source"] if with_mean else [])]
    body = tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
    lines = [f"## {table.title}", "", "mIoU in percent. Results of other methods are quoted from their sources.", ""]
    lines += [body, ""]
    lines += [f"[{number}] {source}  " for number, source in enumerate(sources, 1)]
    if not all(row.first_hand for row in table.rows):
        lines.append(f"{_SECOND_HAND.strip()} not read in the source itself, but in a text that quotes it  ")
    lines += [f"- {note}" for note in table.notes]
    lines += [f"- not evaluated: {line}" for line in absent]
    return "\n".join(lines) + "\n"


def _about_this_run(results: Mapping[str, dict[str, Any]]) -> list[str]:
    """Return notes on this run: its model, and each test set that was evaluated only in part."""
    settings = next(iter(results.values()))["settings"]
    weights = settings["weights"] or f"not fine-tuned, CLIP weights '{settings['clip_weights']}'"
    choices = ", ".join(f"{key} '{settings[key]}'" for key in ("templates", "activation", "dense"))
    lines = [f"this run: {settings['model']}, {weights}, {choices}"]
    for dataset, result in results.items():
        metadata = dataset_metadata(dataset)
        published = metadata.specification.splits[metadata.split].count
        if published not in (None, result["images"]):
            lines.append(f"this run: {result['images']} of the {published} published images of {dataset}")
    return lines


def _cells(values: Sequence[float | None]) -> list[str]:
    return ["" if value is None else f"{value:.2f}" for value in values]


def _result(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
