"""What runs in the workers of a Dask cluster: they load the model once, and fill parts of scenes."""

from __future__ import annotations

import functools
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin, get_worker

from sgovss.errors import InputError
from sgovss.rasters.partial import UnitPixels
from sgovss.rasters.plan import ScenePlan
from sgovss.rasters.scene import SceneMapper
from sgovss.rasters.units import Unit


class MapperPlugin(WorkerPlugin):
    """Holds the model of one run in each worker, also in those that join later. It is loaded for the first part.

    Args:
        load: loads the mapper; it is sent to the workers.
        fingerprint: of the planner's model.
        folder: working folder of the planner, to which relative paths in ``load`` refer.
    """

    def __init__(self, load: Callable[[], SceneMapper], fingerprint: str, folder: str) -> None:
        self.name = f"sgovss-{uuid.uuid4().hex}"
        self._load, self._fingerprint, self._folder = load, fingerprint, folder

    def setup(self, worker: Any) -> None:
        """Called by Dask in each worker."""
        self._lock, self._where = threading.Lock(), worker.address

    @functools.cached_property
    def _mapper(self) -> SceneMapper:
        with _working_folder(self._folder):
            mapper = self._load()
            fingerprint = mapper.predictor.fingerprint  # may read files
        if fingerprint != self._fingerprint:
            raise InputError(
                f"worker {self._where}: its model differs from the planner's; give both the same files, the same "
                "version of sgovss and the same kind of device, or another --precision"
            )
        return mapper

    def mapper(self) -> SceneMapper:
        """The mapper of this worker.

        Raises:
            InputError: the model cannot be loaded here, or differs from the planner's.
        """
        with self._lock:
            return self._mapper


def fill_part(name: str, plan: ScenePlan, units: list[Unit], shared: bool) -> list[tuple[Unit, UnitPixels]] | None:
    """Fill a rectangle of units in a worker.

    Args:
        name: of the plugin.
        plan: with absolute paths.
        units: of :meth:`ScenePlan.parallel_order`.
        shared: write the pixels to files, and return None.
    """
    plugin = get_worker().plugins[name]
    assert isinstance(plugin, MapperPlugin)
    mapper = plugin.mapper()
    if shared:
        mapper.fill_files(plan, units)
        return None
    return [each for band in mapper.fill(plan, units) for each in band]


@contextmanager
def _working_folder(folder: str) -> Iterator[None]:
    """Work in a folder; on a machine that does not have it, change nothing."""
    before = Path.cwd()
    if Path(folder).is_dir():
        os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
