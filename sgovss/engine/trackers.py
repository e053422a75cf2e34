"""Trackers of experiments, Weights & Biases and MLflow: they get the numbers of a training, if the config asks."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from sgovss.config_changes import EFFECTS, Effect
from sgovss.engine.metrics_file import StepWriter
from sgovss.errors import InputError
from sgovss.files import atomic_path
from sgovss.yaml_text import load_yaml

logger = logging.getLogger(__name__)

# Limits of one request to an MLflow server.
_METRICS_A_REQUEST, _PARAMETERS_A_REQUEST, _LONGEST_VALUE = 1000, 100, 500


class Tracker(StepWriter, ABC):
    """Base of the trackers. The tracked run starts with the first numbers.

    Its id is kept in the output folder, so that a resumed training continues the tracked run. If the tracker fails,
    there is a warning, and training goes on without it.

    Args:
        name: of the project or the experiment.
        cfg: the config of the training.
        resumed: whether this training continues an earlier one; asked when the tracked run starts.
    """

    TITLE, FILE = "", ""

    def __init__(self, name: str, cfg: CfgNode, resumed: Callable[[], bool]) -> None:
        super().__init__()
        self.name = name
        self.cfg = cfg
        self.resumed = resumed
        self._run: Any = None
        self._failed = False

    @abstractmethod
    def start(self, earlier: str | None) -> tuple[Any, str]:
        """Start the tracked run, or continue the one with the id ``earlier``; return it and its id."""

    @abstractmethod
    def send(self, run: Any, steps: Mapping[int, Mapping[str, float]]) -> None:
        """Send the numbers of some steps."""

    @abstractmethod
    def finish(self, run: Any, failed: bool) -> None:
        """End the tracked run."""

    def record(self, steps: Mapping[int, Mapping[str, float]]) -> None:
        if not self._failed:
            self._try(lambda: self._record(steps))

    def _record(self, steps: Mapping[int, Mapping[str, float]]) -> None:
        if self._run is None:
            file = Path(self.cfg.OUTPUT_DIR) / self.FILE
            earlier = file.read_text(encoding="utf-8") if self.resumed() and file.is_file() else None
            self._run, current = self.start(earlier)
            with atomic_path(file) as partial:
                partial.write_text(current, encoding="utf-8")
        self.send(self._run, steps)

    def close(self) -> None:
        super().close()
        if self._run is not None:
            # Detectron2 closes its writers while an error or the exit after a signal passes through.
            failed = sys.exc_info()[0] is not None
            self._try(lambda: self.finish(self._run, failed))
            self._run = None

    def _try(self, action: Callable[[], None]) -> None:
        """Do something that needs the tracker's server, which may be away; then give up, because waiting costs time."""
        try:
            action()
        except Exception as error:  # a server may fail in any way
            self._run, self._failed = None, True
            said = " ".join(str(error).split())[:300]
            logger.warning("%s failed (%s); training goes on without it; see metrics.json", self.TITLE, said)


class WandbTracker(Tracker):
    """Sends the numbers to Weights & Biases; with WANDB_MODE=offline it writes them to ``OUTPUT_DIR/wandb``."""

    TITLE, FILE = "Weights & Biases", "wandb_run"

    def start(self, earlier: str | None) -> tuple[Any, str]:
        import wandb

        folder = Path(self.cfg.OUTPUT_DIR)
        run = wandb.init(
            project=self.name,
            name=folder.name,
            dir=str(folder),
            config=load_yaml(self.cfg.dump()),
            id=earlier,
            resume="allow",
            settings=wandb.Settings(console="off"),  # log.txt has the messages
        )
        return run, run.id

    def send(self, run: Any, steps: Mapping[int, Mapping[str, float]]) -> None:
        for step, numbers in steps.items():
            run.log(dict(numbers), step=step)

    def finish(self, run: Any, failed: bool) -> None:
        run.finish(exit_code=int(failed))


class MlflowTracker(Tracker):
    """Sends the numbers to the MLflow store of MLFLOW_TRACKING_URI."""

    TITLE, FILE = "MLflow", "mlflow_run"

    def start(self, earlier: str | None) -> tuple[Any, str]:
        client = _mlflow_client()
        if earlier is not None:
            client.update_run(earlier, status="RUNNING")
            return (client, earlier), earlier
        experiment = client.get_experiment_by_name(self.name)
        number = experiment.experiment_id if experiment else client.create_experiment(self.name)
        current = client.create_run(number, run_name=Path(self.cfg.OUTPUT_DIR).name).info.run_id
        for part in _parts(_settings(self.cfg), _PARAMETERS_A_REQUEST):
            client.log_batch(current, params=part)
        return (client, current), current

    def send(self, run: Any, steps: Mapping[int, Mapping[str, float]]) -> None:
        from mlflow.entities import Metric

        client, current = run
        now = int(1000 * time.time())
        metrics = [
            Metric(re.sub(r"[^\w\-. /]", "_", name), value, now, step)
            for step, numbers in steps.items()
            for name, value in numbers.items()
        ]
        for part in _parts(metrics, _METRICS_A_REQUEST):
            client.log_batch(current, metrics=part)

    def finish(self, run: Any, failed: bool) -> None:
        client, current = run
        client.set_terminated(current, status="FAILED" if failed else "FINISHED")


def trackers(cfg: CfgNode, resumed: Callable[[], bool]) -> list[StepWriter]:
    """The trackers that a config asks for; see :class:`Tracker`."""
    asked = ((cfg.LOGGING.WANDB, WandbTracker), (cfg.LOGGING.MLFLOW, MlflowTracker))
    return [kind(name, cfg, resumed) for name, kind in asked if name]


def check_trackers(cfg: CfgNode) -> None:
    """Check that the trackers of a config can start.

    Raises:
        InputError: a package is not installed, nobody is logged in at Weights & Biases, or MLflow's store cannot be
            read.
    """
    for key, package in (("WANDB", "wandb"), ("MLFLOW", "mlflow")):
        if cfg.LOGGING[key] and importlib.util.find_spec(package) is None:
            raise InputError(
                f"LOGGING.{key}: {package} is not installed; run pip install 'sgovss[{package}]', or leave the key out"
            )
    if cfg.LOGGING.WANDB and os.environ.get("WANDB_MODE", "online") == "online":
        import wandb

        if not wandb.api.api_key:
            raise InputError("LOGGING.WANDB: nobody is logged in; run 'wandb login', or set WANDB_MODE=offline")
    if cfg.LOGGING.MLFLOW:
        try:
            _mlflow_client().get_experiment_by_name(cfg.LOGGING.MLFLOW)
        except Exception as error:  # a server may fail in any way
            said = " ".join(str(error).split()).rstrip(".")
            raise InputError(f"LOGGING.MLFLOW: {said[:300]}; set MLFLOW_TRACKING_URI to a store that works") from error


def _mlflow_client() -> Any:
    from mlflow import MlflowClient

    return MlflowClient()


def _settings(cfg: CfgNode) -> list[Any]:
    """The keys that training or inference reads, as MLflow's parameters."""
    from mlflow.entities import Param

    found = []
    for key, effect in EFFECTS.items():
        if effect is not Effect.NONE:
            value: Any = cfg
            for name in key.split("."):
                value = value[name]
            found.append(Param(key, str(value)[:_LONGEST_VALUE]))
    return found


def _parts(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
