"""What is compared, on which data, at which budgets: a protocol is one YAML file, fixed before its first run."""

from __future__ import annotations

import itertools
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sgovss.errors import InputError

Options = dict[str, str]
Steps = Annotated[int, Field(strict=True, ge=1)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class Task(_Model):
    """Data to train and score on.

    Attributes:
        title: for tables.
        config: config file of train_net.py.
        options: config keys on top of it.
        choose: what picks a row's settings and checkpoint: means of these ``<dataset>/<metric>``.
        report: columns of the table: heading -> ``<dataset>/<metric>``.
        aside: scored beside the table and never used to decide.
    """

    title: str
    config: str
    options: Options = {}
    choose: Annotated[tuple[str, ...], Field(min_length=1)]
    report: Annotated[dict[str, str], Field(min_length=1)]
    aside: dict[str, str] = {}

    @property
    def datasets(self) -> tuple[str, ...]:
        """All sets to score, each once."""
        columns = (*self.choose, *self.report.values(), *self.aside.values())
        return tuple(dict.fromkeys(column.partition("/")[0] for column in columns))

    @property
    def shown(self) -> str:
        """The set whose images stand for the task in pictures."""
        return next(iter(self.report.values())).partition("/")[0]


class Row(_Model):
    """One variant of the method.

    Attributes:
        title: for tables.
        options: config keys; ``{axis}`` stands for a value of the grid's axis of that name.
        trained: false for the model as it is before any training.
        tower_of: take this row's checkpoints and interpolate their image encoder with the frozen one, ...
        weights_of: or take this row's checkpoints as they are, and its options, ...
        shares: ... at each of these shares of the tuned one; ``{share}`` in the options.
    """

    title: str
    options: Options = {}
    trained: bool = True
    tower_of: str | None = None
    weights_of: str | None = None
    shares: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()

    @property
    def source(self) -> str | None:
        """The row whose checkpoints this one takes, if it trains none of its own."""
        return self.tower_of or self.weights_of


class Protocol(_Model):
    """Tasks by rows by budgets by seeds.

    Attributes:
        frozen_at: the commit at which generator, splits, embedded model and word lists were fixed.
        steps: budgets; one run is scored at each, as the learning rate stays constant after its warm-up.
        seeds: of the final rows; screening takes the first.
        screening_steps: the longest budget of screening, in which every cell of the grid is tried.
        grid: values of each axis that rows' options may mention.
        options: config keys of every run.
        curves: the rows that pictures of curves show, and a page with every budget; empty for all.
    """

    frozen_at: str
    steps: Annotated[tuple[Steps, ...], Field(min_length=1)]
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    screening_steps: Steps
    grid: dict[str, tuple[str, ...]] = {}
    options: Options = {}
    tasks: Annotated[dict[str, Task], Field(min_length=1)]
    rows: Annotated[dict[str, Row], Field(min_length=1)]
    curves: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_consistent(self) -> Protocol:
        for name, row in self.rows.items():
            if row.tower_of is not None and row.weights_of is not None:
                raise ValueError(f"rows.{name}: give tower_of or weights_of, not both")
            if row.source is not None and row.source not in self.rows:
                key = "weights_of" if row.tower_of is None else "tower_of"
                raise ValueError(f"rows.{name}.{key}: there is no row '{row.source}'")
            if (row.source is None) != (not row.shares):
                raise ValueError(f"rows.{name}: tower_of or weights_of and shares go together")
            if unknown := _axes(row.options) - self.grid.keys() - ({"share"} if row.shares else set()):
                raise ValueError(f"rows.{name}.options: the grid has no axis '{min(unknown)}'")
        if absent := [name for name in self.curves if name not in self.rows]:
            raise ValueError(f"curves: there is no row '{absent[0]}'")
        if unknown := _axes(self.options) - self.grid.keys():
            raise ValueError(f"options: the grid has no axis '{min(unknown)}'")
        return self

    @property
    def curve_rows(self) -> tuple[str, ...]:
        """The rows that are shown over steps."""
        return self.curves or tuple(self.rows)

    def cells(self, row: str) -> list[dict[str, str]]:
        """The settings of a row: every combination of the axes that its options, or every run's, mention."""
        spec = self.rows[row]
        if spec.source is not None:
            return [{**cell, "share": str(share)} for cell in self.cells(spec.source) for share in spec.shares]
        axes = sorted(_axes({**self.options, **spec.options})) if spec.trained else []
        return [
            dict(zip(axes, values, strict=True)) for values in itertools.product(*(self.grid[axis] for axis in axes))
        ]

    def run_options(self, task: str, row: str, cell: Mapping[str, str]) -> Options:
        """All config keys of one run, the row's last."""
        spec = self.rows[row]
        source = self.rows[spec.source].options if spec.source else {}
        options = {**self.options, **self.tasks[task].options, **source, **spec.options}
        return {key: value.format(**cell) for key, value in options.items() if not _axes({key: value}) - cell.keys()}


def load_protocol(path: Path) -> Protocol:
    """Read a protocol.

    Raises:
        InputError: no such file, not YAML, or a key that is wrong; says which.
    """
    try:
        return Protocol.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot read this protocol ({' '.join(str(error).split())})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {where + ': ' if where else ''}{first['msg']}") from error


def _axes(options: Mapping[str, str]) -> set[str]:
    return {field for value in options.values() for _, field, _, _ in string.Formatter().parse(value) if field}
