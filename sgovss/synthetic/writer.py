"""Writing folders of synthetic images, masks and captions."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from sgovss.errors import InputError
from sgovss.processes import map_in_processes
from sgovss.synthetic.classes import WIDE_VOCABULARY, vocabulary_of
from sgovss.synthetic.image import GENERATOR_VERSION, SyntheticImage, check_request, generate_image
from sgovss.synthetic.seeds import overlapping_splits

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class _Job:
    folder: Path
    split: str
    index: int
    seed: int
    size: int
    style: str


def write_images(
    root: Path | str,
    name: str,
    splits: Mapping[str, tuple[int, int]],
    size: int = 256,
    style: str = "a",
    workers: int = 2,
) -> Path:
    """Write a folder of synthetic images, unless it exists already.

    Layout of ``<root>/<name>``: ``images/<split>_0000.png`` (RGB), ``labels_id/<split>_0000.png`` (8-bit class ids),
    ``captions.jsonl`` (one JSON object per line with ``file``, ``split``, ``captions``, ``gsd`` and ``kind``) and
    ``manifest.json``. Files are written to a temporary folder, which is renamed when it is complete.

    Args:
        root: parent of the folder.
        name: name of the folder.
        splits: split name -> (first seed, number of images); the seeds of two splits may not overlap.
        size: side in pixels.
        style: a name in ``STYLES``.
        workers: number of processes; with 1, images are drawn in this process.

    Returns:
        The folder.

    Raises:
        InputError: splits, size or style are wrong, or the folder cannot be written to or holds other files.
    """
    _check_splits(splits)
    for first, _ in splits.values():
        check_request(first, size, style)
    folder = Path(root) / name
    wanted = {
        "name": name,
        "splits": {split: list(seeds) for split, seeds in splits.items()},
        "size": size,
        "style": style,
        "generator_version": GENERATOR_VERSION,
        "classes": vocabulary_of(style).names,
    }
    if _is_there(folder, wanted):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    except OSError as error:
        raise InputError(
            f"{folder.parent}: cannot write synthetic images here ({error.strerror}); give another folder"
        ) from error
    try:
        _fill(unfinished, splits, size, style, workers)
        (unfinished / MANIFEST).write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
        unfinished.chmod(0o755)
        if not _is_there(folder, wanted):
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _check_splits(splits: Mapping[str, tuple[int, int]]) -> None:
    if not splits:
        raise InputError("synthetic images: no split; give at least one, such as train: (0, 100)")
    for split, (_, count) in splits.items():
        if count < 1:
            raise InputError(f"synthetic images: split '{split}' asks for {count} images; give 1 or more")
    for other, split, _ in overlapping_splits(splits):
        raise InputError(f"synthetic images: splits '{other}' and '{split}' share seeds; move the first seed")


def _is_there(folder: Path, wanted: dict) -> bool:
    """Whether the folder exists; raises an InputError if it holds other images."""
    if not folder.exists():
        return False
    manifest = folder / MANIFEST
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} exists and has no readable {MANIFEST}; move it or choose another name") from error
    found = found if isinstance(found, dict) else {}
    differing = [key for key in wanted if found.get(key) != wanted[key]]
    if differing:
        what = ", ".join(f"{key} {found.get(key)} instead of {wanted[key]}" for key in differing)
        raise InputError(f"{folder} holds other images ({what}); remove it or choose another name")
    return True


def _fill(folder: Path, splits: Mapping[str, tuple[int, int]], size: int, style: str, workers: int) -> None:
    for part in ("images", "labels_id"):
        (folder / part).mkdir()
    jobs = [
        _Job(folder, split, index, first + index, size, style)
        for split, (first, count) in splits.items()
        for index in range(count)
    ]
    with (folder / "captions.jsonl").open("w", encoding="utf-8") as lines:
        for record in tqdm(
            map_in_processes(_write_one, jobs, workers if len(jobs) >= 16 else 1),
            total=len(jobs),
            desc="drawing images",
            unit="image",
            mininterval=1,
        ):
            lines.write(json.dumps(record) + "\n")


def _write_one(job: _Job) -> dict:
    drawn = generate_image(job.seed, job.size, job.style)
    file = f"{job.split}_{job.index:04d}.png"
    _save(job.folder / "images" / file, drawn.image[..., ::-1])
    _save(job.folder / "labels_id" / file, drawn.labels)
    return {
        "file": f"images/{file}",
        "split": job.split,
        "captions": drawn.captions,
        "gsd": round(drawn.gsd, 4),
        "kind": drawn.kind,
    }


def _save(path: Path, picture: np.ndarray) -> None:
    if not cv2.imwrite(str(path), picture):
        raise OSError(f"could not write {path}")


def contact_sheet(images: Sequence[SyntheticImage], columns: int = 4) -> np.ndarray:
    """Lay out images beside their masks in legend colours, ``columns`` pairs a row: (H, W, 3) uint8 RGB."""
    colors = WIDE_VOCABULARY.colors()
    pairs = [np.hstack([each.image, colors[each.labels]]) for each in images]
    pairs += [np.zeros_like(pairs[0])] * (-len(pairs) % columns)
    return np.vstack([np.hstack(pairs[row : row + columns]) for row in range(0, len(pairs), columns)])
