"""Folders of a dataset on disk, and its image-label pairs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from sgovss.data.specification import DatasetSpecification
from sgovss.data.specification_fields import SplitSpecification
from sgovss.data.suffixes import suffix_pattern
from sgovss.errors import InputError
from sgovss.paths import cache_folder

ROOT_VARIABLE = "DETECTRON2_DATASETS"
_BESIDE = re.compile(
    r".*\.(?:txt|md|rst|csv|tsv|json|xml|ya?ml|html?|pdf|db|ini|prj|cpg|ovr|wld|[a-z]{2,3}w|py|zip|log)"
    r"|readme|licen[cs]e|copying|notice|authors|citation|changelog|makefile|[a-z0-9]*sums?"
)
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
        image_files, label_files, twice = _both_sides(spec, folder, images, labels, part)
        alone += twice
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
        first = min(walk_files(folder / part.images[0]), default=None)
        there = "; it has no files" if first is None else f", found files such as {first.name}"
        raise InputError(
            f"{folder / part.images[0]}: no image of {spec.name}_{split} here; expected files like {wanted}{there}"
        )
    return records, alone


def files_of_no_split(spec: DatasetSpecification, root: str | Path | None = None) -> list[Path]:
    """List the files in the folders of a dataset's splits that belong to none of the splits, sorted.

    Left out are folders that do not exist, and files that stand beside images, such as texts and world files.
    """
    folder = dataset_folder(spec, root)
    sides = {(folder / name, part) for part in spec.splits.values() for name in (*part.images, *part.labels)}
    taken: set[Path] = set()
    for part in spec.splits.values():
        for images, labels in zip(part.images, part.labels, strict=True):
            if (folder / images).is_dir() and (folder / labels).is_dir():
                image_files, label_files, _ = _both_sides(spec, folder, images, labels, part)
                taken |= {*image_files.values(), *label_files.values()}
    there = {path for top, _ in sides if top.is_dir() for path in walk_files(top)}
    return sorted(path for path in there - taken if not is_beside(path.name))


def is_beside(name: str) -> bool:
    """Whether a file stands beside images by its name, such as a text or a world file."""
    return _BESIDE.fullmatch(name.rpartition("/")[2].lower()) is not None


def _both_sides(
    spec: DatasetSpecification, folder: Path, images: str, labels: str, part: SplitSpecification
) -> tuple[dict[str, Path], dict[str, Path], list[str]]:
    """The images and labels of a split by key, and one line for each two files with the same key.

    A file that matches both sides, such as ``a_mask.png`` beside ``a.png``, belongs to the side with the deeper folder,
    then to the one with the longer suffix.
    """
    image_files, twice = _files(spec, folder, images, part.image_suffix, part)
    label_files, others = _files(spec, folder, labels, part.label_suffix, part)
    both = {*image_files.values()} & {*label_files.values()}

    def detail(subfolder: str, suffix: str) -> tuple[int, int]:
        return len(Path(subfolder).parts), len(suffix)

    are_labels = detail(labels, part.label_suffix) >= detail(images, part.image_suffix)
    loser = image_files if are_labels else label_files
    for key in [key for key, path in loser.items() if path in both]:
        del loser[key]
    return image_files, label_files, [*twice, *others]


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
) -> tuple[dict[str, Path], list[str]]:
    """The files below a folder that belong to the split, by key, and one line for each two files with the same key."""
    top = folder / subfolder
    if not top.is_dir():
        raise InputError(_absent(spec, folder, top))
    found: dict[str, Path] = {}
    twice = []
    ending = re.compile(suffix_pattern(suffix) + "$")
    for path in sorted(walk_files(top)):
        key, matches = ending.subn("", path.relative_to(top).as_posix())
        if not matches or not any(fnmatchcase(key, pattern) for pattern in part.select):
            continue
        if key in found:
            twice.append(f"{path}: has the name of {found[key].name}, except for the suffix; keep one of them")
        found[key] = path
    return found, twice


def _absent(spec: DatasetSpecification, folder: Path, top: Path) -> str:
    """Describe a folder that is missing, or a file in its place."""
    if top.exists():
        return (
            f"{top}: a file, where the dataset file '{spec.name}' needs a folder of image files; if it holds polygons, "
            "draw them as label images first, with gdal_rasterize or the mask export of the annotation tool"
        )
    hint = f"or set {ROOT_VARIABLE} to the folder that holds '{folder.name}'"
    if spec.root is not None or spec.generator is not None:
        hint = "or correct 'root' or the folders of the split in the dataset file"
    return f"{top}: folder of dataset '{spec.name}' not found; put the data there, {hint}"


def walk_files(top: Path) -> Iterator[Path]:
    """Yield the files below a folder and its linked folders, without hidden files and folders."""
    for parent, folders, names in os.walk(top, followlinks=True):
        here = Path(parent)
        # Skip links to a parent folder, also by way of other links, which would list every file dozens of times.
        around = {*here.resolve().parents, *(folder.resolve() for folder in (here, *here.parents))}
        folders[:] = [
            name for name in folders if not name.startswith(".") and Path(parent, name).resolve() not in around
        ]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _alone(have: dict[str, Path], partners: dict[str, Path], folder: Path, suffix: str, what: str) -> list[str]:
    return [f"{have[key]}: has no {what}; expected {folder / (key + suffix)}" for key in sorted(have.keys() - partners)]
