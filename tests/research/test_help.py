"""Every command of the maintainers explains itself with an example."""

from importlib import import_module

import pytest

CHECKS = (
    "audit_dependencies", "compatibility", "gpu_check", "mutation", "odd_rasters", "pages", "products_picture",
    "qgis_picture",
)  # fmt: skip


@pytest.mark.parametrize("name", ["ablation", "benchmark", "pretraining", *(f"checks.{each}" for each in CHECKS)])
def test_help_has_an_example(name, capsys):
    module = import_module(f"research.{name}" if "." in name else f"research.{name}.__main__")
    with pytest.raises(SystemExit) as end:
        module.main(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: python -m research.{name} ") and f"\n    python -m research.{name}" in shown
