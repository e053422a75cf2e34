"""Complete check of a dataset on disk: reads every file once and reports each problem in one line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sgovss.data.class_table import absent_classes
from sgovss.data.label_map import LabelMap
from sgovss.data.labels import read_rgb, read_values
from sgovss.data.listing import find_pairs
from sgovss.data.raw_labels import interpolation_note, looks_interpolated
from sgovss.data.specification import DatasetSpecification
from sgovss.errors import InputError
from sgovss.processes import map_in_processes

_FEW = 32  # up to this many pairs, starting worker processes takes longer than the check


@dataclass(frozen=True)
class FileReport:
    """Result for one pair.

    Attributes:
        digest: BLAKE2b digest of the image file in hexadecimal; empty if the file cannot be read.
        pixels: number of pixels of each class; ignored pixels last.
        problems: one line for each problem.
        interpolated: whether the label may have been resized with interpolation.
    """

    digest: str
    pixels: tuple[int, ...]
    problems: tuple[str, ...]
    interpolated: bool = False


@dataclass(frozen=True)
class SplitReport:
    """Result for one split with T classes.

    Attributes:
        records: pairs as Detectron2 records.
        digests: image path -> digest of the file; see :class:`FileReport`.
        pixels: (T + 1,) number of pixels of each class; ignored pixels last.
        images: (T + 1,) number of images with at least one such pixel.
        problems: errors to correct, one line each, with the file.
        notes: unusual properties that are not errors.
    """

    records: list[dict[str, str]]
    digests: dict[str, str]
    pixels: np.ndarray
    images: np.ndarray
    problems: list[str]
    notes: list[str]


def inspect_split(spec: DatasetSpecification, split: str, root: str | Path | None, workers: int) -> SplitReport:
    """Read all images and labels of a split.

    Args:
        spec: the dataset.
        split: name of the split.
        root: the folder that holds the dataset's folder; default as in :func:`dataset_folder`.
        workers: number of processes.

    Raises:
        InputError: a folder is missing, or no file belongs to the split.
    """
    records, problems = find_pairs(spec, split, root)
    inspect = partial(inspect_pair, labels=LabelMap.from_specification(spec))
    title = f"{spec.name}_{split}"
    reports = map_in_processes(inspect, records, workers if len(records) > _FEW else 1)
    files = list(tqdm(reports, total=len(records), desc=title, unit="image", mininterval=1))
    problems += [problem for file in files for problem in file.problems]
    counts = np.array([file.pixels for file in files], np.int64).reshape(-1, len(spec.classes) + 1)
    digests = {record["file_name"]: file.digest for record, file in zip(records, files, strict=True)}
    pixels, images = counts.sum(axis=0), (counts > 0).sum(axis=0)
    # The counts of a pair that could not be read are all zero.
    read = int((counts.sum(axis=1) > 0).sum())
    only_ignored = int(((counts[:, -1] > 0) & (counts[:, :-1].sum(axis=1) == 0)).sum())
    notes = list(_count_notes(spec, split, len(records)))
    if absent := absent_classes(spec.vocabulary.names, pixels, f"the {read} labels read"):
        # A split without any class cannot be meant.
        (problems if only_ignored == read else notes).append(f"{title}: {absent}")
    if only_ignored:
        notes.append(f"{title}: labels with only ignored pixels: {only_ignored}")
    odd = [record["sem_seg_file_name"] for record, file in zip(records, files, strict=True) if file.interpolated]
    notes += [interpolation_note(odd)] if odd else []
    return SplitReport(records, digests, pixels, images, problems, notes)


def inspect_pair(record: dict[str, str], labels: LabelMap) -> FileReport:
    """Read one pair; its problems are returned, not raised."""
    problems, digest, interpolated = [], "", False
    pixels = np.zeros(labels.num_classes + 1, np.int64)
    image_file, label_file = record["file_name"], record["sem_seg_file_name"]
    try:
        digest = _digest(image_file)
        # Decode the image, because a truncated file has a valid header.
        size = read_rgb(image_file, upright="label").shape[:2]
        values = read_values(label_file)
        if values.shape != size:
            problems.append(
                f"{label_file}: label is {values.shape[1]}x{values.shape[0]} pixels, its image {image_file} is "
                f"{size[1]}x{size[0]}"
            )
        interpolated = looks_interpolated(values)
        ids = labels(values, label_file)
        ids[ids == labels.ignore_label] = labels.num_classes
        pixels = np.bincount(ids.reshape(-1), minlength=labels.num_classes + 1)
    except InputError as error:
        problems.append(str(error))
    return FileReport(digest, tuple(pixels.tolist()), tuple(problems), interpolated)


def duplicates(spec: DatasetSpecification, reports: dict[str, SplitReport]) -> Iterator[str]:
    """Find images that are in two splits as separate files with the same bytes.

    If one of the splits includes the other by design, they are not compared. One file that is in both splits is not a
    duplicate, because the dataset file puts it there.

    Yields:
        One line for each duplicate.
    """
    for first, second in combinations(reports, 2):
        if first in spec.splits[second].includes or second in spec.splits[first].includes:
            continue
        owner = {digest: path for path, digest in reports[first].digests.items() if digest}
        for path, digest in reports[second].digests.items():
            if digest in owner and owner[digest] != path and not _is_plain(path):
                yield f"{path}: the same image as {owner[digest]}; {first} and {second} must not share images"


def _is_plain(path: str) -> bool:
    """Whether an image has only one colour. Such images, for example tiles without data, are not duplicates."""
    try:
        return bool(np.ptp(read_rgb(path), axis=(0, 1)).max() == 0)
    except InputError:  # a file that cannot be decoded is among the problems already
        return False


def _count_notes(spec: DatasetSpecification, split: str, pairs: int) -> Iterator[str]:
    published = spec.splits[split].count
    if published is not None and published != pairs:
        yield f"{spec.name}_{split}: {pairs} pairs here, {published} in the published dataset"


def _digest(path: str) -> str:
    try:
        return hashlib.blake2b(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot read this image ({error.strerror}); copy it again") from error
