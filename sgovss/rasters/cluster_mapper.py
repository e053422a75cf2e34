"""Segment scenes on the workers of a Dask cluster. The process that calls plans scenes and writes outputs."""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distributed import Client
from distributed.scheduler import KilledWorker
from tqdm import tqdm

from sgovss.errors import InputError
from sgovss.inference.segmentation import Segmentation
from sgovss.rasters.names import absolute_name
from sgovss.rasters.plan import ScenePlan
from sgovss.rasters.scene import SceneMapper
from sgovss.rasters.units import Unit
from sgovss.rasters.worker import MapperPlugin, fill_part

logger = logging.getLogger(__name__)

_RETRIES = 2  # of a part that failed
_PATIENCE = 5.0  # seconds between checks of the cluster
_RESULT = 64 * 2**20  # bytes of a result that goes through the scheduler

Outcome = tuple[str, Path, Segmentation | BaseException]
"""A scene, folder and beginning of the names of its outputs, and its result or what went wrong."""


@dataclass(eq=False)
class _Scene:
    path: str
    target: Path
    plan: ScenePlan
    started: float
    left: int
    failed: bool = False


class ClusterMapper:
    """Segments scenes on the workers of a cluster.

    Args:
        client: of the cluster.
        mapper: the planner's.
        load: loads the same mapper in a worker.
        shared: whether the workers see the folder of the outputs; otherwise pixels go through the scheduler.
    """

    def __init__(
        self, client: Client, mapper: SceneMapper, load: Callable[[], SceneMapper], shared: bool = True
    ) -> None:
        self._client, self._mapper, self._shared = client, mapper, shared
        self._plugin = MapperPlugin(load, mapper.predictor.fingerprint, str(Path.cwd()))
        self._filling: dict[Any, _Scene] = {}
        self._finishing: dict[Any, _Scene] = {}
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._told = False

    def __call__(self, images: Iterable[tuple[str, Path]]) -> Iterator[Outcome]:
        """Segment scenes.

        Args:
            images: scenes, and folder and beginning of the names of the outputs of each.

        Yields:
            one outcome for each scene, in the order in which they are finished.

        Raises:
            InputError: the scheduler is lost. What is finished is kept.
        """
        try:
            self._client.register_plugin(self._plugin, name=self._plugin.name)
            # Outputs are written in a thread, so that the workers get parts of the next scenes meanwhile.
            with ThreadPoolExecutor(1) as writer, tqdm(total=0, unit="part", leave=False) as progress:
                parts = self._parts(list(images), writer, progress)
                part = next(parts, None)
                while part or self._filling or self._finishing:
                    # One for each worker: if a worker is lost, this counts against all parts that it was given.
                    while part and len(self._filling) < self._workers():
                        self._submit(*part)
                        part = next(parts, None)
                    yield from self._drained()
                    self._wait(writer, progress)
                yield from self._drained()
            self._client.unregister_worker_plugin(self._plugin.name)
        except (OSError, RuntimeError, CancelledError) as error:  # of the connection; those of a scene are outcomes
            raise self._lost() from error

    def _parts(
        self, images: list[tuple[str, Path]], writer: ThreadPoolExecutor, progress: tqdm[Any]
    ) -> Iterator[tuple[_Scene, list[Unit]]]:
        """Plan one scene after the other, and divide it."""
        for path, target in images:
            try:
                started, plan = time.monotonic(), self._mapper.plan(path, target)
                if (finished := self._mapper.finished(plan)) is not None:
                    self._outcomes.put((path, target, finished))
                    continue
                parts = self._divided(plan, self._mapper.missing(plan), len(images))
            except Exception as error:
                self._outcomes.put((path, target, error))
                continue
            scene = _Scene(path, target, plan, started, len(parts))
            progress.total = (progress.total or 0) + len(parts)
            progress.refresh()
            if not parts:
                self._finish(scene, writer)
            for units in parts:
                if not scene.failed:
                    yield scene, units

    def _divided(self, plan: ScenePlan, units: list[Unit], scenes: int) -> list[list[Unit]]:
        workers = math.ceil(max(1, self._workers()) / scenes)
        if self._shared:
            return [*plan.parallel_order(units, workers)]
        classes = len(self._mapper.scored) if self._mapper.options.probabilities else 0
        of_a_band = plan.units.rows * plan.units.width * (3 + classes)
        return [*plan.parallel_order(units, workers, max(1, _RESULT // of_a_band))]

    def _submit(self, scene: _Scene, units: list[Unit]) -> None:
        if scene.failed:  # since it was divided
            return
        plan = replace(scene.plan, path=absolute_name(scene.plan.path), target=str(Path(scene.plan.target).resolve()))
        future = self._client.submit(
            fill_part, self._plugin.name, plan, units, self._shared, retries=_RETRIES, pure=False
        )
        self._filling[future] = scene
        future.add_done_callback(self._events.put)

    def _wait(self, writer: ThreadPoolExecutor, progress: tqdm[Any]) -> None:
        """Wait for the end of a part or of a scene; return without one after a while, to look at the cluster again."""
        try:
            event = self._events.get(timeout=_PATIENCE)
        except queue.Empty:
            return
        if (scene := self._finishing.pop(event, None)) is not None:
            self._outcomes.put((scene.path, scene.target, event.exception() or event.result()))
        elif (scene := self._filling.pop(event, None)) is not None:
            progress.update()
            self._take(event, scene)
            if not scene.left and not scene.failed:
                self._finish(scene, writer)

    def _take(self, future: Any, scene: _Scene) -> None:
        """Take the result of a part."""
        error = future.exception() if future.status == "error" else None
        if error is None:
            if future.status != "finished":
                raise CancelledError
            if (results := future.result()) is not None:
                try:
                    self._mapper.write_files(scene.plan, results)
                except InputError as full:
                    error = full
        scene.left -= 1
        if error is not None:
            self._fail(scene, error)

    def _fail(self, scene: _Scene, error: Exception) -> None:
        """End a scene. Its other parts are not needed, its finished ones are kept."""
        if isinstance(error, KilledWorker):
            error = InputError(
                f"{scene.path}: {error.allowed_failures + 1} workers were lost while they filled the same part, "
                "perhaps for lack of memory; finished parts are kept, repeat the command to continue"
            )
        scene.failed = True
        self._outcomes.put((scene.path, scene.target, error))
        others = [future for future, of in self._filling.items() if of is scene]
        for future in others:
            del self._filling[future]
        self._client.cancel(others)

    def _finish(self, scene: _Scene, writer: ThreadPoolExecutor) -> None:
        future = writer.submit(self._mapper.finish, scene.plan, scene.started)
        self._finishing[future] = scene
        future.add_done_callback(self._events.put)

    def _drained(self) -> Iterator[Outcome]:
        while not self._outcomes.empty():
            yield self._outcomes.get()

    def _workers(self) -> int:
        """Number of parts that the workers can fill at the same time."""
        found = sum(self._client.nthreads().values())
        if not found and not self._told:
            logger.warning("waiting for workers of %s", self._client.scheduler.address)
            self._told = True
        return found

    def _lost(self) -> InputError:
        return InputError("the scheduler is lost; start it again, and repeat the command: finished parts are kept")
