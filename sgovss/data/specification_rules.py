"""Checks across the fields of a dataset specification."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any

from sgovss.data.specification_fields import MAX_VALUE, DatasetFields, GeneratorSpecification, PreparationSpecification
from sgovss.errors import InputError
from sgovss.synthetic.seeds import overlapping_splits

Location = tuple[str | int, ...]


def problems(spec: DatasetFields) -> Iterator[tuple[Location, str]]:
    """Find contradictions between fields. Yields the path of the wrong key and a one-line message for each."""
    for index, entry in enumerate(spec.classes):
        if entry.id is not None and entry.id != index:
            yield (
                ("classes", index, "id"),
                f"id {entry.id} of '{entry.name}' should be {index}, its position in the list",
            )
        if "|" in entry.name:
            yield ("classes", index, "name"), f"'{entry.name}': give the other names in 'synonyms'"
    try:
        _ = spec.vocabulary
    except InputError as error:
        yield ("classes",), str(error)
    if spec.folder is not None and _leads_out(spec.folder):
        yield ("folder",), f"'{spec.folder}' must lie below the root; give the path of the root in 'root'"
    yield from _repeated("value", spec.values, spec, "value", ("ignore", "values"), spec.ignore.values)
    yield from _repeated("colour", spec.mask_colors, spec, "color", ("ignore", "colors"), spec.ignore.colors)
    for name, split in spec.splits.items():
        if len(split.images) != len(split.labels):
            yield ("splits", name, "labels"), "give as many label folders as image folders"
        if unknown := set(split.includes) - set(spec.splits):
            yield ("splits", name, "includes"), f"no split '{min(unknown)}'; there are {', '.join(spec.splits)}"
        if set(split.images) & set(split.labels) and split.image_suffix == split.label_suffix:
            yield ("splits", name), "images and labels are the same files; give them different folders or suffixes"
    if spec.preparation is not None:
        yield from _preparation_problems(spec, spec.preparation)
    if spec.generator is not None:
        yield from _generator_problems(spec, spec.generator)


def _leads_out(folder: str) -> bool:
    return PurePath(folder).is_absolute() or ".." in PurePath(folder).parts


def _repeated(
    what: str,
    of_classes: tuple[tuple[Any, ...], ...],
    spec: DatasetFields,
    key: str,
    ignore_path: Location,
    ignored: Iterable[Any],
) -> Iterator[tuple[Location, str]]:
    """Find values or colours that are used twice: by two classes, or by a class and 'ignore'."""
    owner: dict[Any, str] = {}
    uses: list[tuple[Location, str, Any]] = []
    uses += [(("classes", i, key), spec.classes[i].name, item) for i, items in enumerate(of_classes) for item in items]
    uses += [((*ignore_path, i), "ignore", item) for i, item in enumerate(ignored)]
    for path, name, item in uses:
        if item in owner:
            shown = list(item) if isinstance(item, tuple) else item
            yield path, f"{what} {shown} is used twice, for '{owner[item]}' and '{name}'"
        owner[item] = name


def _preparation_problems(spec: DatasetFields, preparation: PreparationSpecification) -> Iterator[tuple[Location, str]]:
    """Check tiles and target folders, and that no two classes have the same colour or raw value in the labels."""
    if (preparation.tile is None) != (preparation.stride is None):
        yield ("preparation",), "give both tile and stride, or neither"
    elif preparation.tile is not None and preparation.stride is not None and preparation.stride > preparation.tile:
        yield ("preparation", "stride"), f"stride {preparation.stride} leaves gaps between tiles of {preparation.tile}"
    for name in preparation.splits:
        if name not in spec.splits:
            yield ("preparation", "splits", name), f"no such split; there are {', '.join(spec.splits)}"
        elif len(spec.splits[name].images) > 1:
            yield ("splits", name, "images"), "a prepared split has one folder of images and one of labels"
        else:
            for key, (folder,) in (("images", spec.splits[name].images), ("labels", spec.splits[name].labels)):
                if _leads_out(folder):
                    yield (
                        ("splits", name, key),
                        f"'{folder}' must lie below the dataset's folder, because files are written there",
                    )
    by_color = preparation.labels in ("colors", "pure_colors")
    if not by_color:
        ignored = ("ignore", "raw_values"), spec.raw_ignored
        yield from _repeated("raw value", spec.raw_values, spec, "raw_value", *ignored)
    if preparation.labels == "threshold" and sorted(sum(spec.raw_values, ())) != [0, 1]:
        yield (
            ("preparation", "labels"),
            "labels of form 'threshold' have the raw values 0 and 1; each must belong to one class",
        )
    for index, (first, *_) in enumerate(spec.values):
        if not 0 <= first <= MAX_VALUE:
            yield (
                ("classes", index, "value"),
                f"prepared labels hold 0 to {MAX_VALUE}, not {first}; give it as raw_value",
            )
    if (spec.raw_ignored or spec.ignore.colors) and not any(0 <= value <= MAX_VALUE for value in spec.ignore.values):
        yield ("ignore", "values"), "give the value, such as 255, of ignored pixels in prepared labels"
    if by_color and not all(spec.mask_colors):
        index = spec.mask_colors.index(())
        yield ("classes", index), f"'{spec.classes[index].name}' needs a color or mask_colors to be read from masks"


def _generator_problems(spec: DatasetFields, generator: GeneratorSpecification) -> Iterator[tuple[Location, str]]:
    """Check that the generator fills exactly the splits, and that no two splits share a seed."""
    if set(generator.splits) != set(spec.splits):
        yield ("generator", "splits"), f"these must be the dataset's splits: {', '.join(spec.splits)}"
    for other, name, shared in overlapping_splits(generator.splits):
        yield ("generator", "splits", name), f"seed {shared} is also used by '{other}'"
