"""Where the configs and dataset files stand: inside an installed package, or in the checkout."""

from __future__ import annotations

from pathlib import Path

from sgovss.errors import InputError

_PACKAGE = Path(__file__).resolve().parent


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
