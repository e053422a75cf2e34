"""Variants: datasets that read another dataset's prepared files with other classes.

A variant is resolved to a full :class:`DatasetSpecification` when its file is read. Its labels are those of the base;
only the meaning of their values differs, so nothing is prepared twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from sgovss.data.specification import DatasetSpecification
from sgovss.data.specification_fields import ClassName, Model, Name, Names, Rgb
from sgovss.data.specification_rules import Location

ClassNames = Annotated[tuple[ClassName, ...], Field(min_length=1)]


def _as_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class NewName(Model):
    """Another name for a class of the base.

    Attributes:
        name: the new class name.
        synonyms: the new synonyms; None keeps those of the base.
    """

    name: ClassName
    synonyms: tuple[str, ...] | None = None


class IgnoredClass(Model):
    """A class made of the pixels that the base ignores."""

    name: ClassName
    synonyms: tuple[str, ...] = ()
    color: Rgb | None = None


class VariantSpecification(Model):
    """The content of a variant's file. All other properties are those of the base.

    Attributes:
        name, title, notes: as in a dataset file.
        variant_of: name of the base, which is a dataset file in the variant's folder, or a dataset of sgovss.
        references: sources of the statements in this file, in addition to those of the base.
        ignored_as: a class for the pixels that the base ignores; it becomes the first class of the variant.
        ignore: classes of the base whose pixels are ignored.
        merge: name of a new class -> the classes of the base that it consists of. The new class has the position and
            the colour of the first of them, and the synonyms of all of them.
        rename: name of a class of the base -> its new name.
        splits: the splits of the base to take; default: all.
    """

    name: Name
    variant_of: Name
    title: str | None = None
    references: tuple[str, ...] = ()
    notes: str | None = None
    ignored_as: IgnoredClass | None = None
    ignore: ClassNames | None = None
    merge: dict[ClassName, ClassNames] = Field(default_factory=dict)
    rename: dict[ClassName, Annotated[NewName, BeforeValidator(_as_name)]] = Field(default_factory=dict)
    splits: Names | None = None


def variant_problems(variant: VariantSpecification, base: DatasetSpecification) -> Iterator[tuple[Location, str]]:
    """Find keys of a variant that do not fit its base. Yields the path of each key and a one-line message."""
    names = [entry.name for entry in base.classes]
    used: dict[str, Location] = {}
    mentions: list[tuple[Location, str]] = [(("ignore", i), name) for i, name in enumerate(variant.ignore or ())]
    for merged, parts in variant.merge.items():
        mentions += [(("merge", merged, i), name) for i, name in enumerate(parts)]
    mentions += [(("rename", name), name) for name in variant.rename]
    for path, name in mentions:
        if name not in names:
            yield path, f"'{name}' is not a class of {base.name}; its classes are {', '.join(names)}"
        elif name in used:
            yield path, f"class '{name}' is also in '{used[name][0]}'; keep one"
        used[name] = path
    if set(variant.ignore or ()) >= set(names) and variant.ignored_as is None:
        yield ("ignore",), "no class is left; ignore fewer"
    dropped = {*(variant.ignore or ()), *variant.rename, *(name for parts in variant.merge.values() for name in parts)}
    taken = {name for name in names if name not in dropped}
    renamed = [(("rename", old), new.name) for old, new in variant.rename.items()]
    for path, name in [*((("merge", name), name) for name in variant.merge), *renamed]:
        if name in taken:
            yield path, f"there is a class '{name}' already; give another name"
        taken.add(name)
    for i, split in enumerate(variant.splits or ()):
        if split not in base.splits:
            yield ("splits", i), f"{base.name} has no split '{split}'; there are {', '.join(base.splits)}"
    if variant.ignored_as is not None and not base.ignore.values:
        yield ("ignored_as",), f"{base.name} ignores no label value; remove this key"


def resolve_variant(variant: VariantSpecification, base: DatasetSpecification) -> DatasetSpecification:
    """The full specification of a variant.

    Args:
        variant: a variant without :func:`variant_problems`.
        base: the dataset named by ``variant.variant_of``.

    Raises:
        pydantic.ValidationError: the result is inconsistent: for example, two classes have the same name.
    """
    taken = set(variant.splits if variant.splits is not None else base.splits)
    splits = {
        name: {**split.model_dump(), "includes": [other for other in split.includes if other in taken]}
        for name, split in base.splits.items()
        if name in taken
    }
    preparation = None
    if base.preparation is not None:
        prepared = {name: split for name, split in base.preparation.splits.items() if name in taken}
        preparation = base.preparation.model_copy(update={"splits": prepared}).model_dump() if prepared else None
    content = {
        **base.model_dump(),
        "name": variant.name,
        "title": variant.title,
        "references": (*base.references, *variant.references),
        "notes": variant.notes,
        "folder": base.folder if base.folder is not None else base.name,
        "classes": _classes(variant, base),
        "ignore": _ignored(variant, base),
        "splits": splits,
        "preparation": preparation,
    }
    resolved = DatasetSpecification.model_validate(content)
    resolved._base = base
    return resolved


def _classes(variant: VariantSpecification, base: DatasetSpecification) -> list[dict[str, Any]]:
    """Content of the variant's classes, in id order."""
    classes: list[dict[str, Any]] = []
    if variant.ignored_as is not None:
        first = {**variant.ignored_as.model_dump(), "value": base.ignore.values}
        classes.append(first | {"raw_value": base.raw_ignored or None, "mask_colors": base.ignore.colors or None})
    merged_into = {part: name for name, parts in variant.merge.items() for part in parts}
    merged: set[str] = set()
    for index, entry in enumerate(base.classes):
        if entry.name in (variant.ignore or ()) or merged_into.get(entry.name) in merged:
            continue
        if entry.name in merged_into:
            name = merged_into[entry.name]
            merged.add(name)
            parts = [i for i, part in enumerate(base.classes) if merged_into.get(part.name) == name]
            classes.append(_class(base, parts) | {"name": name})
        else:
            classes.append(_class(base, [index]) | _new_name(variant.rename, entry.name))
    return classes


def _class(base: DatasetSpecification, parts: list[int]) -> dict[str, Any]:
    """Content of one class that merges the classes of the base with these ids; its name is that of the first."""
    first = base.classes[parts[0]]
    colors = tuple(color for i in parts for color in base.mask_colors[i])
    return {
        "name": first.name,
        "synonyms": tuple(name for i in parts for name in base.classes[i].synonyms),
        "color": first.color,
        "value": tuple(value for i in parts for value in base.values[i]),
        "raw_value": tuple(value for i in parts for value in base.raw_values[i]),
        "mask_colors": colors or None,
    }


def _new_name(rename: Mapping[str, NewName], name: str) -> dict[str, Any]:
    return rename[name].model_dump(exclude_none=True) if name in rename else {}


def _ignored(variant: VariantSpecification, base: DatasetSpecification) -> dict[str, Any]:
    """Content of the variant's ``ignore``: that of the base (unless ``ignored_as`` is set) and the ignored classes."""
    ids = [i for i, entry in enumerate(base.classes) if entry.name in (variant.ignore or ())]
    kept = variant.ignored_as is None
    return {
        "values": (base.ignore.values if kept else ()) + sum((base.values[i] for i in ids), ()),
        "raw_values": (base.raw_ignored if kept else ()) + sum((base.raw_values[i] for i in ids), ()),
        "colors": (base.ignore.colors if kept else ()) + sum((base.mask_colors[i] for i in ids), ()),
    }
