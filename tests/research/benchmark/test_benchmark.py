"""Measurements of the maintainers: the profile and the classes of large rasters."""

from __future__ import annotations

import json

import pytest

from research.benchmark.__main__ import main
from research.benchmark.scenes import write_scene


@pytest.mark.slow
def test_parts_of_a_profile_add_up_to_the_whole(capsys):
    assert main(["profile", "--config-file", "sgovss_tiny.yaml", "--size", "128", "--classes", "3"]) == 0
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    shares = {line[0]: float(line[2]) for line in lines if len(line) == 3 and line[2].replace(".", "").isdigit()}
    parts = {name: share for name, share in shares.items() if name != "all"}
    assert {"image encoder", "refinement", "decoder: stage 3"} <= parts.keys()
    assert sum(parts.values()) == pytest.approx(shares["all"], abs=1)
    assert any(line and line[0].startswith("floor of the head") and float(line[1]) >= 0 for line in lines)


@pytest.mark.slow
def test_the_parts_of_a_megapixel_add_up_to_the_whole(tmp_path, capsys):
    file = tmp_path / "parts.json"
    options = ["--size", "300", "--classes", "3", "--precisions", "float32", "--repeats", "2", "--json", str(file)]
    assert main(["megapixel", *options]) == 0
    (row,) = json.loads(file.read_text())["rows"]
    parts = {name: row[name] for name in ("read", "encoder", "head", "blend", "enlarge and choose", "write and rest")}
    assert all(each > 0 for each in parts.values())
    # Each is the median of two runs, rounded.
    assert sum(parts.values()) == pytest.approx(row["all"], rel=0.02, abs=6)


@pytest.mark.slow
def test_the_first_stride_is_what_others_are_compared_with(tmp_path):
    scene, file = tmp_path / "scene.tif", tmp_path / "strides.json"
    write_scene(scene, 1100, "tiles")
    assert main(["strides", "--files", str(scene), "--gsd", "0.3", "--strides", "256", "512", "--json", str(file)]) == 0
    first, last = json.loads(file.read_text())["rows"]
    assert first["mean"] == 0 < last["mean"] < 50
    assert first["windows"] > last["windows"]
