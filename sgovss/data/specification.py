"""What sgovss must know of a dataset, as data: classes, label values, colours, splits, provenance.

A specification is one YAML file (:func:`sgovss.data.specification_file.load_specification`); adding a
dataset needs no code. Folder names are relative to the dataset's own folder under the datasets root.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from sgovss.errors import InputError
from sgovss.vocabulary import ClassEntry, Vocabulary

MAX_VALUE = 65535  # labels are 8- or 16-bit images


def _listed(value: Any) -> Any:
    """One item may stand for a list of one."""
    return [value] if isinstance(value, str | int) else value


Channel = Annotated[int, Field(strict=True, ge=0, le=255)]
Rgb = tuple[Channel, Channel, Channel]
LabelValue = Annotated[int, Field(strict=True, ge=0, le=MAX_VALUE)]
LabelValues = Annotated[tuple[LabelValue, ...], BeforeValidator(_listed), Field(min_length=1)]
Folders = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
Count = Annotated[int, Field(strict=True, ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Metres = Annotated[float, Field(gt=0)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassSpecification(_Model):
    """One class; its id is its position in the list.

    Attributes:
        id: may be written down for the reader, and must then be the position.
        synonyms: further words for the class.
        color: RGB for overlays, and what a colour-coded mask shows unless ``mask_colors`` says otherwise.
        value: raw value or values in the label image; default: the id.
        mask_colors: RGB colours of a colour-coded mask that mean this class (several where classes are merged).
    """

    name: Annotated[str, Field(min_length=1)]
    id: LabelValue | None = None
    synonyms: tuple[str, ...] = ()
    color: Rgb | None = None
    value: LabelValues | None = None
    mask_colors: Annotated[tuple[Rgb, ...], Field(min_length=1)] | None = None


class IgnoreSpecification(_Model):
    """Label values, and colours of a colour-coded mask, that are neither trained on nor scored."""

    values: Annotated[tuple[LabelValue, ...], BeforeValidator(_listed)]
    colors: tuple[Rgb, ...] = ()


class SplitSpecification(_Model):
    """The files of one split.

    The key of a file is its path below its folder without the suffix; an image and a label with the same
    key are a pair, and a key belongs to the split if one of the ``select`` patterns (``fnmatch``) matches it.

    Attributes:
        images, labels: folder, or parallel lists of folders.
        count: number of pairs that the published dataset has, None where no source states it.
    """

    images: Folders
    labels: Folders
    image_suffix: Annotated[str, Field(min_length=1)] = ".png"
    label_suffix: Annotated[str, Field(min_length=1)] = ".png"
    select: Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)] = ("*",)
    count: Count | None = None


class GeneratorSpecification(_Model):
    """A dataset that :mod:`sgovss.data.scenes` draws on first use.

    Attributes:
        style: drawing style of the scenes.
        size: edge length in pixels.
        splits: split name to (first seed, number of scenes); scene i has seed ``first + i``.
    """

    style: str
    size: Annotated[int, Field(strict=True, ge=32)]
    splits: dict[Name, tuple[Annotated[int, Field(strict=True, ge=0)], Count]]


class DatasetSpecification(_Model):
    """A dataset. Wrong content raises ``pydantic.ValidationError``, or InputError when read from a file.

    Attributes:
        name: first part of the registered names ``<name>_<split>``.
        source: where to get the data.
        references: what the statements in this file rest on.
        verified: ``real-sample`` (checked against original files), ``documented`` or ``unverified``.
        ground_sample_distance: metres per pixel, or [finest, coarsest], None where unknown or mixed.
        folder: dataset folder below the root; default: the name.
        root: the folder that holds ``folder``; default: ``$DETECTRON2_DATASETS``. Relative to the YAML file.
        ignore: raw label values that are no class; required, its ``values`` may be empty.
        generator: set for datasets that are drawn, not downloaded.
    """

    name: Name
    title: str
    source: str | None
    licence: str | None
    citation: str | None
    references: tuple[str, ...] = ()
    verified: Literal["real-sample", "documented", "unverified"]
    ground_sample_distance: Metres | tuple[Metres, Metres] | None
    notes: str | None = None
    folder: str | None = None
    root: str | None = None
    classes: Annotated[tuple[ClassSpecification, ...], Field(min_length=1, max_length=MAX_VALUE)]
    ignore: IgnoreSpecification
    splits: Annotated[dict[Name, SplitSpecification], Field(min_length=1)]
    generator: GeneratorSpecification | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> DatasetSpecification:
        for path, problem in _problems(self):
            raise PydanticCustomError("specification", "{problem}", {"problem": problem, "path": path})
        return self

    @property
    def values(self) -> tuple[tuple[int, ...], ...]:
        """Raw label values of each class, in id order."""
        return tuple(entry.value if entry.value is not None else (i,) for i, entry in enumerate(self.classes))

    @property
    def mask_colors(self) -> tuple[tuple[Rgb, ...], ...]:
        """Colours of each class in a colour-coded mask, in id order; empty where none is known."""
        return tuple(
            entry.mask_colors if entry.mask_colors is not None else (entry.color,) if entry.color is not None else ()
            for entry in self.classes
        )

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes as names, synonyms and colours."""
        entries = (ClassEntry(entry.name, entry.synonyms, entry.color) for entry in self.classes)
        return Vocabulary(entries, source=self.name)


Location = tuple[str | int, ...]


def _problems(spec: DatasetSpecification) -> Iterator[tuple[Location, str]]:
    """What is wrong across fields: (path of the offending key, one line)."""
    for index, entry in enumerate(spec.classes):
        if entry.id is not None and entry.id != index:
            yield ("classes", index, "id"), f"id {entry.id} of '{entry.name}' should be {index}: ids leave no gap"
    try:
        _ = spec.vocabulary
    except InputError as error:
        yield ("classes",), str(error)
    yield from _repeated("value", spec.values, spec, "value", ("ignore", "values"), spec.ignore.values)
    yield from _repeated("colour", spec.mask_colors, spec, "color", ("ignore", "colors"), spec.ignore.colors)
    for name, split in spec.splits.items():
        if len(split.images) != len(split.labels):
            yield ("splits", name, "labels"), "as many label folders as image folders are needed"
        if set(split.images) & set(split.labels) and split.image_suffix == split.label_suffix:
            yield ("splits", name), "images and labels are the same files; give them different folders or suffixes"
    if spec.generator is not None:
        yield from _generator_problems(spec, spec.generator)


def _repeated(
    what: str,
    of_classes: tuple[tuple[Any, ...], ...],
    spec: DatasetSpecification,
    key: str,
    ignore_path: Location,
    ignored: Iterable[Any],
) -> Iterator[tuple[Location, str]]:
    """Values or colours that stand for two classes, or for a class and 'ignore'."""
    owner: dict[Any, str] = {}
    uses = [(("classes", i, key), spec.classes[i].name, item) for i, items in enumerate(of_classes) for item in items]
    uses += [((*ignore_path, i), "ignore", item) for i, item in enumerate(ignored)]
    for path, name, item in uses:
        if item in owner:
            shown = list(item) if isinstance(item, tuple) else item
            yield path, f"{what} {shown} is used twice, for '{owner[item]}' and '{name}'"
        owner[item] = name


def _generator_problems(
    spec: DatasetSpecification, generator: GeneratorSpecification
) -> Iterator[tuple[Location, str]]:
    """The generator must fill exactly the splits, and no seed may serve two of them."""
    if set(generator.splits) != set(spec.splits):
        yield ("generator", "splits"), f"these must be the dataset's splits: {', '.join(spec.splits)}"
    taken: dict[int, str] = {}
    for name, (first, count) in generator.splits.items():
        for seed in range(first, first + count):
            if seed in taken:
                yield ("generator", "splits", name), f"seed {seed} is also used by '{taken[seed]}'"
                break
            taken[seed] = name
