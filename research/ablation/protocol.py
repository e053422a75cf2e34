"""Protocols: a YAML file with the variants to compare, their data and training budgets, fixed before the first run."""

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
    """Datasets to train and evaluate on.

    Attributes:
        title: title in tables.
        config: config file of train_net.py.
        options: config options that override the config file.
        choose: settings and checkpoints are chosen by the mean of these ``<dataset>/<metric>``.
        report: columns of the table: heading -> ``<dataset>/<metric>``.
        aside: columns of a second table, in the same form. They are never used to choose settings or checkpoints.
    """

    title: str
    config: str
    options: Options = {}
    choose: Annotated[tuple[str, ...], Field(min_length=1)]
    report: Annotated[dict[str, str], Field(min_length=1)]
    aside: dict[str, str] = {}

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of all datasets to evaluate on."""
        columns = (*self.choose, *self.report.values(), *self.aside.values())
        return tuple(dict.fromkeys(column.partition("/")[0] for column in columns))

    @property
    def shown(self) -> str:
        """Name of the dataset whose images are shown in overlays."""
        return next(iter(self.report.values())).partition("/")[0]


class Variant(_Model):
    """One variant of the method.

    Attributes:
        title: title in tables.
        options: config options; ``{axis}`` is replaced by a value of that axis of the grid.
        trained: false for the model before training.
        interpolates: name of a variant. Its checkpoints are used, with the image encoder interpolated between the
            frozen and the tuned weights.
        weights_of: name of a variant. Its checkpoints and options are used.
        ratios: with ``interpolates``, the ratios of the interpolation (1 is the tuned encoder); with ``weights_of``,
            values of ``{ratio}`` in the options.
    """

    title: str
    options: Options = {}
    trained: bool = True
    interpolates: str | None = None
    weights_of: str | None = None
    ratios: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()

    @property
    def source(self) -> str | None:
        """The variant whose checkpoints are used; None if this variant is trained itself."""
        return self.interpolates or self.weights_of


class Protocol(_Model):
    """A set of tasks and variants with training budgets and seeds.

    Attributes:
        frozen_at: commit at which synthetic images, splits, embedded model and vocabularies were fixed.
        steps: training budgets in steps. One run is evaluated at each of them. This is equivalent to several runs,
            because the learning rate is constant after the warm-up.
        seeds: seeds of the final runs; screening uses the first.
        screening_steps: longest budget of screening, which tries all settings of the grid.
        grid: values of each axis that the options may contain.
        options: config options of every run.
        curves: variants whose curves are drawn, and whose budgets are all listed in brief tables; empty for all.
    """

    frozen_at: str
    steps: Annotated[tuple[Steps, ...], Field(min_length=1)]
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    screening_steps: Steps
    grid: dict[str, tuple[str, ...]] = {}
    options: Options = {}
    tasks: Annotated[dict[str, Task], Field(min_length=1)]
    variants: Annotated[dict[str, Variant], Field(min_length=1)]
    curves: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_consistent(self) -> Protocol:
        for name, variant in self.variants.items():
            if variant.interpolates is not None and variant.weights_of is not None:
                raise ValueError(f"variants.{name}: give interpolates or weights_of, not both")
            if variant.source is not None and variant.source not in self.variants:
                key = "weights_of" if variant.interpolates is None else "interpolates"
                raise ValueError(f"variants.{name}.{key}: there is no variant '{variant.source}'")
            if (variant.source is None) != (not variant.ratios):
                raise ValueError(f"variants.{name}: interpolates or weights_of and ratios go together")
            if unknown := _axes(variant.options) - self.grid.keys() - ({"ratio"} if variant.ratios else set()):
                raise ValueError(f"variants.{name}.options: the grid has no axis '{min(unknown)}'")
        if absent := [name for name in self.curves if name not in self.variants]:
            raise ValueError(f"curves: there is no variant '{absent[0]}'")
        if unknown := _axes(self.options) - self.grid.keys():
            raise ValueError(f"options: the grid has no axis '{min(unknown)}'")
        return self

    @property
    def curve_variants(self) -> tuple[str, ...]:
        """The variants that are shown in curves."""
        return self.curves or tuple(self.variants)

    def grid_settings(self, variant: str) -> list[dict[str, str]]:
        """List the settings of a variant: all combinations of the axes in its options and in the protocol's options."""
        spec = self.variants[variant]
        if spec.source is not None:
            own = self.grid_settings(spec.source)
            return [{**settings, "ratio": str(ratio)} for settings in own for ratio in spec.ratios]
        axes = sorted(_axes({**self.options, **spec.options})) if spec.trained else []
        return [
            dict(zip(axes, values, strict=True)) for values in itertools.product(*(self.grid[axis] for axis in axes))
        ]

    def run_options(self, task: str, variant: str, settings: Mapping[str, str]) -> Options:
        """Return the config options of one run: those of the protocol, overridden by the task's and the variant's."""
        spec = self.variants[variant]
        source = self.variants[spec.source].options if spec.source else {}
        options = {**self.options, **self.tasks[task].options, **source, **spec.options}
        known = {key: value for key, value in options.items() if not _axes({key: value}) - settings.keys()}
        return {key: value.format(**settings) for key, value in known.items()}


def load_protocol(path: Path) -> Protocol:
    """Read a protocol.

    Raises:
        InputError: the file is missing or not YAML, or a key is wrong.
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
    """Return the names in braces in the values of options."""
    return {field for value in options.values() for _, field, _, _ in string.Formatter().parse(value) if field}
