"""Results of an ablation: chosen settings, tables of mean and standard deviation, curves over steps."""

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
    """Return one ``<dataset>/<metric>`` of a record at a budget, in percent; None if the record does not have it."""
    dataset, _, metric = column.partition("/")
    return record.get("scores", {}).get(str(step), {}).get(dataset, {}).get(metric)


def chosen(record: Record, task: Task, step: int | str) -> float:
    """Return the validation score of a checkpoint: the mean of the task's ``choose`` columns; -1 if one is missing."""
    values = [score(record, step, column) for column in task.choose]
    return -1.0 if any(value is None for value in values) else mean(values)


def best_step(record: Record, task: Task) -> str:
    """Return the budget (steps, as text) with the best validation score."""
    return max(record["scores"], key=lambda step: chosen(record, task, step))


def best_settings(records: Sequence[Record], task: Task, longest: int) -> dict[str, str] | None:
    """Return the settings with the best validation score of a checkpoint up to ``longest`` steps; None without one."""
    rated = [
        (max(chosen(record, task, step) for step in record["scores"] if int(step) <= longest), record["settings"])
        for record in records
        if any(int(step) <= longest for step in record.get("scores", {}))
    ]
    return max(rated, key=lambda pair: pair[0])[1] if rated else None


def tables(protocol: Protocol, task: str, final: Mapping[str, Sequence[Record]], brief: bool) -> dict[str, str]:
    """Make the Markdown tables of a task.

    Args:
        protocol: the protocol of the task.
        task: name of the task.
        final: the records of each variant with its chosen settings, one per seed.
        brief: show only the longest budget and the best checkpoint of variants without a curve.

    Returns:
        the tables by name: ``<task>``, and ``<task> aside`` if the task has ``aside`` columns.
    """
    found = {task: _table(protocol, task, final, brief, aside=False)}
    if protocol.tasks[task].aside:
        found[f"{task} aside"] = _table(protocol, task, final, brief, aside=True)
    return found


def refresh_tables(page: str, current: Mapping[str, str]) -> str:
    """Replace the tables between ``<!-- table: NAME -->`` and ``<!-- end -->`` in a page; unknown names are kept."""

    def refreshed(match: re.Match[str]) -> str:
        name = match["name"]
        return f"{match['start']}\n{current[name]}\n\n" if name in current else match[0]

    return _MARKED.sub(refreshed, page)


def _table(protocol: Protocol, task: str, final: Mapping[str, Sequence[Record]], brief: bool, aside: bool) -> str:
    """Make a table with a line for every variant and budget, and one for the best checkpoint of each variant.

    With ``aside``, the columns are the task's ``aside`` columns, with their intervals over images.
    """
    spec = protocol.tasks[task]
    columns = spec.aside if aside else spec.report
    lines = []
    for variant, records in final.items():
        if not records:
            continue
        title = protocol.variants[variant].title
        settings = ", ".join(f"{axis} {value}" for axis, value in records[0]["settings"].items())
        steps = sorted({int(step) for record in records for step in record["scores"]})
        for step in steps[-1:] if brief and variant not in protocol.curve_variants else steps:
            known = [record for record in records if str(step) in record["scores"]]
            lines.append(
                [title, settings, str(step), len(known), *_entries([(each, step) for each in known], spec, aside)]
            )
        if len(steps) > 1:
            best = [(record, best_step(record, spec)) for record in records]
            lines.append([title, settings, "best on validation", len(records), *_entries(best, spec, aside)])
    headers = ["variant", "settings", "steps", "seeds", *columns]
    return tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True)


def curves(
    protocol: Protocol, task: str, final: Mapping[str, Sequence[Record]], variants: Sequence[str], column: str
) -> dict[str, dict[int, list[float]]]:
    """Collect a column for curves.

    Returns:
        title of the variant -> budget -> values of all seeds; budget 0 is the model before training.
    """
    untrained = [record for name in final for record in final[name] if not protocol.variants[name].trained]
    start = {0: _known([score(record, 0, column) for record in untrained])} if untrained else {}
    series = {}
    for variant in variants:
        records = final.get(variant, ())
        steps = sorted({int(step) for record in records for step in record["scores"]})
        points = {step: _known([score(record, step, column) for record in records]) for step in steps}
        series[protocol.variants[variant].title] = {**start, **points}
    return series


def _entries(checkpoints: Sequence[tuple[Record, int | str]], task: Task, aside: bool) -> list[str]:
    """Format the columns of a line: mean and standard deviation over the checkpoints of all seeds."""
    columns = (task.aside if aside else task.report).values()
    entries = [_spread([score(record, step, column) for record, step in checkpoints]) for column in columns]
    if not aside:
        return entries
    return [f"{entry}{_interval(checkpoints, column)}" for entry, column in zip(entries, columns, strict=True)]


def _interval(checkpoints: Sequence[tuple[Record, int | str]], column: str) -> str:
    """Format the interval of mIoU over a dataset's images, averaged over seeds; empty if a record does not have it."""
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
