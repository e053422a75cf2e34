"""What an ablation shows: the cell chosen for each row, tables of mean and spread, curves over steps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from tabulate import tabulate

from research.ablation.protocol import Protocol, Task

Record = Mapping[str, Any]

_MARKED = re.compile(r"(?P<start><!-- table: (?P<name>.+?) -->\n).*?(?=<!-- end -->)", re.DOTALL)


def score(record: Record, step: int | str, column: str) -> Any:
    """A ``<dataset>/<metric>`` of a record at a budget, in per cent; None where it is not known."""
    dataset, _, metric = column.partition("/")
    return record.get("scores", {}).get(str(step), {}).get(dataset, {}).get(metric)


def chosen(record: Record, task: Task, step: int | str) -> float:
    """What a checkpoint is chosen by: the mean of the task's ``choose`` columns; -1 where one is not known."""
    values = [score(record, step, column) for column in task.choose]
    return -1.0 if any(value is None for value in values) else mean(values)


def best_step(record: Record, task: Task) -> str:
    """The budget whose checkpoint is best by validation."""
    return max(record["scores"], key=lambda step: chosen(record, task, step))


def best_cell(records: Sequence[Record], task: Task, longest: int) -> dict[str, str] | None:
    """The settings whose best checkpoint within ``longest`` steps is best by validation; None without a record."""
    rated = [
        (max(chosen(record, task, step) for step in record["scores"] if int(step) <= longest), record["cell"])
        for record in records
        if any(int(step) <= longest for step in record.get("scores", {}))
    ]
    return max(rated, key=lambda pair: pair[0])[1] if rated else None


def tables(protocol: Protocol, task: str, final: Mapping[str, Sequence[Record]], brief: bool) -> dict[str, str]:
    """The Markdown tables of a task by name: ``<task>``, and ``<task> aside`` where something is scored beside it.

    Args:
        final: the records of each row at its chosen cell, one a seed.
        brief: the rows without a curve have their longest budget and their best checkpoint only.
    """
    found = {task: _table(protocol, task, final, brief, aside=False)}
    if protocol.tasks[task].aside:
        found[f"{task} aside"] = _table(protocol, task, final, brief, aside=True)
    return found


def refresh_tables(page: str, current: Mapping[str, str]) -> str:
    """A page whose ``<!-- table: NAME -->`` to ``<!-- end -->`` hold the current tables; names without one stay."""

    def refreshed(match: re.Match[str]) -> str:
        name = match["name"]
        return f"{match['start']}\n{current[name]}\n\n" if name in current else match[0]

    return _MARKED.sub(refreshed, page)


def _table(protocol: Protocol, task: str, final: Mapping[str, Sequence[Record]], brief: bool, aside: bool) -> str:
    """A line for every row and budget, and one for the row's best validation checkpoint.

    ``aside``: the columns scored beside the table instead of the table's own, with their intervals over images.
    """
    spec = protocol.tasks[task]
    columns = spec.aside if aside else spec.report
    lines = []
    for row, records in final.items():
        if not records:
            continue
        title = protocol.rows[row].title
        settings = ", ".join(f"{axis} {value}" for axis, value in records[0]["cell"].items())
        steps = sorted({int(step) for record in records for step in record["scores"]})
        for step in steps[-1:] if brief and row not in protocol.curve_rows else steps:
            known = [record for record in records if str(step) in record["scores"]]
            lines.append(
                [title, settings, str(step), len(known), *_cells([(each, step) for each in known], spec, aside)]
            )
        if len(steps) > 1:
            best = [(record, best_step(record, spec)) for record in records]
            lines.append([title, settings, "best on validation", len(records), *_cells(best, spec, aside)])
    headers = ["row", "settings", "steps", "seeds", *columns]
    return tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True)


def curves(
    protocol: Protocol, task: str, final: Mapping[str, Sequence[Record]], rows: Sequence[str], column: str
) -> dict[str, dict[int, list[float]]]:
    """The seeds' values of a column at every budget, for some rows; budget 0 is the model before training."""
    untrained = [record for row in final for record in final[row] if not protocol.rows[row].trained]
    start = {0: _known([score(record, 0, column) for record in untrained])} if untrained else {}
    series = {}
    for row in rows:
        records = final.get(row, ())
        steps = sorted({int(step) for record in records for step in record["scores"]})
        points = {step: _known([score(record, step, column) for record in records]) for step in steps}
        series[protocol.rows[row].title] = {**start, **points}
    return series


def _cells(checkpoints: Sequence[tuple[Record, int | str]], task: Task, aside: bool) -> list[str]:
    """A line's columns, each over the checkpoints of all seeds."""
    columns = (task.aside if aside else task.report).values()
    cells = [_spread([score(record, step, column) for record, step in checkpoints]) for column in columns]
    if not aside:
        return cells
    return [f"{cell}{_interval(checkpoints, column)}" for cell, column in zip(cells, columns, strict=True)]


def _interval(checkpoints: Sequence[tuple[Record, int | str]], column: str) -> str:
    """The interval of mIoU over a test set's images, its ends averaged over seeds; empty where it is not known."""
    found = [score(record, step, f"{column.partition('/')[0]}/interval") for record, step in checkpoints]
    if not found or not all(found):
        return ""
    low, high = (mean(ends) for ends in zip(*found, strict=True))
    return f" [{low:.1f}, {high:.1f}]"


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _spread(values: Sequence[float | None]) -> str:
    known = _known(values)
    if not known:
        return "-"
    return f"{mean(known):.1f} ± {stdev(known):.1f}" if len(known) > 1 else f"{known[0]:.1f}"
