"""docs/architecture.md agrees with the package."""

from __future__ import annotations

import re

from research.checks import architecture


def test_the_page_names_files_that_exist(checkout):
    paths = re.findall(r"`(sgovss/[^`]*)`", architecture.INTRODUCTION)
    assert len(paths) > 15
    assert [path for path in paths if not (checkout / path).exists()] == []


def test_every_package_is_in_the_picture(checkout, tmp_path):
    packages = {path.parent.name for path in (checkout / "sgovss").glob("*/__init__.py")}
    assert packages == {name for layer in architecture.layers() for name in layer} & packages
    assert packages == set(architecture.DESCRIPTIONS)
    architecture.draw(tmp_path / "layers.png")
    assert (tmp_path / "layers.png").stat().st_size < 300_000
