"""Images with labels, with points or with neither, from which words are chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sgovss.data.label_map import LabelMap
from sgovss.data.labels import image_size, load_labels
from sgovss.data.listing import IMAGE_SUFFIXES, list_images, list_pairs
from sgovss.data.specification import DatasetSpecification
from sgovss.errors import InputError
from sgovss.label_ids import no_class_id


@dataclass(frozen=True)
class Sample:
    """An image.

    Attributes:
        name: for tables.
        path: the image file.
        truth: reads (H, W) integer class ids, T for pixels without a class; None if the image has no labels.
    """

    name: str
    path: Path
    truth: Callable[[], np.ndarray] | None = None


@dataclass(frozen=True)
class Material:
    """Images, and lines for the user about files that are not used."""

    samples: Sequence[Sample]
    notes: Sequence[str] = ()

    @property
    def labelled(self) -> bool:
        """Whether the images have labels."""
        return self.samples[0].truth is not None


def from_folder(images: Path) -> Material:
    """The images of a folder, without labels.

    Raises:
        InputError: there is none.
    """
    return Material([Sample(name, path) for name, path in _by_name(images, "--images").items()])


def from_label_folder(images: Path, labels: Path, values: LabelMap) -> Material:
    """The images of a folder that have a label image of the same name, except for the suffix, in another folder.

    Raises:
        InputError: a folder has no image, or no image has a label.
    """
    files, masks = _by_name(images, "--images"), _by_name(labels, "--labels")
    both = [name for name in files if name in masks]
    if not both:
        raise InputError(
            f"--labels {labels}: no label has the name of an image, such as {next(iter(files))}.png; found "
            f"{next(iter(masks.values())).name}; rename them, or describe the folders in a dataset file for --dataset"
        )
    notes = []
    if alone := [str(path) for name, path in files.items() if name not in masks]:
        notes.append(f"not used, as they have no label: {_few(alone)}")
    if alone := [str(path) for name, path in masks.items() if name not in files]:
        notes.append(f"not used, as they have no image: {_few(alone)}")
    return Material([_pair(name, files[name], masks[name], values) for name in both], notes)


def from_dataset(spec: DatasetSpecification, split: str, root: Path | None) -> Material:
    """The images and labels of a split of a dataset.

    Raises:
        InputError: there is no such split, or its files are missing.
    """
    if split not in spec.splits:
        raise InputError(f"--split: {spec.name} has no split '{split}'; there are {', '.join(spec.splits)}")
    values = LabelMap.from_specification(spec)
    pairs = [(Path(each["file_name"]), Path(each["sem_seg_file_name"])) for each in list_pairs(spec, split, root)]
    return Material([_pair(image.stem, image, label, values) for image, label in pairs])


def from_points(images: Path, points: Mapping[str, Sequence[tuple[int, int, int]]], classes: int) -> Material:
    """The images of a folder in which there are points.

    Args:
        images: the folder.
        points: (row, column, class id) of the points by name of the image.
        classes: number of classes T.

    Raises:
        InputError: the folder has no image, or no image has a point.
    """
    files = _by_name(images, "--images")
    kept = {name: path for name, path in files.items() if points.get(name)}
    if not kept:
        raise InputError(f"--points: no point is in an image of {images}; check their coordinates and image names")
    notes = []
    if alone := [str(path) for name, path in files.items() if name not in kept]:
        notes.append(f"not used, as they have no point: {_few(alone)}")
    return Material([Sample(name, path, _drawn(path, points[name], classes)) for name, path in kept.items()], notes)


def absent_classes(counts: np.ndarray, names: Sequence[str]) -> list[str]:
    """The names of classes without a labelled pixel, of counts (T, ...) of labelled pixels."""
    return [name for name, pixels in zip(names, counts, strict=True) if not pixels.any()]


def _pair(name: str, image: Path, label: Path, values: LabelMap) -> Sample:
    def read() -> np.ndarray:
        ids = load_labels(label, values)
        size = image_size(image, upright="label")
        if ids.shape != size:
            raise InputError(
                f"{label}: label is {ids.shape[1]}x{ids.shape[0]} pixels, its image {image} is {size[1]}x{size[0]}; "
                "make them equal"
            )
        ids[ids == values.ignore_label] = values.num_classes
        return ids

    return Sample(name, image, read)


def _drawn(image: Path, points: Sequence[tuple[int, int, int]], classes: int) -> Callable[[], np.ndarray]:
    def draw() -> np.ndarray:
        ids = np.full(image_size(image), classes, np.int64)
        rows, columns, owners = np.asarray(points).T
        ids[rows, columns] = owners
        return ids

    return draw


def _by_name(folder: Path, option: str) -> dict[str, Path]:
    """The image files below a folder, by their path without suffix."""
    if not folder.is_dir():
        raise InputError(f"{option} {folder}: no such folder; correct the path")
    found: dict[str, Path] = {}
    for path in list_images(folder, IMAGE_SUFFIXES):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise InputError(f"{path}: has the name of {found[name].name}, except for the suffix; keep one of them")
        found[name] = path
    return found


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}"


def label_values(text: str | None, ignored: str | None, classes: int) -> LabelMap:
    """Read the label values of classes as a user types them.

    Args:
        text: the values of each class, separated by commas; several of a class by bars. None for 0 to T - 1.
        ignored: values of pixels without a class, separated by commas; None for the usual one, 255.
        classes: number of classes T.

    Raises:
        InputError: a value is no whole number, is given twice, or the number of classes differs.
    """
    groups = [str(index) for index in range(classes)] if text is None else text.split(",")
    if len(groups) != classes:
        raise InputError(f"--values {text}: {len(groups)} values for {classes} classes; give one for each, in order")
    values = [[_whole(each, "--values") for each in group.split("|")] for group in groups]
    flat = [value for group in values for value in group]
    unused = [no_class_id(classes)] if no_class_id(classes) not in flat else []
    left_out = unused if ignored is None else [_whole(each, "--ignore") for each in ignored.split(",")]
    if len({*flat, *left_out}) < len(flat) + len(left_out):
        raise InputError("--values: a label value is given twice; give each to one class, or to --ignore")
    ignoring = ",".join(map(str, [*left_out, "{value}"]))
    remedy = f"add it to a class in --values, or give --ignore={ignoring}"
    return LabelMap.from_values(values, left_out, remedy, "--ignore")


def _whole(text: str, option: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{option}: '{text.strip()}' is no whole number; give label values such as 0,1,2") from None
