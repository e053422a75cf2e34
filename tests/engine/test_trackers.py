"""Weights & Biases and MLflow get the numbers of metrics.json, and a resumed training continues the tracked run."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import ClassVar

import pytest

import train_net
from sgovss.config import load_config
from sgovss.engine import trackers
from sgovss.engine.trackers import Tracker, check_trackers
from sgovss.errors import InputError
from tests.engine.training import CONFIG, metrics_of, options_of, output_of

TIMES = {"time", "data_time", "rank_data_time", "eta_seconds"}


class Recorded(Tracker):
    """Keeps what it is sent."""

    FILE = "recorded_run"
    CALLS: ClassVar[list[tuple]] = []

    def start(self, earlier):
        self.CALLS.append(("start", earlier))
        return self.CALLS, earlier or f"run {len(self.CALLS)}"

    def send(self, run, steps):
        run += [("step", step, {k: v for k, v in numbers.items() if k not in TIMES}) for step, numbers in steps.items()]

    def finish(self, run, failed):
        run.append(("finish", failed))


@pytest.fixture
def calls(monkeypatch) -> list[tuple]:
    """The calls of a tracker that stands for that of Weights & Biases."""
    monkeypatch.setattr(Recorded, "CALLS", [])
    monkeypatch.setattr(trackers, "WandbTracker", Recorded)
    monkeypatch.setattr("sgovss.engine.preparation.check_trackers", lambda cfg: None)
    return Recorded.CALLS


def test_each_step_is_sent_once_and_a_resumed_training_continues_the_run(run_options, calls):
    options = options_of(run_options, LOGGING__WANDB="mine", SOLVER__MAX_ITER=1)
    assert train_net.main([*CONFIG, *options]) == 0
    sent = [{**numbers, "iteration": step} for kind, step, numbers in calls[1:-1]]
    assert sent == metrics_of(output_of(options))
    assert "sem_seg/mIoU" in sent[-1]
    assert (calls[0], calls[-1]) == (("start", None), ("finish", False))
    del calls[:]
    options = options_of(options, DATASETS__TEST="()")
    assert train_net.main([*CONFIG, "--resume", *options_of(options, SOLVER__MAX_ITER=3)]) == 0
    assert calls[0] == ("start", "run 1")
    assert [step for kind, step, *_ in calls[1:-1]] == [1, 2]
    del calls[:]
    assert train_net.main([*CONFIG, *options]) == 0  # a new training in the same folder
    assert calls[0] == ("start", None)


def test_a_training_that_fails_is_marked(run_options, calls):
    changes = {"SOLVER__BASE_LR": "1e30", "SOLVER__WARMUP_ITERS": 0, "SOLVER__MAX_ITER": 9}
    options = options_of(run_options, LOGGING__WANDB="mine", SOLVER__NONFINITE_PATIENCE=2, **changes)
    assert train_net.main([*CONFIG, *options]) == 2
    assert calls[-1] == ("finish", True)


@pytest.mark.parametrize(
    ("broken", "steps"),
    [pytest.param("start", 2, marks=pytest.mark.slow), pytest.param("send", 21, marks=pytest.mark.slow), ("finish", 2)],
)
def test_a_tracker_that_fails_does_not_end_the_training(run_options, calls, monkeypatch, broken, steps):
    asked = []

    def fail(*_, **__):
        asked.append(broken)
        raise ConnectionError("the server\nis away")

    monkeypatch.setattr(Recorded, broken, fail)
    # Numbers are sent after 20 steps, and at the end.
    options = options_of(run_options, LOGGING__WANDB="mine", SOLVER__MAX_ITER=steps, DATASETS__TEST="()")
    assert train_net.main([*CONFIG, *options]) == 0
    assert asked == [broken]
    assert len([line for line in metrics_of(output_of(options)) if "total_loss" in line]) == steps
    log = (output_of(options) / "log.txt").read_text()
    assert log.count("failed (the server is away); training goes on without it") == 1


def test_nothing_is_tracked_by_default(run_options, calls):
    assert train_net.main([*CONFIG, *options_of(run_options, SOLVER__MAX_ITER=1)]) == 0
    assert calls == []


@pytest.mark.parametrize(("key", "package"), [("WANDB", "wandb"), ("MLFLOW", "mlflow")])
def test_a_package_that_is_absent_is_one_line_before_training(run_options, monkeypatch, capsys, key, package):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
    assert train_net.main([*CONFIG, *options_of(run_options, **{f"LOGGING__{key}": "mine"})]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"error: LOGGING.{key}: {package} is not installed; run pip install 'sgovss[{package}]'")
    assert not output_of(run_options).exists() or not list(output_of(run_options).glob("*.pth"))


@pytest.mark.slow
def test_weights_and_biases_offline(run_options, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    options = options_of(run_options, LOGGING__WANDB="mine")
    assert train_net.main([*CONFIG, *options]) == 0
    (file,) = (output_of(options) / "wandb").glob("offline-run-*/run-*.wandb")
    written = file.read_bytes()
    lines = metrics_of(output_of(options))
    assert len(lines) == 3
    for name, value in (pair for line in lines for pair in line.items() if pair[0] in ("total_loss", "sem_seg/mIoU")):
        assert name.encode() in written
        assert json.dumps(value).encode() in written


def test_weights_and_biases_without_a_login(monkeypatch, tmp_path):
    pytest.importorskip("wandb")
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(InputError, match=r"LOGGING.WANDB: nobody is logged in; run 'wandb login', or set WANDB_MODE"):
        check_trackers(load_config("sgovss_tiny.yaml", ["LOGGING.WANDB", "mine"]))


@pytest.fixture
def mlflow_store(tmp_path, monkeypatch) -> Path:
    """A store of files."""
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return tmp_path / "store"


@pytest.mark.slow
def test_mlflow_without_a_server(run_options, mlflow_store):
    from mlflow import MlflowClient

    options = options_of(run_options, LOGGING__MLFLOW="mine")
    assert train_net.main([*CONFIG, *options]) == 0
    assert train_net.main([*CONFIG, "--resume", *options_of(options, SOLVER__MAX_ITER=3)]) == 0
    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "output")
    assert run.data.params["MODEL.CLIP.NAME"] == "tiny"
    losses = {each.step: each.value for each in client.get_metric_history(run.info.run_id, "total_loss")}
    lines = metrics_of(output_of(options))
    assert losses == pytest.approx({line["iteration"]: line["total_loss"] for line in lines if "total_loss" in line})
    assert client.get_metric_history(run.info.run_id, "sem_seg/mIoU")[-1].value == pytest.approx(
        lines[-1]["sem_seg/mIoU"]
    )


def test_a_store_that_mlflow_cannot_read_is_one_line(mlflow_store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://store")
    with pytest.raises(InputError, match=r"LOGGING.MLFLOW: .*nonsense.*; set MLFLOW_TRACKING_URI to a store"):
        check_trackers(load_config("sgovss_tiny.yaml", ["LOGGING.MLFLOW", "mine"]))
