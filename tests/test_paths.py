"""sgovss.paths: configs and dataset files, from a checkout and from an installed package."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sgovss import paths
from sgovss.errors import InputError


@pytest.fixture(params=["checkout", "installed"])
def layout(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder ``sgovss`` whose data stands beside it (checkout) or inside it (installed)."""
    package = tmp_path / "sgovss"
    data = tmp_path if request.param == "checkout" else package
    for name in ("configs/base.yaml", "configs/protocols/cross.yaml", "datasets/lakes.yaml"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text("{}\n")
    (data / "datasets" / "prepare.py").write_text("")
    package.mkdir(exist_ok=True)
    monkeypatch.setattr(paths, "_PACKAGE", package)
    return data


def test_finds_files_by_their_relative_name(layout: Path) -> None:
    assert paths.config_file("base.yaml") == layout / "configs" / "base.yaml"
    assert paths.config_file("protocols/cross.yaml") == layout / "configs" / "protocols" / "cross.yaml"
    assert paths.dataset_files() == [layout / "datasets" / "lakes.yaml"]


@pytest.mark.parametrize("name", ["missing.yaml", "protocols", "../datasets/lakes.yaml", ""])
def test_unknown_name_lists_what_there_is(layout: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"base\.yaml, protocols/cross\.yaml") as caught:
        paths.config_file(name)
    assert "\n" not in str(caught.value)


LONG = ["x" * 300, "folder/" + "y" * 256 + ".png", "ü" * 200]


@pytest.mark.parametrize("name", LONG)
def test_a_name_that_is_too_long_is_no_file(tmp_path: Path, name: str) -> None:
    for path in (name, tmp_path / name):
        assert not paths.is_file(path) and not paths.is_folder(path) and not paths.exists(path)


def test_files_and_folders_are_found(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert paths.is_file(tmp_path / "file") and paths.exists(str(tmp_path / "file"))
    assert paths.is_folder(tmp_path) and not paths.is_file(tmp_path)
    assert not paths.exists(tmp_path / "other")


@pytest.mark.parametrize("question", ["exists", "is_file", "is_folder"])
def test_a_folder_that_may_not_be_entered_is_told(monkeypatch: pytest.MonkeyPatch, question: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(InputError, match=r"^secret/x: Permission denied; correct the path, or the permissions"):
        getattr(paths, question)("secret/x")
