"""The record of seed and versions in a run's folder, and the seed of a resumed run."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import torch

from sgovss.config import load_config
from sgovss.engine.environment import commit, recorded_seed, write_environment
from sgovss.engine.seeds import adopt_seed


def config_of(folder, seed: int):
    cfg = load_config("sgovss_tiny.yaml", ["SEED", str(seed), "OUTPUT_DIR", str(folder)])
    cfg.freeze()
    return cfg


def test_the_file_names_seed_and_versions(tmp_path, checkout):
    write_environment(tmp_path, 7, 2)
    content = json.loads((tmp_path / "environment.json").read_text())
    assert (content["seed"], content["processes"]) == (7, 2)
    assert (content["torch"], content["numpy"]) == (torch.__version__, np.__version__)
    assert {"python", "detectron2", "open_clip", "sgovss"} <= content.keys()
    if (checkout / ".git").exists():
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=checkout, check=True)
        assert head.stdout.startswith(commit().rstrip("+"))


def test_a_seed_is_drawn_where_none_is_given_and_kept_when_resumed(tmp_path):
    first, other = config_of(tmp_path, -1), config_of(tmp_path, -1)
    adopt_seed(first, resume=True)
    adopt_seed(other, resume=True)
    assert first.SEED >= 0
    assert first.SEED != other.SEED  # there is no run to resume yet
    write_environment(tmp_path, first.SEED, 1)
    for resume, expected in ((True, True), (False, False)):
        cfg = config_of(tmp_path, -1)
        adopt_seed(cfg, resume)
        assert (first.SEED == cfg.SEED) is expected
    given = config_of(tmp_path, 5)
    adopt_seed(given, resume=True)
    assert given.SEED == 5


def test_a_damaged_record_gives_no_seed(tmp_path):
    (tmp_path / "environment.json").write_text("{")
    assert recorded_seed(tmp_path) == -1
