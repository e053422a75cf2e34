"""Two gloo processes on CPU through Detectron2's launch: the command as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import train_net
from tests.engine.test_train_net import CONFIG, options_of, output_of


@pytest.mark.slow
def test_two_processes_train_and_evaluate_and_score_as_one(run_options, write_fields, checkout):
    output = output_of(run_options)
    write_fields(("a_0", "a_1", "b_0", "b_1"))

    def command(*arguments: str) -> None:
        result = subprocess.run(
            [sys.executable, str(checkout / "train_net.py"), *CONFIG, *arguments],
            capture_output=True,
            text=True,
            timeout=600,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )
        assert result.returncode == 0, result.stderr[-3000:]

    command("--num-gpus", "2", "--dist-url", "auto", *run_options)
    together = json.loads((output / "evaluation" / "fields_test.json").read_text())
    weights = {"MODEL__WEIGHTS": str(output / "model_inference.pth"), "OUTPUT_DIR": str(output / "alone")}
    command("--eval-only", *options_of(run_options, **weights))
    alone = json.loads((Path(weights["OUTPUT_DIR"]) / "evaluation" / "fields_test.json").read_text())
    assert together["mIoU"] == pytest.approx(alone["mIoU"], abs=1e-6)
    assert together["images"] == alone["images"] == 2


def test_fewer_images_than_processes_is_an_error(run_options, capsys):
    assert train_net.main([*CONFIG, "--num-gpus", "2", *run_options]) == 2
    assert "fields_test has fewer images than the 2 processes" in capsys.readouterr().err
