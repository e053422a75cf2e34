"""Where files stand: configs and dataset files inside an installed package or in the checkout, and the cache."""

from __future__ import annotations

import os
from pathlib import Path

from sgovss.errors import InputError

CACHE_VARIABLE = "SGOVSS_CACHE"

_PACKAGE = Path(__file__).resolve().parent


def cache_folder() -> Path:
    """The folder for what can be made again: generated scenes, text embeddings. ``$SGOVSS_CACHE``, else
    ``~/.cache/sgovss``."""
    return Path(os.environ.get(CACHE_VARIABLE, "~/.cache/sgovss")).expanduser()


def config_file(name: str) -> Path:
    """The path of a config that comes with sgovss.

    Args:
        name: path relative to the configs folder, such as ``"sgovss_tiny.yaml"``.

    Raises:
        InputError: there is no such config; the message lists those there are.
    """
    return _find("configs", name)


def dataset_file(name: str) -> Path:
    """The path of a dataset description that comes with sgovss.

    Args:
        name: path relative to the datasets folder, such as ``"dubai_mbrsc.yaml"``.

    Raises:
        InputError: there is no such file; the message lists those there are.
    """
    return _find("datasets", name)


def config_files() -> list[Path]:
    """All configs that come with sgovss, sorted by path."""
    return _files(_folder("configs"))


def dataset_files() -> list[Path]:
    """All dataset descriptions that come with sgovss, sorted by path."""
    return _files(_folder("datasets"))


def _folder(kind: str) -> Path:
    # A wheel carries the folder inside the package (see setup.py); a checkout has it beside the package.
    installed = _PACKAGE / kind
    return installed if installed.is_dir() else _PACKAGE.parent / kind


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.yaml"))


def _find(kind: str, name: str) -> Path:
    folder = _folder(kind)
    path = folder / name
    if path not in _files(folder):
        names = ", ".join(file.relative_to(folder).as_posix() for file in _files(folder)) or "none"
        raise InputError(f"no file '{name}' among the {kind} of sgovss; there are: {names} (in {folder})")
    return path
