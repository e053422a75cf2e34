"""The command ``sgovss benchmark``, and what it measures."""

from __future__ import annotations

import json

import pytest
import torch

from sgovss.commands.benchmark import main
from sgovss.engine.benchmark import measure_times
from sgovss.engine.step import StepTrainer
from sgovss.engine.workloads import Case, aerial_class_names, training
from sgovss.errors import InputError
from sgovss.vocabulary import Vocabulary

TINY = ["--config-file", "sgovss_tiny.yaml", "--classes", "3"]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["inference", "training"])
def test_a_model_is_timed_beside_its_bare_encoder(tmp_path, monkeypatch, task):
    monkeypatch.chdir(tmp_path)  # the measuring process finds sgovss from any folder
    argv = ["--tasks", task, *TINY, "--size", "128", "--repeats", "2", "--json", str(tmp_path / "figures.json")]
    assert main(argv) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    (row,) = figures["rows"]
    assert (row["config"], row["size"], row["classes"], row["precision"]) == ("sgovss_tiny", 128, 3, "float32")
    assert row["task"] == task and row["seconds"] > 0 and row["bare encoder"] > 0 and row["peak MB"] > 100
    assert "cores" in figures["machine"] and task in figures["command"]


@pytest.mark.slow
def test_parameters_and_operations(capsys):
    assert main(["--tasks", "parameters", *TINY[:-1], "3", "17", "--size", "256"]) == 0
    lines = {line.split("  ")[0]: line.split()[-2:] for line in capsys.readouterr().out.splitlines() if line}
    operations = [float(lines[f"operations at 256, {classes} classes"][0]) for classes in (3, 17)]
    assert 0 < float(lines["operations of the bare encoder at 256"][0]) < operations[0] < operations[1]
    assert "image_encoder" in lines and "total" in lines


def test_every_flag_reaches_the_measurement(monkeypatch, capsys):
    cases = []
    times = {"ours": [8.0, 10.0, 12.0], "bare": [1.0, 1.0, 1.0]}
    monkeypatch.setattr("sgovss.commands.benchmark.measure_times", lambda task, case: cases.append(case) or times)
    monkeypatch.setattr("sgovss.commands.benchmark.measure_memory", lambda task, case: cases.append(case) or 1.0)
    flags = ["--size", "96", "--batch", "5", "--repeats", "6", "--warm-up", "7", "--precision", "bfloat16", "--compile"]
    options = ["SEED", "3"]
    assert main(["--tasks", "inference", *TINY, *flags, "--synthetic", "--opts", *options]) == 0
    counts = {"batch": 5, "repeats": 6, "warm_up": 7}
    expected = Case("sgovss_tiny.yaml", options, 96, 3, "bfloat16", **counts, compiled=True, synthetic=True)
    assert cases == [expected] * 2
    # Times are of a batch of 5 images, the bare encoder's of one image.
    printed = capsys.readouterr().out
    header, _, row = printed.strip().splitlines()[-3:]
    column = header.index("x bare per image")
    assert float(row[column : column + len("x bare per image")]) == 10.0 / 5


def test_batches_and_accumulated_batches_of_training(monkeypatch, capsys):
    cases = []
    monkeypatch.setattr("sgovss.commands.benchmark.measure_times", lambda task, case: {"ours": [24.0], "bare": [1.0]})
    monkeypatch.setattr("sgovss.commands.benchmark.measure_memory", lambda task, case: cases.append(case) or 1.0)
    assert main(["--tasks", "training", *TINY, "--batch", "2", "4", "--accumulate", "1", "3"]) == 0
    assert [(case.batch, case.accumulate) for case in cases] == [(2, 1), (2, 3), (4, 1), (4, 3)]
    header, _, *rows = capsys.readouterr().out.strip().splitlines()[-6:]
    column = header.index("x bare per image")
    assert [float(row[column : column + len("x bare per image")]) for row in rows] == [12, 4, 6, 2]
    del cases[:]
    assert main(["--tasks", "inference", *TINY, "--batch", "2", "--accumulate", "1", "3"]) == 0
    assert [case.accumulate for case in cases] == [1]  # an inference accumulates nothing


@pytest.mark.parametrize("flag", ["--batch", "--accumulate"])
def test_no_batch(flag, capsys):
    assert main([*TINY, flag, "2", "0"]) == 2
    assert f"{flag} 0: give 1 or more" in capsys.readouterr().err


def test_the_training_step_is_that_of_the_trainer(monkeypatch):
    steps = []
    real = StepTrainer.run_step
    monkeypatch.setattr(StepTrainer, "run_step", lambda self: (steps.append(self), real(self))[1])
    workload = training(Case("sgovss_tiny.yaml", ("MODEL.DEVICE", "cpu"), size=64, classes=3))
    assert workload.device == torch.device("cpu") and not steps
    workload.run()
    (trainer,) = steps
    before = [parameter.detach().clone() for parameter in trainer.parameters]
    workload.run()
    assert trainer.guard.skipped == 0 and trainer.max_norm is not None
    assert any(not torch.equal(old, new) for old, new in zip(before, trainer.parameters, strict=True))


@pytest.mark.slow
def test_a_failed_measurement_is_one_line():
    with pytest.raises(InputError, match=r"inference-times of absent\.yaml: .*absent\.yaml"):
        measure_times("inference", Case("absent.yaml"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [(["--size", "0"], "--size 0: give 1 or more"), (["--warm-up", "-1"], "--warm-up -1: give 0 or more")],
)
def test_wrong_numbers_are_one_line(flags, message, capsys):
    assert main([*TINY, *flags]) == 2
    assert message in capsys.readouterr().err


def test_aerial_classes_are_those_of_the_datasets_and_all_different():
    vocabulary = Vocabulary.from_string(", ".join(aerial_class_names(459)))
    assert len(vocabulary) == 459 and aerial_class_names(10) == vocabulary.names[:10]
    with pytest.raises(InputError, match=r"--classes: .* 9999 are too many"):
        aerial_class_names(9999)
