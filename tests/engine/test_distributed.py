"""Training and evaluation in several gloo processes on CPU, started by the command."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from PIL import Image

import train_net
from tests.engine.test_interruption import wait_until
from tests.engine.training import CONFIG, metrics_of, options_of, output_of, start_command

KEYS = (*(f"a_{number}" for number in range(7)), *(f"b_{number}" for number in range(4)))

# Relative. In the first step only the order of float32 sums differs (up to 1e-7). AdamW's first steps depend on the
# sign of small gradients, so the difference may grow tenfold a step: on a Xeon, the norm of the gradient differed by
# 1.3e-3 after five steps with two processes, and by 4e-7 with three.
FIRST_TOLERANCE, TOLERANCE = 1e-5, 1e-2


@pytest.fixture
def options(run_options, write_fields) -> list[str]:
    """Options of a run: seven training images, one of them completely ignored, four test images, six per step."""
    folder = write_fields(KEYS) / "fields" / "labels"
    Image.new("L", (32, 24), 0).save(folder / "a_3.png")
    changes = {"SOLVER__IMS_PER_BATCH": 6, "SOLVER__WARMUP_ITERS": 0, "SOLVER__MAX_ITER": 6, "TEST__EVAL_PERIOD": 4}
    return options_of(run_options, **changes, SOLVER__CHECKPOINT_PERIOD=1000)


def run(processes: int, options: list[str], checkout: Path, *flags: str) -> tuple[int, str]:
    """Run the command; return its exit status and output."""
    log = output_of(options).parent / "log"
    log.unlink(missing_ok=True)
    arguments = [*CONFIG, "--num-gpus", str(processes), "--dist-url", "auto", *flags, *options]
    return start_command(arguments, checkout, log).wait(600), log.read_text()


def assert_close(first: list[dict[str, float]], second: list[dict[str, float]]) -> None:
    assert [line.keys() for line in first] == [line.keys() for line in second]
    for step, (one, other) in enumerate(zip(first, second, strict=True)):
        assert other == pytest.approx(one, rel=TOLERANCE if step else FIRST_TOLERANCE, abs=1e-6)


@pytest.mark.slow
def test_two_and_three_processes_train_and_score_as_one(options, checkout, tmp_path):
    curves, scores = [], []
    for processes in (1, 2, 3):
        folder = tmp_path / f"by_{processes}"
        status, said = run(processes, options_of(options, OUTPUT_DIR=folder), checkout)
        assert status == 0, said[-3000:]
        curves.append(metrics_of(folder))
        weights = options_of(options, OUTPUT_DIR=tmp_path / "scored", MODEL__WEIGHTS=tmp_path / "by_1/model_final.pth")
        status, said = run(processes, weights, checkout, "--eval-only")
        assert status == 0, said[-3000:]
        results = json.loads((tmp_path / "scored" / "evaluation" / "fields_test.json").read_text())
        scores.append({key: value for key, value in results.items() if key != "settings"})
    assert curves[0][0]["loss_pixel"] > 1.1 * curves[0][-2]["loss_pixel"]
    assert_close(curves[0], curves[1])
    assert_close(curves[0], curves[2])
    assert scores[0]["images"] == 4
    assert scores[0] == scores[1] == scores[2]


@pytest.mark.slow
def test_a_signal_to_the_launching_process_saves_and_more_processes_can_resume_the_run(options, checkout, tmp_path):
    status, said = run(1, options_of(options, OUTPUT_DIR=tmp_path / "whole", SOLVER__MAX_ITER=30), checkout)
    assert status == 0, said[-3000:]
    options = options_of(options, SOLVER__MAX_ITER=30)
    folder, log = output_of(options), tmp_path / "launch_log"
    process = start_command([*CONFIG, "--num-gpus", "2", "--dist-url", "auto", *options], checkout, log)
    wait_until(lambda: (folder / "metrics.json").exists() and len(metrics_of(folder)) >= 2, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130, log.read_text()[-3000:]
    steps = len(metrics_of(folder))
    assert (folder / "last_checkpoint").read_text() == f"model_{steps - 1:07d}.pth"
    status, said = run(3, options, checkout, "--resume")
    assert status == 0, said[-3000:]
    assert [line["iteration"] for line in metrics_of(folder)] == list(range(31))
    assert_close(metrics_of(tmp_path / "whole")[:8], metrics_of(folder)[:8])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_an_exception_in_one_process_ends_all_with_its_message(options, checkout, tmp_path, workers):
    Image.new("L", (32, 24), 77).save(tmp_path / "fields" / "labels" / "a_5.png")
    changes = {"DATASETS__CHECKED_LABELS": 1, "SOLVER__IMS_PER_BATCH": 2, "DATALOADER__NUM_WORKERS": workers}
    status, said = run(2, options_of(options, **changes), checkout)
    assert status == 2
    last = said.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "a_5.png: label value 77" in last


def test_fewer_images_than_processes_is_an_error(run_options, capsys):
    assert train_net.main([*CONFIG, "--num-gpus", "2", *run_options]) == 2
    assert "fields_test has fewer images than the 2 processes" in capsys.readouterr().err


def test_a_batch_that_cannot_be_divided_evenly_is_an_error(options, capsys):
    changed = options_of(options, SOLVER__IMS_PER_BATCH=5)
    assert train_net.main([*CONFIG, "--num-gpus", "2", *changed]) == 2
    assert "IMS_PER_BATCH: 5 images cannot be divided evenly among 2 processes" in capsys.readouterr().err
