"""Measurements of the maintainers: the profile and the classes of large rasters."""

from __future__ import annotations

import pytest

from research.benchmark.__main__ import main


@pytest.mark.slow
def test_parts_of_a_profile_add_up_to_the_whole(capsys):
    assert main(["profile", "--config-file", "sgovss_tiny.yaml", "--size", "128", "--classes", "3"]) == 0
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    shares = {line[0]: float(line[2]) for line in lines if len(line) == 3 and line[2].replace(".", "").isdigit()}
    parts = {name: share for name, share in shares.items() if name != "all"}
    assert {"image encoder", "refinement", "decoder: stage 3"} <= parts.keys()
    assert sum(parts.values()) == pytest.approx(shares["all"], abs=1)
    assert any(line and line[0].startswith("floor of the head") and float(line[1]) >= 0 for line in lines)
