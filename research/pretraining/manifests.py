"""Caption manifests: reading, decoding, and the split into training and held-out images."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from sgovss.errors import InputError

SIDE = 256
IGNORE = 255
HOLD_OUT_EVERY = 5

UCM_SCENES = {
    "agricultural": "agricultural land",
    "airplane": "airplane",
    "baseballdiamond": "baseball diamond",
    "beach": "beach",
    "buildings": "buildings",
    "chaparral": "chaparral",
    "denseresidential": "dense residential area",
    "forest": "forest",
    "freeway": "freeway",
    "golfcourse": "golf course",
    "harbor": "harbor",
    "intersection": "intersection",
    "mediumresidential": "medium residential area",
    "mobilehomepark": "mobile home park",
    "overpass": "overpass",
    "parkinglot": "parking lot",
    "river": "river",
    "runway": "runway",
    "sparseresidential": "sparse residential area",
    "storagetanks": "storage tanks",
    "tenniscourt": "tennis court",
}
"""Folder names of UC Merced -> names of the scenes."""

RSICD_SCENES = {
    "Airport": "airport",
    "BareLand": "bare land",
    "BaseballField": "baseball field",
    "Beach": "beach",
    "Bridge": "bridge",
    "Center": "center building",
    "Church": "church",
    "Commercial": "commercial area",
    "DenseResidential": "dense residential area",
    "Desert": "desert",
    "Farmland": "farmland",
    "Forest": "forest",
    "Industrial": "industrial area",
    "Meadow": "meadow",
    "MediumResidential": "medium residential area",
    "Mountain": "mountain",
    "Park": "park",
    "Parking": "parking lot",
    "Playground": "playground",
    "Pond": "pond",
    "Port": "port",
    "RailwayStation": "railway station",
    "Resort": "resort",
    "River": "river",
    "School": "school",
    "SparseResidential": "sparse residential area",
    "Square": "square",
    "Stadium": "stadium",
    "StorageTanks": "storage tanks",
    "Viaduct": "viaduct",
}
"""Classes of AID, whose images RSICD describes -> names of the scenes."""


@dataclass(frozen=True)
class Record:
    """One line of a manifest: image, captions, and the name of the scene and the split if known."""

    image: Path
    captions: tuple[str, ...]
    scene: str | None
    part: str | None = None


def read_manifest(path: Path, root: Path) -> list[Record]:
    """Read jsonl lines ``{file, captions, class?, split?}``; files are relative to ``root``.

    If a line has no ``class`` and the image lies in a folder of UC Merced, the folder gives the scene.

    Raises:
        InputError: the manifest or an image is missing, or a line lacks a key.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read this manifest ({error})") from error
    records = [_record(line, f"{path}:{number}", root) for number, line in enumerate(lines, 1) if line.strip()]
    if not records:
        raise InputError(f"{path}: an empty manifest; write one {{file, captions}} object per line")
    return records


def _record(line: str, where: str, root: Path) -> Record:
    try:
        item = json.loads(line)
        image, captions = root / item["file"], tuple(caption.strip() for caption in item["captions"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{where}: expected a JSON object with 'file' and 'captions' ({error!r})") from error
    if not image.is_file():
        raise InputError(f"{where}: image {image} does not exist; correct the line or --images")
    if not captions:
        raise InputError(f"{where}: no caption; give at least one or remove the line")
    scene = item.get("class") or UCM_SCENES.get(image.parent.name)
    return Record(image, captions, scene and RSICD_SCENES.get(scene, scene), item.get("split"))


def split(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Split records into training and held-out ones: every fifth image of each scene, by file name, is held out.

    Records without a scene are all used for training, because scene accuracy needs the scene.
    """
    by_scene: dict[str | None, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: str(record.image)):
        by_scene[record.scene].append(record)
    training = list(by_scene.pop(None, []))
    held_out: list[Record] = []
    for group in by_scene.values():
        for index, record in enumerate(group):
            (held_out if index % HOLD_OUT_EVERY == HOLD_OUT_EVERY - 1 else training).append(record)
    return training, held_out


def published_split(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Split records by the ``split`` of their lines: ``test`` is held out, all else is for training."""
    return [r for r in records if r.part != "test"], [r for r in records if r.part == "test"]


def decode(path: Path, flags: int = cv2.IMREAD_COLOR_RGB) -> np.ndarray:
    """Read an image: (H, W, 3) uint8 RGB, or (H, W) with ``cv2.IMREAD_UNCHANGED`` for label files.

    Raises:
        InputError: the file is missing or is not an image.
    """
    array = cv2.imread(str(path), flags)
    if array is None:
        raise InputError(f"{path}: not a readable image; replace it or remove it from the manifest")
    return array


def load(records: Sequence[Record]) -> Tensor:
    """Read all images and resize them to 256 x 256: (N, 3, 256, 256) uint8 RGB.

    Raises:
        InputError: a file cannot be read.
    """
    return to_tensor([resize_square(image, SIDE) for image in decode_all([record.image for record in records])])


def decode_all(paths: Sequence[Path]) -> list[np.ndarray]:
    """Read images (H, W, 3) uint8 RGB in two threads.

    Raises:
        InputError: a file cannot be read.
    """
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(decode, paths))


def to_tensor(images: Iterable[np.ndarray]) -> Tensor:
    """Images (H, W, 3) of one size -> (N, 3, H, W)."""
    return torch.from_numpy(np.stack(list(images))).permute(0, 3, 1, 2).contiguous()


def resize_square(image: np.ndarray, side: int) -> np.ndarray:
    """Resize an image to a square unless it is one of this size already."""
    if image.shape[:2] == (side, side):
        return image
    smaller = side < min(image.shape[:2])
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
