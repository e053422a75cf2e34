"""Finished units as files, through which other processes hand them to the one that writes the outputs."""

from __future__ import annotations

import json
import logging
import uuid
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

import numpy as np

from sgovss.errors import InputError
from sgovss.files import replace_durably
from sgovss.rasters.partial import UNITS, PartialOutputs, UnitPixels, folder_of
from sgovss.rasters.plan import ScenePlan
from sgovss.rasters.units import Unit

logger = logging.getLogger(__name__)


class UnitFiles:
    """The folder ``<target>.parts/units`` with one file for each unit that is not yet in the unfinished outputs.

    Many processes may write at the same time; a file is complete when it has its name. The names hold a checksum of the
    plan, so that a process that still works for an earlier run with other settings changes nothing.

    Args:
        plan: the plan of the scene.
    """

    def __init__(self, plan: ScenePlan) -> None:
        self._plan = plan
        self._folder = folder_of(plan.target) / UNITS
        settings = json.dumps([plan.settings, asdict(plan.units)], sort_keys=True)
        self._ending = f".{zlib.crc32(settings.encode()):08x}.npz"

    def found(self) -> set[Unit]:
        """The units that have a file."""
        names = [file.name.removesuffix(self._ending) for file in self._folder.glob(f"*{self._ending}")]
        return {Unit(*map(int, name.split("_"))) for name in names if not name.startswith(".")}

    def write(self, results: Sequence[tuple[Unit, UnitPixels]]) -> None:
        """Write finished units.

        Raises:
            InputError: the folder of the unfinished outputs does not exist here.
            OSError: the files cannot be written.
        """
        try:
            self._folder.mkdir(exist_ok=True)
        except FileNotFoundError as error:
            raise InputError(
                f"{self._folder.parent}: no such folder on this machine; give an --output that all machines share, "
                "or --shared-folder no"
            ) from error
        for unit, pixels in results:
            partial = self._folder / f".{uuid.uuid4().hex}.npz"
            arrays = {name: array for name, array in pixels._asdict().items() if array is not None}
            try:
                np.savez_compressed(partial, **arrays)
                replace_durably(partial, self._file(unit))
            finally:
                partial.unlink(missing_ok=True)

    def move_into(self, parts: PartialOutputs) -> None:
        """Add the units that have a file to the unfinished outputs, band by band, and delete the files.

        Raises:
            OSError: the outputs cannot be written.
        """
        found = self.found()
        order = [unit for part in self._plan.serial_order(found) for unit in part]
        for _, group in groupby(order, key=lambda unit: unit.band):
            band = [*group]
            parts.keep([(unit, pixels) for unit in band if (pixels := self._read(unit)) is not None])
            for unit in band:
                self._file(unit).unlink(missing_ok=True)

    def _file(self, unit: Unit) -> Path:
        return self._folder / f"{unit.strip}_{unit.band}{self._ending}"

    def _read(self, unit: Unit) -> UnitPixels | None:
        """Read a unit; None if its file is damaged."""
        try:
            with np.load(self._file(unit)) as content:
                pixels = UnitPixels(**{name: content.get(name) for name in UnitPixels._fields})
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            logger.warning("%s: damaged, this part is computed again (%s)", self._file(unit), error)
            return None
        return pixels
