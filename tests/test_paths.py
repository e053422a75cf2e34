"""sgovss.paths: configs and dataset files, from a checkout and from an installed package."""

from __future__ import annotations

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
