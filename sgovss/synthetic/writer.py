"""Scenes on disk: folders of pictures, masks and captions that Detectron2 datasets can point to."""

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
from sgovss.synthetic.classes import SYNTHETIC_VOCABULARY
from sgovss.synthetic.scene import GENERATOR_VERSION, Scene, check_request, generate_image

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
    """Generate a folder of scenes, or find the one already there.

    Layout of ``<root>/<name>``: ``images/<split>_0000.png`` (RGB), ``labels_id/<split>_0000.png`` (8-bit class
    ids), ``captions.jsonl`` (``file``, ``split``, ``captions``, ``gsd``, ``kind`` a line) and ``manifest.json``.
    The folder appears under its name only when it is complete.

    Args:
        splits: split name -> (first seed, number of scenes); the seeds of two splits may not overlap.
        size: pixels a side.
        style: a name in ``STYLES``.
        workers: processes that draw; 1 draws in this one.

    Returns:
        The folder.

    Raises:
        InputError: splits, size or style are wrong, or the folder holds something else.
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
        "classes": SYNTHETIC_VOCABULARY.names,
    }
    if _is_there(folder, wanted):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    except OSError as error:
        raise InputError(f"{folder.parent}: cannot write generated scenes here ({error.strerror})") from error
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
        raise InputError("generated scenes: no split; give at least one, such as train: (0, 100)")
    taken: dict[str, range] = {}
    for split, (first, count) in splits.items():
        if count < 1:
            raise InputError(f"generated scenes: split '{split}' asks for {count} scenes; give 1 or more")
        seeds = range(first, first + count)
        for other, others in taken.items():
            if max(seeds.start, others.start) < min(seeds.stop, others.stop):
                raise InputError(f"generated scenes: splits '{other}' and '{split}' share seeds; move the first seed")
        taken[split] = seeds


def _is_there(folder: Path, wanted: dict) -> bool:
    """Whether the folder holds just what is wanted; an error when it holds something else."""
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
        raise InputError(f"{folder} holds other scenes ({what}); remove it or choose another name")
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
            desc="drawing scenes",
            unit="scene",
            mininterval=1,
        ):
            lines.write(json.dumps(record) + "\n")


def _write_one(job: _Job) -> dict:
    scene = generate_image(job.seed, job.size, job.style)
    file = f"{job.split}_{job.index:04d}.png"
    _save(job.folder / "images" / file, scene.image[..., ::-1])
    _save(job.folder / "labels_id" / file, scene.labels)
    return {
        "file": f"images/{file}",
        "split": job.split,
        "captions": scene.captions,
        "gsd": round(scene.gsd, 4),
        "kind": scene.kind,
    }


def _save(path: Path, picture: np.ndarray) -> None:
    if not cv2.imwrite(str(path), picture):
        raise OSError(f"could not write {path}")


def contact_sheet(scenes: Sequence[Scene], columns: int = 4) -> np.ndarray:
    """(H, W, 3) uint8 RGB: every scene beside its mask in legend colours, ``columns`` pairs a row."""
    colors = SYNTHETIC_VOCABULARY.colors()
    pairs = [np.hstack([scene.image, colors[scene.labels]]) for scene in scenes]
    pairs += [np.zeros_like(pairs[0])] * (-len(pairs) % columns)
    return np.vstack([np.hstack(pairs[row : row + columns]) for row in range(0, len(pairs), columns)])
