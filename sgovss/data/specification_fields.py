"""Fields of a dataset specification, with the checks of single fields.

:class:`DatasetFields` collects them. The checks across fields are in :mod:`sgovss.data.specification_rules`, and
:class:`sgovss.data.specification.DatasetSpecification` applies them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sgovss.class_entries import entry_of
from sgovss.data.archives import pattern_problem
from sgovss.errors import InputError
from sgovss.vocabulary import ClassEntry, Vocabulary
from sgovss.words.lists import read_structure, read_text

MAX_VALUE = 65535  # prepared labels are 8-bit or 16-bit images


def _as_list(value: Any) -> Any:
    """Convert a single item to a list of one."""
    return [value] if isinstance(value, str | int) else value


def _as_classes(value: Any) -> Any:
    """Convert names without further properties, in any form that vocabularies have, to classes."""
    if isinstance(value, str):
        value = read_text(value, "classes").items
    elif isinstance(value, dict):
        value = read_structure(value, "classes").items
    return [_as_class(item) for item in value] if isinstance(value, list) else value


def _as_class(item: Any) -> Any:
    if not isinstance(item, str | tuple):
        return item
    entry = entry_of(item, "classes")
    return {"name": entry.name, "synonyms": entry.synonyms}


def _checked_pattern(pattern: str) -> str:
    if problem := pattern_problem(pattern):
        raise ValueError(problem)
    return pattern


Channel = Annotated[int, Field(strict=True, ge=0, le=255)]
Rgb = tuple[Channel, Channel, Channel]
ClassId = Annotated[int, Field(strict=True, ge=0, le=MAX_VALUE)]
LabelValue = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]  # no-data values may be negative or large
LabelValues = Annotated[tuple[LabelValue, ...], BeforeValidator(_as_list), Field(min_length=1)]
Folders = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)]
Count = Annotated[int, Field(strict=True, ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Names = Annotated[tuple[Name, ...], BeforeValidator(_as_list)]
ClassName = Annotated[str, Field(min_length=1)]
Metres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Suffix = Annotated[str, Field(pattern=r"^[^/\\]+$")]
Selection = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)]
Pattern = Annotated[str, Field(min_length=1), AfterValidator(_checked_pattern)]
Patterns = Annotated[tuple[Pattern, ...], BeforeValidator(_as_list), Field(min_length=1)]


class Model(BaseModel):
    """Base class of all parts: immutable, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassSpecification(Model):
    """One class. Its id is its position in the list of classes.

    Attributes:
        name: class name.
        id: optional, for readers of the file; must equal the position.
        synonyms: other names of the class.
        color: RGB colour for overlays. It is also the colour in a colour-coded mask, unless ``mask_colors`` is given.
        value: value or values in the label image that training reads; default: the id.
        raw_value: value or values in the published label, if preparation changes them; default: ``value``.
        mask_colors: RGB colours of the class in a colour-coded mask; several if classes are merged.
    """

    name: ClassName
    id: ClassId | None = None
    synonyms: tuple[str, ...] = ()
    color: Rgb | None = None
    value: LabelValues | None = None
    raw_value: LabelValues | None = None
    mask_colors: Annotated[tuple[Rgb, ...], Field(min_length=1)] | None = None


class IgnoreSpecification(Model):
    """Label values that are neither trained on nor scored.

    Attributes:
        values: values in the label image that training reads.
        raw_values: values in the published label, if preparation changes them; default: ``values``.
        colors: RGB colours in a colour-coded mask.
    """

    values: Annotated[tuple[LabelValue, ...], BeforeValidator(_as_list)]
    raw_values: Annotated[tuple[LabelValue, ...], BeforeValidator(_as_list)] | None = None
    colors: tuple[Rgb, ...] = ()


class SplitSpecification(Model):
    """The files of one split.

    The key of a file is its path below its folder, without the suffix. An image and a label with the same key form a
    pair. A pair belongs to the split if its key matches one of the ``select`` patterns (``fnmatch``).

    Attributes:
        images, labels: folder, or two lists of folders of the same length.
        image_suffix, label_suffix: ending of the file names, with the dot.
        select: patterns of the keys.
        count: number of pairs in the published dataset; None if no source states it.
        includes: other splits whose images are also in this split, by design.
    """

    images: Folders
    labels: Folders
    image_suffix: Suffix = ".png"
    label_suffix: Suffix = ".png"
    select: Selection = ("*",)
    count: Count | None = None
    includes: Names = ()


class RawSplitSpecification(Model):
    """The files of one split in the published data.

    Attributes:
        images, labels: patterns of :class:`sgovss.data.archives.RawFiles`, such as ``Train/{*}/images/{*}.png``.
            The parts in braces pair an image with its label, and are the name of the pair in the prepared dataset.
        select: patterns (``fnmatch``) of the names to take.
        count: number of pairs in the published split, before tiling; None if no source states it.
    """

    images: Patterns
    labels: Patterns
    select: Selection = ("*",)
    count: Count | None = None


class PreparationSpecification(Model):
    """How ``sgovss prepare`` turns the published data into the images and labels of the splits.

    Attributes:
        labels: form of the published labels: ``colors`` (RGB masks), ``pure_colors`` (RGB masks whose channels are
            first rounded to 0 or 255), ``values`` (one channel of raw values), or ``threshold`` (one channel, as in
            masks stored as JPEG: values of 128 and above become raw value 1, others 0).
        tile, stride: edge of the square tiles that images are cut into, and the step between tiles, in pixels.
            None leaves images whole. The last tile of a row or column is moved inwards to end at the border.
        bands: 1-based numbers of the bands to use as red, green and blue; None if images have three bands.
        splits: split name to its raw files. A split whose folders are those of other splits is not listed here.
    """

    labels: Literal["colors", "pure_colors", "values", "threshold"]
    tile: Annotated[int, Field(strict=True, ge=16)] | None = None
    stride: Count | None = None
    bands: tuple[Count, Count, Count] | None = None
    splits: Annotated[dict[Name, RawSplitSpecification], Field(min_length=1)]


class GeneratorSpecification(Model):
    """A dataset that :mod:`sgovss.synthetic` draws on first use.

    Attributes:
        style: drawing style of the images.
        size: edge length in pixels.
        splits: split name to (first seed, number of images); image i has seed ``first + i``.
    """

    style: str
    size: Annotated[int, Field(strict=True, ge=32)]
    splits: dict[Name, tuple[Annotated[int, Field(strict=True, ge=0)], Count]]


class DatasetFields(Model):
    """All fields of a dataset specification, without the checks across fields.

    Attributes:
        name: first part of the registered names ``<name>_<split>``.
        title: one line that describes the dataset; default: the name.
        source: where to get the data.
        licence: terms of use, as the source states them.
        citation: the publication to cite.
        references: sources of the statements in this file.
        verified: ``real-sample`` (checked against original files), ``documented`` or ``unverified``.
        ground_sample_distance: metres per pixel, or [finest, coarsest]; None if unknown or mixed.
        notes: what a user should know.
        folder: dataset folder below the root; default: the name.
        root: the folder that holds ``folder``, relative to the YAML file; default: ``$DETECTRON2_DATASETS``.
        classes: the classes in id order. A class without further properties may be only its name.
        ignore: label values to ignore; default: none.
        splits: split name to its files.
        preparation: how ``sgovss prepare`` makes the folders of ``splits`` from the published data. None if the data
            needs no change, or if no source states its layout; ``notes`` tells which of the two.
        generator: set for datasets that are drawn, not downloaded.
    """

    name: Name
    title: str = ""
    source: str | None = None
    licence: str | None = None
    citation: str | None = None
    references: tuple[str, ...] = ()
    verified: Literal["real-sample", "documented", "unverified"] = "unverified"
    ground_sample_distance: Metres | tuple[Metres, Metres] | None = None
    notes: str | None = None
    folder: str | None = None
    root: str | None = None
    classes: Annotated[
        tuple[ClassSpecification, ...], BeforeValidator(_as_classes), Field(min_length=1, max_length=MAX_VALUE)
    ]
    ignore: IgnoreSpecification = IgnoreSpecification(values=())
    splits: Annotated[dict[Name, SplitSpecification], Field(min_length=1)]
    preparation: PreparationSpecification | None = None
    generator: GeneratorSpecification | None = None

    @model_validator(mode="before")
    @classmethod
    def _title_defaults_to_name(cls, content: Any) -> Any:
        if isinstance(content, dict) and isinstance(content.get("name"), str):
            return {**content, "title": content["name"]} if content.get("title") is None else content
        return content

    @property
    def required_preparation(self) -> PreparationSpecification:
        """``preparation``, for callers that need it.

        Raises:
            InputError: ``preparation`` is None.
        """
        if self.preparation is None:
            raise InputError(
                f"{self.name}: its dataset file has no 'preparation'; add one, or arrange the files by hand"
            )
        return self.preparation

    @property
    def values(self) -> tuple[tuple[int, ...], ...]:
        """Label values of each class as training reads them, in id order."""
        return tuple(entry.value if entry.value is not None else (i,) for i, entry in enumerate(self.classes))

    @property
    def raw_values(self) -> tuple[tuple[int, ...], ...]:
        """Label values of each class as published, in id order."""
        pairs = zip(self.classes, self.values, strict=True)
        return tuple(entry.raw_value if entry.raw_value is not None else values for entry, values in pairs)

    @property
    def raw_ignored(self) -> tuple[int, ...]:
        """Ignored label values as published."""
        return self.ignore.values if self.ignore.raw_values is None else self.ignore.raw_values

    @property
    def mask_colors(self) -> tuple[tuple[Rgb, ...], ...]:
        """Colours of each class in a colour-coded mask, in id order; empty for a class without a colour."""
        return tuple(
            entry.mask_colors if entry.mask_colors is not None else (entry.color,) if entry.color is not None else ()
            for entry in self.classes
        )

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes as names, synonyms and colours."""
        entries = (ClassEntry(entry.name, entry.synonyms, entry.color) for entry in self.classes)
        return Vocabulary(entries, source=self.name)
