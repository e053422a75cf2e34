"""Folders of a dataset on disk, and its image-label pairs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from sgovss.data.specification import DatasetSpecification
from sgovss.data.specification_fields import SplitSpecification
from sgovss.errors import InputError
from sgovss.paths import cache_folder

ROOT_VARIABLE = "DETECTRON2_DATASETS"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


def dataset_folder(spec: DatasetSpecification, root: str | Path | None = None) -> Path:
    """The folder of a dataset, which may not exist yet.

    Its parent folder is ``root`` if given, else the specification's ``root`` if given. Otherwise it is
    ``$SGOVSS_CACHE`` (default ``~/.cache/sgovss``) for generated datasets, and ``$DETECTRON2_DATASETS`` (default
    ``datasets``, as in Detectron2) for others.
    """
    if root is None:
        root = spec.root
    if root is None and spec.generator is not None:
        root = cache_folder()
    if root is None:
        root = os.environ.get(ROOT_VARIABLE, "datasets")
    return Path(root).expanduser() / (spec.folder or spec.name)


def list_pairs(spec: DatasetSpecification, split: str, root: str | Path | None = None) -> list[dict[str, str]]:
    """List the image-label pairs of a split as Detectron2 records, sorted by name.

    Each record has ``file_name``, ``sem_seg_file_name`` and ``dataset`` (the registered name). Records have no image
    sizes, because reading tens of thousands of headers would delay every start.

    Raises:
        InputError: a folder is missing, no file belongs to the split, or an image or label has no partner.
    """
    records, alone = find_pairs(spec, split, root)
    if alone:
        more = f" ({len(alone) - 1} more files without partner)" if len(alone) > 1 else ""
        raise InputError(f"{alone[0]}{more}")
    return records


def find_pairs(
    spec: DatasetSpecification, split: str, root: str | Path | None = None
) -> tuple[list[dict[str, str]], list[str]]:
    """List the pairs like :func:`list_pairs`, but report files without a partner instead of raising an error.

    Returns:
        The records, and one line for each file without a partner.

    Raises:
        InputError: a folder is missing, or no file belongs to the split.
    """
    folder = dataset_folder(spec, root)
    part = spec.splits[split]
    records: list[dict[str, str]] = []
    alone: list[str] = []
    for images, labels in zip(part.images, part.labels, strict=True):
        image_files = _files(spec, folder, images, part.image_suffix, part)
        label_files = _files(spec, folder, labels, part.label_suffix, part)
        alone += _alone(image_files, label_files, folder / labels, part.label_suffix, "label")
        alone += _alone(label_files, image_files, folder / images, part.image_suffix, "image")
        records += [
            {
                "file_name": str(image_files[key]),
                "sem_seg_file_name": str(label_files[key]),
                "dataset": f"{spec.name}_{split}",
            }
            for key in sorted(image_files.keys() & label_files.keys())
        ]
    if not records and not alone:
        wanted = ", ".join(f"{pattern}{part.image_suffix}" for pattern in part.select)
        raise InputError(
            f"{folder / part.images[0]}: no image of {spec.name}_{split} here; expected files like {wanted}"
        )
    return records, alone


def list_images(folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[Path]:
    """List the image files below a folder that have one of the suffixes, sorted by path.

    Raises:
        InputError: there is none.
    """
    files = sorted(file for file in walk_files(folder) if file.suffix.lower() in suffixes)
    if not files:
        raise InputError(f"{folder}: no image in this folder (looked for {', '.join(suffixes)})")
    return files


def _files(
    spec: DatasetSpecification, folder: Path, subfolder: str, suffix: str, part: SplitSpecification
) -> dict[str, Path]:
    """The files below a folder that belong to the split, by key."""
    top = folder / subfolder
    if not top.is_dir():
        hint = f"or set {ROOT_VARIABLE} to the folder that holds '{folder.name}'"
        if spec.root is not None or spec.generator is not None:
            hint = "or correct 'root' in the dataset file"
        raise InputError(f"{top}: folder of dataset '{spec.name}' not found; put the data there, {hint}")
    found = {}
    for path in walk_files(top):
        key = path.relative_to(top).as_posix().removesuffix(suffix)
        if path.name.endswith(suffix) and any(fnmatchcase(key, pattern) for pattern in part.select):
            found[key] = path
    return found


def walk_files(top: Path) -> Iterator[Path]:
    """Yield the files below a folder and its linked folders, without hidden files and folders."""
    for parent, folders, names in os.walk(top, followlinks=True):
        here = Path(parent).resolve()
        # Skip links to a parent folder, which would list every file dozens of times.
        around = {here, *here.parents}
        folders[:] = [
            name for name in folders if not name.startswith(".") and Path(parent, name).resolve() not in around
        ]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _alone(have: dict[str, Path], partners: dict[str, Path], folder: Path, suffix: str, what: str) -> list[str]:
    return [f"{have[key]}: has no {what}; expected {folder / (key + suffix)}" for key in sorted(have.keys() - partners)]
