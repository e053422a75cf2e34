"""What sgovss must know of a dataset, as data: classes, label values, colours, splits, provenance.

A specification is one YAML file (:func:`sgovss.data.specification_file.load_specification`); adding a
dataset needs no code. Folder names are relative to the dataset's own folder under the datasets root.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from sgovss.data.archives import pattern_problem
from sgovss.data.specification_rules import problems
from sgovss.vocabulary import ClassEntry, Vocabulary

MAX_VALUE = 65535  # labels are 8- or 16-bit images


def _listed(value: Any) -> Any:
    """One item may stand for a list of one."""
    return [value] if isinstance(value, str | int) else value


def _checked_pattern(pattern: str) -> str:
    if problem := pattern_problem(pattern):
        raise ValueError(problem)
    return pattern


Channel = Annotated[int, Field(strict=True, ge=0, le=255)]
Rgb = tuple[Channel, Channel, Channel]
LabelValue = Annotated[int, Field(strict=True, ge=0, le=MAX_VALUE)]
LabelValues = Annotated[tuple[LabelValue, ...], BeforeValidator(_listed), Field(min_length=1)]
Folders = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
Count = Annotated[int, Field(strict=True, ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Metres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Suffix = Annotated[str, Field(pattern=r"^[^/\\]+$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassSpecification(_Model):
    """One class; its id is its position in the list.

    Attributes:
        id: may be written down for the reader, and must then be the position.
        synonyms: further words for the class.
        color: RGB for overlays, and what a colour-coded mask shows unless ``mask_colors`` says otherwise.
        value: value or values in the label image that training reads; default: the id.
        raw_value: value or values in the label as published, where preparing changes them; default: ``value``.
        mask_colors: RGB colours of a colour-coded mask that mean this class (several where classes are merged).
    """

    name: Annotated[str, Field(min_length=1)]
    id: LabelValue | None = None
    synonyms: tuple[str, ...] = ()
    color: Rgb | None = None
    value: LabelValues | None = None
    raw_value: LabelValues | None = None
    mask_colors: Annotated[tuple[Rgb, ...], Field(min_length=1)] | None = None


class IgnoreSpecification(_Model):
    """What is neither trained on nor scored.

    Attributes:
        values: in the label image that training reads.
        raw_values: in the label as published, where preparing changes them; default: ``values``.
        colors: of a colour-coded mask.
    """

    values: Annotated[tuple[LabelValue, ...], BeforeValidator(_listed)]
    raw_values: Annotated[tuple[LabelValue, ...], BeforeValidator(_listed)] | None = None
    colors: tuple[Rgb, ...] = ()


class SplitSpecification(_Model):
    """The files of one split.

    The key of a file is its path below its folder without the suffix; an image and a label with the same
    key are a pair, and a key belongs to the split if one of the ``select`` patterns (``fnmatch``) matches it.

    Attributes:
        images, labels: folder, or parallel lists of folders.
        count: number of pairs that the published dataset has, None where no source states it.
        includes: other splits whose images this one holds too, by design.
    """

    images: Folders
    labels: Folders
    image_suffix: Suffix = ".png"
    label_suffix: Suffix = ".png"
    select: Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)] = ("*",)
    count: Count | None = None
    includes: Annotated[tuple[Name, ...], BeforeValidator(_listed)] = ()


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_checked_pattern)]
Patterns = Annotated[tuple[Pattern, ...], BeforeValidator(_listed), Field(min_length=1)]


class RawSplitSpecification(_Model):
    """Where the published archive has the images and labels of one split.

    Attributes:
        images, labels: patterns of :class:`sgovss.data.archives.RawFiles`, such as ``Train/{*}/images/{*}.png``.
            What stands in braces pairs an image with its label, and names both in the prepared set.
        select: only pairs whose name one of these patterns (``fnmatch``) matches.
        count: number of pairs that the published split has, before tiling; None where no source states it.
    """

    images: Patterns
    labels: Patterns
    select: Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)] = ("*",)
    count: Count | None = None


class PreparationSpecification(_Model):
    """How ``sgovss prepare`` turns the published archive into the images and labels of the splits.

    Attributes:
        labels: ``colors`` (RGB masks), ``pure_colors`` (the same, after each channel became 0 or 255, whichever is
            nearer), ``values`` (one channel of raw values), or ``threshold`` (one channel; 128 and above is raw value
            1, all below is 0: for masks that were stored as JPEG).
        tile, stride: edge of the square windows that images are cut into, and the step between them, in pixels;
            None leaves images whole. The last window of a row or column moves inwards to end at the border.
        bands: 1-based numbers of the three bands to take as red, green and blue; None where images have three.
        splits: split name to its raw files; splits made of other splits' folders are not named here.
    """

    labels: Literal["colors", "pure_colors", "values", "threshold"]
    tile: Annotated[int, Field(strict=True, ge=16)] | None = None
    stride: Count | None = None
    bands: tuple[Count, Count, Count] | None = None
    splits: Annotated[dict[Name, RawSplitSpecification], Field(min_length=1)]


class GeneratorSpecification(_Model):
    """A dataset that :mod:`sgovss.synthetic` draws on first use.

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
        ignore: label values that are no class; required, its ``values`` may be empty.
        preparation: how the published archive becomes the folders of ``splits``; None if it needs no change, or
            if no source states its layout (``notes`` say which).
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
    preparation: PreparationSpecification | None = None
    generator: GeneratorSpecification | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> DatasetSpecification:
        for path, problem in problems(self):
            raise PydanticCustomError("specification", "{problem}", {"problem": problem, "path": path})
        return self

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
        """Label values, as published, that are no class."""
        return self.ignore.values if self.ignore.raw_values is None else self.ignore.raw_values

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
