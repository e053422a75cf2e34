"""The unfinished outputs of a scene on disk, to which units are added one by one."""

from __future__ import annotations

import json
import logging
import os
import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio

from sgovss.errors import InputError
from sgovss.files import allocate, synchronize, write_json_atomically
from sgovss.rasters.areas import PixelAreas, pixel_areas
from sgovss.rasters.class_sums import Counts, count_classes
from sgovss.rasters.geotiff import (
    create_labels,
    create_probabilities,
    full_disk_as_such,
    label_bands,
    window_of,
    write_boxes,
)
from sgovss.rasters.no_data import NoData
from sgovss.rasters.picture import picture_factor, picture_part, picture_size
from sgovss.rasters.plan import ScenePlan
from sgovss.rasters.segment_sums import SumsFile, sums_dtype
from sgovss.rasters.segments import COPY
from sgovss.rasters.source import RasterSource
from sgovss.rasters.units import Unit
from sgovss.vocabulary import Vocabulary

logger = logging.getLogger(__name__)


class UnitPixels(NamedTuple):
    """The result of a unit.

    Attributes:
        labels: (h, w) class ids; :func:`no_class_id` where there is no data.
        confidence: (h, w) uint8 percents, 255 where there is no data; None if not wanted.
        probabilities: (T, h, w) uint8 percents of all classes; None if not wanted.
        picture: (h', w', 3) uint8, the scene as in the overview picture.
        sums: (N,) rows of :func:`sgovss.rasters.segment_sums.sums_dtype`; None without segments.
    """

    labels: np.ndarray
    confidence: np.ndarray | None
    probabilities: np.ndarray | None
    picture: np.ndarray
    sums: np.ndarray | None = None


class PartialOutputs:
    """A folder ``<target>.parts`` of unfinished outputs.

    It holds the plan, GeoTIFFs of which some tiles are written, the overview picture, and a ledger with one line of
    JSON for each finished unit. A unit is in the ledger when its tiles are on the disk and have been read back.

    Args:
        plan: the plan of the scene, which is that of the folder if there is one; see :func:`begun_plan`.
        source: the scene.
        legend, scored: classes of the labels and of the scores.
        confidence, probabilities: what is written besides the labels.

    Attributes:
        labels: the raster of class ids, and of percents if wanted.
        probabilities: the raster of the scores of all classes; None if not wanted.
        finished: the totals of each finished unit, in the order in which the units were added.
    """

    def __init__(
        self,
        plan: ScenePlan,
        source: RasterSource,
        legend: Vocabulary,
        scored: Vocabulary,
        confidence: bool,
        probabilities: bool,
    ) -> None:
        self.folder = folder_of(plan.target)
        self._source, self._legend = source, legend
        self._areas: PixelAreas | None = pixel_areas(source.crs, source.transform)
        self.plan = plan
        self.labels = self.folder / "labels.tif"
        self.probabilities = self.folder / "probabilities.tif" if probabilities else None
        self._picture, self._ledger = self.folder / "picture.npy", self.folder / "ledger.jsonl"
        self.finished: dict[Unit, Counts] = {}
        self._sums, self._rows = SumsFile(self.folder / "segments.sums"), sums_dtype(len(scored))
        self._places: dict[Unit, Sequence[int]] = {}
        begin(plan)
        if self._ledger.is_file():
            self._read_ledger()
        if not self.finished:
            self._begin(scored, confidence)

    def keep(self, results: Sequence[tuple[Unit, UnitPixels]]) -> None:
        """Add finished units. A unit that is there already is not changed.

        Raises:
            OSError: the disk is full, or the files cannot be written.
        """
        results = [(unit, pixels) for unit, pixels in results if unit not in self.finished]
        if not results:
            return
        files = self._files(results)
        for path, parts in files.items():
            write_boxes(path, [(self.plan.units.box(unit), pixels) for unit, pixels in parts.items()])
        sums = {unit: [_checksum(parts[unit]) for parts in files.values()] for unit, _ in results}
        for number, path in enumerate(files):
            self._expect(path, {unit: sums[unit][number] for unit in sums})
            synchronize(path)
        picture, factor = self._open_picture("r+"), picture_factor(self._source.height, self._source.width)
        for unit, pixels in results:
            picture[picture_part(self.plan.units.box(unit), factor)] = pixels.picture
        picture.flush()
        summed = [(unit, pixels.sums) for unit, pixels in results if pixels.sums is not None]
        if summed:
            places = self._sums.append([rows for _, rows in summed])
            self._places |= zip([unit for unit, _ in summed], places, strict=True)
        with self._ledger.open("a", encoding="utf-8") as ledger:
            for unit, pixels in results:
                counts, place = self._count(unit, pixels.labels), self._places.get(unit)
                entry = {"unit": unit, "crc": sums[unit], "counts": counts, "sums": place}
                ledger.write(json.dumps(entry) + "\n")
                self.finished[unit] = counts
        synchronize(self._ledger)

    def picture(self) -> np.ndarray:
        """The scene as in the overview picture, (h, w, 3) uint8."""
        return np.array(self._open_picture("r"))

    def sums(self, unit: Unit) -> np.ndarray:
        """The sums of the segments of a finished unit; see :class:`UnitPixels`."""
        rows = self._sums.read(self._places[unit], self._rows)
        assert rows is not None  # they were read when the ledger was
        return rows

    def remove(self) -> None:
        """Remove the folder."""
        remove_begun(self.plan.target)

    def _files(self, results: Sequence[tuple[Unit, UnitPixels]]) -> dict[Path, dict[Unit, np.ndarray]]:
        """The pixels (bands, h, w) of each file as they are written."""
        nodata = self._source.nodata
        files = {
            self.labels: {
                unit: label_bands(pixels.labels, pixels.confidence, self._legend, nodata) for unit, pixels in results
            }
        }
        if self.probabilities is not None:
            files[self.probabilities] = {
                unit: pixels.probabilities for unit, pixels in results if pixels.probabilities is not None
            }
        return files

    def _count(self, unit: Unit, labels: np.ndarray) -> Counts:
        return count_classes(labels, self.plan.units.box(unit), len(self._legend), self._areas)

    def _expect(self, path: Path, sums: Mapping[Unit, int]) -> None:
        """Read units back, because GDAL may not report that a full disk has cut off a file."""
        wrong = self._unequal(path, sums)
        if wrong:
            with full_disk_as_such(path):
                raise rasterio.errors.RasterioIOError(f"{path}: what was written cannot be read back")

    def _unequal(self, path: Path, sums: Mapping[Unit, int]) -> list[Unit]:
        """The units that cannot be read, or whose pixels have another checksum."""
        wrong = []
        with rasterio.open(path) as raster:
            for unit, expected in sums.items():
                try:
                    found = _checksum(raster.read(window=window_of(self.plan.units.box(unit))))
                except rasterio.errors.RasterioError:
                    found = None
                if found != expected:
                    wrong.append(unit)
        return wrong

    def _begin(self, scored: Vocabulary, confidence: bool) -> None:
        """Create the files without tiles."""
        self._ledger.unlink(missing_ok=True)
        create_labels(self.labels, self._source, self._legend, confidence)
        if self.probabilities is not None:
            create_probabilities(self.probabilities, self._source, scored)
        shape = *picture_size(self._source.height, self._source.width), 3
        np.lib.format.open_memmap(self._picture, "w+", np.uint8, shape)
        allocate(self._picture)

    def _open_picture(self, mode: str) -> np.memmap:
        return np.lib.format.open_memmap(self._picture, mode)

    def _read_ledger(self) -> None:
        """Find the finished units, without those whose tiles were damaged, for example by a power failure."""
        entries: dict[Unit, Any] = {}
        for line in self._ledger.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
                entries[Unit(*entry["unit"])] = entry
            except (ValueError, KeyError, TypeError):
                continue  # a line that was not finished
        damaged: set[Unit] = set()
        paths = [self.labels, *([] if self.probabilities is None else [self.probabilities])]
        for number, path in enumerate(paths):
            try:
                damaged |= set(self._unequal(path, {unit: entry["crc"][number] for unit, entry in entries.items()}))
            except rasterio.errors.RasterioError:
                damaged = set(entries)
        places = {unit: entry["sums"] for unit, entry in entries.items() if entry.get("sums") is not None}
        damaged |= {unit for unit, place in places.items() if self._sums.read(place, self._rows) is None}
        self._places = {unit: place for unit, place in places.items() if unit not in damaged}
        if damaged or not self._picture.is_file():
            logger.warning("%s: %d finished parts are damaged and are computed again", self.folder, len(damaged))
        if self._picture.is_file():
            self.finished = {unit: Counts(*e["counts"]) for unit, e in entries.items() if unit not in damaged}


UNITS = "units"
_PLAN = "plan.json"
_OURS = (
    _PLAN,
    "ledger.jsonl",
    "labels.tif",
    "probabilities.tif",
    "picture.npy",
    "segments.sums",
    COPY,
    "segments.table",
    "segments.tif",
    "merged.raw",
    "labels_again.tif",
    *(
        f"{name}.gpkg{ending}"
        for name in ("polygons", "squaring_regions", "squaring_outlines", "squaring_pieces")
        for ending in ("", "-journal")  # a journal is left if a process is killed while it writes
    ),
    "labels_overviews.tif",
    "labels_again_overviews.tif",
    "probabilities_overviews.tif",
)


def _checksum(pixels: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(pixels).data)


def folder_of(target: str | Path) -> Path:
    """The folder of the unfinished outputs of a scene."""
    target = Path(target)
    return target.with_name(f"{target.name}.parts")


def begin(plan: ScenePlan) -> ScenePlan:
    """Write the plan of a scene, unless there is one already; returns the plan that is there.

    Of several processes that do so at the same time, all get the same plan.

    Raises:
        InputError: the folder cannot be written to, or see :func:`begun_plan`.
    """
    folder = folder_of(plan.target)
    file = folder / _PLAN
    if not file.is_file():
        # Beside the folder: another process must not find the folder with anything but a plan.
        own = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.json")
        write_json_atomically(own, plan.as_json())
        folder.mkdir(exist_ok=True)
        try:
            os.link(own, file)  # fails where another process was faster, unlike a rename
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            own.replace(file)
        own.unlink(missing_ok=True)
    return begun_plan(plan) or plan


def begun_plan(plan: ScenePlan) -> ScenePlan | None:
    """The plan of the unfinished run with the same target; None if there is none.

    Raises:
        InputError: that run has other settings or was begun by another version, or the folder is not one of an
            unfinished run.
    """
    found = _read_plan(plan.target)
    if found is None:
        return None
    wanted = json.loads(json.dumps(plan.settings))
    changed = [key for key in sorted({*found.settings, *wanted}) if found.settings.get(key) != wanted.get(key)]
    if changed:
        raise InputError(
            f"{folder_of(plan.target)}: holds an unfinished run with other settings ({changed[0]}); give the same "
            "settings to continue it, or --restart to begin anew"
        )
    # Names may have changed since, such as that of a folder that was moved; `smallest` belongs to the outputs.
    return replace(found, path=plan.path, target=plan.target, smallest=plan.smallest)


def remove_begun(target: str | Path) -> None:
    """Remove the unfinished outputs of a scene; other files in the folder are kept.

    Raises:
        InputError: the folder is not one of an unfinished run.
    """
    if _stored_plan(target) is None:
        return
    folder = folder_of(target)
    for file in (folder / UNITS).glob("*.npz"):
        file.unlink(missing_ok=True)
    if (folder / UNITS).is_dir() and not any((folder / UNITS).iterdir()):
        (folder / UNITS).rmdir()
    # The plan last: without it, the rest would not be recognised.
    for name in reversed(_OURS):
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _read_plan(target: str | Path) -> ScenePlan | None:
    """Read the plan of an unfinished run; see :func:`begun_plan`."""
    content = _stored_plan(target)
    if content is None:
        return None
    try:
        plan = ScenePlan.from_json(content)
        NoData.from_json(plan.no_data)  # is read later, where a missing key would be no clear line
        return plan
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder_of(target)}: holds a run begun by another version of sgovss; continue it with that version, or "
            "give --restart to begin anew"
        ) from error


def _stored_plan(target: str | Path) -> dict[str, Any] | None:
    """Return the plan of an unfinished run of any version as JSON; None if there is none.

    Raises:
        InputError: the folder is not one of an unfinished run.
    """
    folder = folder_of(target)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        content = json.loads((folder / _PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict) or not content.keys() >= {"target", "units", "settings"}:
        raise InputError(
            f"{folder}: needed for unfinished parts, but holds something else; move it away, or give another --output"
        )
    return content
