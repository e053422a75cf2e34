"""Find the image files that a user names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sgovss.data.listing import IMAGE_SUFFIXES, list_images
from sgovss.errors import InputError

RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".img")
_SUFFIXES = tuple(dict.fromkeys((*IMAGE_SUFFIXES, *RASTER_SUFFIXES)))


def find_images(inputs: Sequence[str | Path], without: str | Path | None = None) -> dict[Path, Path]:
    """Find the image files among files and folders, and name the outputs of each.

    Args:
        inputs: image and raster files, and folders that are searched with their subfolders.
        without: a folder to skip, such as that of the outputs.

    Returns:
        path of the image -> relative path of its outputs, without suffix.

    Raises:
        InputError: a path does not exist, a folder has no image, or the outputs of two images have the same name.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, inputs):
        if path.is_dir():
            files = [file for file in list_images(path, _SUFFIXES) if not _below(file, without)]
            found.update({file: file.relative_to(path).with_suffix("") for file in files})
        elif path.is_file():
            found[path] = Path(path.stem)
        else:
            raise InputError(f"{path}: no such file or folder")
    if odd := [path for path in found if not _is_text(path)]:
        raise InputError(f"{str(odd[0])!a}: the name of this file is not UTF-8 text; rename it")
    owners: dict[Path, Path] = {}
    for path, name in found.items():
        if owners.setdefault(name, path) != path:
            raise InputError(f"{owners[name]} and {path} would both be written as '{name}'; segment them one by one")
    return found


def _below(file: Path, folder: str | Path | None) -> bool:
    return folder is not None and Path(folder).resolve() in file.resolve().parents


def _is_text(path: Path) -> bool:
    """Whether a path is valid UTF-8. File systems accept any bytes, but a report must be UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
