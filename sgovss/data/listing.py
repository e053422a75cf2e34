"""Where a dataset lies on disk, and which files of it are pairs."""

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
    """The folder of a dataset, whether it exists or not.

    Its parent is, in this order: ``root``; the specification's own; for generated datasets ``$SGOVSS_CACHE``
    (default ``~/.cache/sgovss``); ``$DETECTRON2_DATASETS`` (default ``datasets``, as in Detectron2).
    """
    if root is None:
        root = spec.root
    if root is None and spec.generator is not None:
        root = cache_folder()
    if root is None:
        root = os.environ.get(ROOT_VARIABLE, "datasets")
    return Path(root).expanduser() / (spec.folder or spec.name)


def list_pairs(spec: DatasetSpecification, split: str, root: str | Path | None = None) -> list[dict[str, str]]:
    """The image–label pairs of a split as Detectron2 records, in the order of their names.

    Each record has ``file_name``, ``sem_seg_file_name`` and ``dataset`` (the registered name). Sizes are
    left out: reading tens of thousands of headers would hold up every start.

    Raises:
        InputError: a folder is missing, nothing matches, or an image or label has no partner.
    """
    records, alone = find_pairs(spec, split, root)
    if alone:
        more = f" ({len(alone) - 1} more files without partner)" if len(alone) > 1 else ""
        raise InputError(f"{alone[0]}{more}")
    return records


def find_pairs(
    spec: DatasetSpecification, split: str, root: str | Path | None = None
) -> tuple[list[dict[str, str]], list[str]]:
    """As :func:`list_pairs`; files without a partner are told, one line each, instead of raised.

    Raises:
        InputError: a folder is missing or nothing matches.
    """
    folder = dataset_folder(spec, root)
    part = spec.splits[split]
    records, alone = [], []
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
    """The image files below a folder, by their suffixes, in the order of their names.

    Raises:
        InputError: there is none.
    """
    files = sorted(file for file in _walk(folder) if file.suffix.lower() in suffixes)
    if not files:
        raise InputError(f"{folder}: no image in this folder (looked for {', '.join(suffixes)})")
    return files


def _files(
    spec: DatasetSpecification, folder: Path, subfolder: str, suffix: str, part: SplitSpecification
) -> dict[str, Path]:
    """Key to path of the files below a folder that belong to the split."""
    top = folder / subfolder
    if not top.is_dir():
        hint = f"or set {ROOT_VARIABLE} to the folder that holds '{folder.name}'"
        if spec.root is not None or spec.generator is not None:
            hint = "or correct 'root' in the dataset file"
        raise InputError(f"{top}: folder of dataset '{spec.name}' not found; put the data there, {hint}")
    found = {}
    for path in _walk(top):
        key = path.relative_to(top).as_posix().removesuffix(suffix)
        if path.name.endswith(suffix) and any(fnmatchcase(key, pattern) for pattern in part.select):
            found[key] = path
    return found


def _walk(top: Path) -> Iterator[Path]:
    """Files below a folder, linked folders included, hidden ones (such as archive leftovers) not."""
    for parent, folders, names in os.walk(top, followlinks=True):
        here = Path(parent).resolve()
        # A link to a folder that it lies in would list every file dozens of times.
        around = {here, *here.parents}
        folders[:] = [
            name for name in folders if not name.startswith(".") and Path(parent, name).resolve() not in around
        ]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _alone(have: dict[str, Path], partners: dict[str, Path], folder: Path, suffix: str, what: str) -> list[str]:
    return [f"{have[key]}: has no {what}; expected {folder / (key + suffix)}" for key in sorted(have.keys() - partners)]
