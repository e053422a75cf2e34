"""Paths of the configs and dataset files that come with sgovss, and of the cache."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from sgovss.errors import InputError

CACHE_VARIABLE = "SGOVSS_CACHE"

_PACKAGE = Path(__file__).resolve().parent


def cache_folder() -> Path:
    """The folder for files that can be made again: synthetic images, text embeddings, temporary files.

    It is ``$SGOVSS_CACHE``, by default ``~/.cache/sgovss``.
    """
    return Path(os.environ.get(CACHE_VARIABLE, "~/.cache/sgovss")).expanduser()


def config_file(name: str) -> Path:
    """The path of a config that comes with sgovss.

    Args:
        name: path relative to the configs folder, such as ``"sgovss_tiny.yaml"``.

    Raises:
        InputError: there is no such config; the message lists those that exist.
    """
    folder = _folder("configs")
    path, files = folder / name, _files(folder)
    if path not in files:
        names = ", ".join(file.relative_to(folder).as_posix() for file in files) or "none"
        raise InputError(f"no file '{name}' among the configs of sgovss; there are: {names} (in {folder})")
    return path


def dataset_files() -> list[Path]:
    """The paths of all dataset files that come with sgovss, sorted."""
    return _files(_folder("datasets"))


def _folder(kind: str) -> Path:
    # In a wheel, the folder is inside the package (see setup.py); in a checkout, it is beside the package.
    installed = _PACKAGE / kind
    return installed if installed.is_dir() else _PACKAGE.parent / kind


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.yaml"))


def exists(path: str | Path) -> bool:
    """Whether there is such a file or folder; see :func:`is_file`."""
    return _ask(Path(path).exists, path)


def is_file(path: str | Path) -> bool:
    """Whether there is such a file. A name that is too long for a file is none.

    Raises:
        InputError: the user may not look into a folder of the path.
    """
    return _ask(Path(path).is_file, path)


def is_folder(path: str | Path) -> bool:
    """Whether there is such a folder; see :func:`is_file`."""
    return _ask(Path(path).is_dir, path)


def _ask(question: Callable[[], bool], path: str | Path) -> bool:
    try:
        return question()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise InputError(f"{path}: {error.strerror}; correct the path, or the permissions of its folders") from error
