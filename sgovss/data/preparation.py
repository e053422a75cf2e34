"""Preparation of a published dataset: label conversion, tiling, and a journal that allows interruptions."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sgovss.data.archives import RawFile, RawFiles
from sgovss.data.listing import dataset_folder, is_beside
from sgovss.data.pair_conversion import Pair, PairConverter, Prepared
from sgovss.data.specification import DatasetSpecification
from sgovss.errors import InputError
from sgovss.files import atomic_path, sole_run
from sgovss.processes import map_in_processes

logger = logging.getLogger(__name__)

JOURNALS = ".prepared"


class Totals:
    """Running totals of a split.

    Attributes:
        pairs: number of published pairs.
        tiles: number of image-label pairs made from them.
        pixels: (T + 1,) number of pixels of each class in the published labels; ignored pixels last.
        images: (T + 1,) number of published labels with at least one such pixel.
        interpolated: names of the pairs whose labels may have been resized with interpolation.
    """

    def __init__(self, classes: int) -> None:
        self.pairs = self.tiles = 0
        self.interpolated: list[str] = []
        self.pixels, self.images = np.zeros(classes + 1, np.int64), np.zeros(classes + 1, np.int64)

    def add(self, prepared: Prepared) -> None:
        self.pairs += 1
        self.tiles += prepared.tiles
        self.pixels += prepared.pixels
        self.images += np.array(prepared.pixels) > 0
        if prepared.interpolated:
            self.interpolated.append(prepared.name)


class SplitPreparation:
    """Prepares one split; after an interruption, another run continues.

    A journal beside the data has one line for each finished pair. Another run skips the finished pairs. A run with
    other settings is refused, because old and new files would be mixed.

    Args:
        spec: a specification with ``preparation``; for a variant, its base is prepared.
        split: one of ``spec.preparation.splits``.
        source: the published data.
        root: the folder that holds the dataset's folder; default as in :func:`dataset_folder`.

    Raises:
        InputError: a label has no image, or the target folder is inside the source or contains it.
    """

    def __init__(self, spec: DatasetSpecification, split: str, source: RawFiles, root: str | Path | None) -> None:
        # A variant reads the files of its base, so those are the files to prepare.
        self.spec, self.split = (spec := spec.prepared_by), split
        self._source = source  # keeps the temporary files of compressed archives
        self.folder = dataset_folder(spec, root)
        self.pairs, self.unlabelled = _pairs(spec, split, source)
        self.passed_over = _passed_over(spec, split, source, {pair.name for pair in self.pairs})
        self.converter = PairConverter(spec, split, self.folder)
        _refuse_overlap(source.source, self.converter.folders)
        self._journal = self.folder / JOURNALS / f"{spec.name}_{split}.jsonl"

    @property
    def expected(self) -> str:
        """Description of the files that the source must have for this split, in one line."""
        raw = self.spec.required_preparation.splits[self.split]
        return f"labels {' or '.join(raw.labels)} and images {' or '.join(raw.images)}, in folders or archives"

    def run(self, workers: int) -> tuple[Totals, list[str]]:
        """Prepare all pairs that are not prepared yet.

        Args:
            workers: number of processes.

        Returns:
            The totals of all prepared pairs, and one line for each pair that could not be prepared.

        Raises:
            InputError: the target cannot be written to or was prepared with other settings, or another run is writing
                to it.
        """
        with sole_run(self._journal.parent, f".{self._journal.stem}.lock"):
            return self._run(workers)

    def _run(self, workers: int) -> tuple[Totals, list[str]]:
        totals, problems = Totals(len(self.spec.classes)), []
        done = self._open_journal(totals)
        waiting = (pair for pair in self.pairs if pair.name not in done)
        title = f"{self.spec.name}_{self.split}"
        left = sum(pair.name not in done for pair in self.pairs)
        progress = tqdm(total=left + len(done), initial=len(done), desc=title, unit="image", mininterval=1)
        try:
            with progress, self._journal.open("a", encoding="utf-8") as journal:
                attempt = partial(_attempt, converter=self.converter)
                for result in map_in_processes(attempt, waiting, workers if left else 1):
                    progress.update()
                    if isinstance(result, InputError):
                        problems.append(str(result))
                        continue
                    totals.add(result)
                    journal.write(json.dumps(vars(result)) + "\n")
                    journal.flush()
        except BrokenProcessPool as error:
            raise InputError(
                f"{self.folder}: a process was killed, perhaps because memory was short; give fewer --workers and run "
                "the command again, finished files are kept"
            ) from error
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot write here ({error.strerror}); solve this and run the command again, finished "
                "files are kept"
            ) from error
        return totals, problems

    def _open_journal(self, totals: Totals) -> set[str]:
        """Add the pairs of earlier runs to ``totals`` and return their names; create the journal if there is none."""
        settings, done = _settings(self.spec, self.split), set()
        stamps = {pair.name: pair.stamp for pair in self.pairs}
        # Rewrite the journal without a line that a crash cut off, and without pairs whose files no longer exist.
        with atomic_path(self._journal) as partial_journal, partial_journal.open("w", encoding="utf-8") as file:
            file.write(json.dumps(settings) + "\n")
            for number, entry in enumerate(_entries(self._journal)):
                if number == 0 and entry != settings:
                    raise InputError(
                        f"{self.folder}: {self.spec.name}_{self.split} was prepared with other settings; remove "
                        f"{self._journal} and the split's folders to prepare it anew, or give another --root"
                    )
                if number == 0:
                    continue
                found = Prepared(**{key: _frozen(value) for key, value in entry.items()})
                # A pair that is not in this source comes from another part of the download: keep it.
                same = stamps.get(found.name, found.stamp) == found.stamp
                if same and self.converter.is_there(found):
                    file.write(json.dumps(entry) + "\n")
                    totals.add(found)
                    done.add(found.name)
        return done


def _pairs(spec: DatasetSpecification, split: str, source: RawFiles) -> tuple[list[Pair], int]:
    """The pairs of a split, sorted by name, and the number of images without a label."""
    raw = spec.required_preparation.splits[split]
    labels = _selected(spec, split, source.find(raw.labels))
    # A pattern for images often matches the labels in the same folder.
    images = _selected(spec, split, source.find(raw.images, without=raw.labels))
    if alone := sorted(labels.keys() - images.keys()):
        raise InputError(
            f"{labels[alone[0]]}: no image '{alone[0]}' for this label ({len(alone)} such labels); expected "
            f"{' or '.join(raw.images)} in {source.source}"
        )
    return [Pair(name, images[name], labels[name]) for name in sorted(labels)], len(images) - len(labels)


def _passed_over(spec: DatasetSpecification, split: str, source: RawFiles, taken: Collection[str]) -> list[RawFile]:
    """The files that would be labels of a split if their suffix were the expected one, sorted by name."""
    splits = spec.required_preparation.splits
    of_any = [pattern for each in splits.values() for pattern in (*each.images, *each.labels)]
    others = _selected(spec, split, source.with_other_suffixes(splits[split].labels, of_any))
    return [file for name, file in sorted(others.items()) if name not in taken and not is_beside(str(file))]


def _selected(spec: DatasetSpecification, split: str, files: Mapping[str, RawFile]) -> dict[str, RawFile]:
    preparation, part = spec.required_preparation, spec.splits[split]
    raw = preparation.splits[split]
    # Leave out files that the split's own patterns would not match after preparation.
    tail = "" if preparation.tile is None else "_0_0_0_0"
    return {
        name: file
        for name, file in files.items()
        if any(fnmatchcase(name, pattern) for pattern in raw.select)
        and any(fnmatchcase(name + tail, pattern) for pattern in part.select)
    }


def _attempt(pair: Pair, converter: PairConverter) -> Prepared | InputError:
    try:
        return converter(pair)
    except InputError as error:
        return error


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _entries(journal: Path) -> Iterator[Any]:
    if not journal.is_file():
        return
    with journal.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                logger.warning("%s: skipping an incomplete line, left by a crash", journal)


def _settings(spec: DatasetSpecification, split: str) -> dict[str, Any]:
    """All settings that affect the files of a split, as plain JSON values."""
    settings = {
        "preparation": spec.required_preparation.model_dump(mode="json", exclude={"splits"}),
        "split": spec.splits[split].model_dump(mode="json", exclude={"count", "select"}),
        "values": spec.values,
        "raw_values": spec.raw_values,
        "mask_colors": spec.mask_colors,
        "ignore": spec.ignore.model_dump(mode="json"),
    }
    return json.loads(json.dumps(settings))


def _refuse_overlap(source: Path, folders: Sequence[Path]) -> None:
    source = source.resolve()
    for folder in folders:
        target = folder.resolve()
        if target == source or source in target.parents or target in source.parents:
            raise InputError(
                f"{folder}: the prepared data would be inside the source, or contain it; give another --root"
            )
