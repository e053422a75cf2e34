"""The benchmark runs as its commands and says what it measured."""

from __future__ import annotations

import json
from importlib import import_module

import pytest

from research.benchmark.scenes import scene_words
from sgovss.errors import InputError
from sgovss.vocabulary import Vocabulary


@pytest.mark.slow
@pytest.mark.parametrize("what", ["inference", "training"])
def test_a_model_is_timed_beside_its_bare_encoder(load_script, tmp_path, what):
    argv = [what, "--config-file", "sgovss_tiny.yaml", "--size", "128", "--classes", "3", "--repeats", "2"]
    assert import_module("research.benchmark.__main__").main([*argv, "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    (row,) = figures["rows"]
    assert (row["config"], row["size"], row["classes"], row["dtype"]) == ("sgovss_tiny", 128, 3, "float32")
    assert row["seconds"] > 0 and row["bare encoder"] > 0 and row["peak MB"] > 100
    assert "cores" in figures["machine"] and figures["command"].startswith(what)


def test_parameters_and_operations(load_script, capsys):
    argv = ["parameters", "--config-file", "sgovss_tiny.yaml", "--size", "256", "--classes", "3", "17"]
    assert import_module("research.benchmark.__main__").main(argv) == 0
    lines = {line.split("  ")[0]: line.split()[-2:] for line in capsys.readouterr().out.splitlines() if line}
    operations = [float(lines[f"operations at 256, {classes} classes"][0]) for classes in (3, 17)]
    assert 0 < float(lines["bare encoder at 256"][0]) < operations[0] < operations[1]


@pytest.mark.slow
def test_a_profile_shares_out_the_whole(load_script, capsys):
    argv = ["--config-file", "sgovss_tiny.yaml", "--size", "128", "--classes", "3"]
    assert import_module("research.benchmark.profile_model").main(argv) == 0
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    shares = {line[0]: float(line[2]) for line in lines if len(line) == 3 and line[2].replace(".", "").isdigit()}
    parts = {name: share for name, share in shares.items() if name != "all"}
    assert {"image encoder", "refinement", "decoder: stage 3"} <= parts.keys()
    assert sum(parts.values()) == pytest.approx(shares["all"], abs=1)
    assert any(line and line[0].startswith("floor of the head") and float(line[1]) >= 0 for line in lines)


def test_words_for_scenes_are_those_of_the_datasets_and_each_another():
    words = Vocabulary.from_string(", ".join(scene_words(459)))
    assert len(words) == 459 and scene_words(10) == words.names[:10]
    with pytest.raises(InputError, match="--classes: 9999 words of aerial images were asked for"):
        scene_words(9999)
