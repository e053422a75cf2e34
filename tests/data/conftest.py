"""A small published dataset: colour masks, images as JPEG, an archive for one of its splits."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

COLORS = np.array([[0, 160, 0], [0, 0, 200], [90, 90, 90], [0, 0, 0]], np.uint8)
SIZE = (100, 140)


def draw(folder: Path, scene: str, name: str, seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Write one image and its mask; returns the ids, 3 for ignored."""
    rng = np.random.default_rng(seed)
    ids = np.kron(rng.integers(0, 4, (size[0] // 20, size[1] // 20)), np.ones((20, 20), int))
    image = COLORS[ids] // 2 + rng.integers(0, 100, (*size, 1), dtype=np.uint8)
    for part, picture, suffix in (("pictures", image, "jpg"), ("masks", COLORS[ids], "png")):
        (folder / scene / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / scene / part / f"{name}.{suffix}", quality=90)
    return ids


@pytest.fixture
def published(tmp_path: Path) -> SimpleNamespace:
    """``file``: the YAML file; ``source``: the raw data; ``ids``: name of each pair -> its (100, 140) ids."""
    source = tmp_path / "download"
    ids = {
        f"{scene}_{n}": draw(source / "train", scene, str(n), 10 * i + n)
        for i, scene in enumerate("ab")
        for n in (0, 1)
    }
    outside = tmp_path / "to_be_zipped"
    ids["c_0"] = draw(outside / "val", "c", "0", 30)
    with zipfile.ZipFile(source / "val.zip", "w") as archive:
        for path in outside.rglob("*.*"):
            archive.write(path, path.relative_to(outside))
    patterns = {
        split: {"images": f"{split}/{{*}}/pictures/{{*}}.jpg", "labels": f"{split}/{{*}}/masks/{{*}}.png"}
        for split in ("train", "val")
    }
    content = {
        "name": "shore",
        "title": "A shore",
        "source": "drawn by a test",
        "licence": None,
        "citation": None,
        "verified": "unverified",
        "ground_sample_distance": 0.5,
        "classes": [
            {"name": name, "color": color.tolist()}
            for name, color in zip(["grass", "water", "pier"], COLORS, strict=False)
        ],
        "ignore": {"values": [255], "colors": [[0, 0, 0]]},
        "splits": {split: {"images": f"{split}/images", "labels": f"{split}/labels"} for split in patterns},
        "preparation": {"labels": "colors", "tile": 64, "stride": 48, "splits": patterns},
    }
    return SimpleNamespace(content=content, file=tmp_path / "shore.yaml", source=source, ids=ids)


@pytest.fixture
def write_published(published) -> Callable[..., Path]:
    """Writes the YAML file, with changes to its ``preparation`` and to each of its splits."""

    def write(split: dict | None = None, **preparation) -> Path:
        content = published.content | {"preparation": published.content["preparation"] | preparation}
        content["splits"] = {name: part | (split or {}) for name, part in content["splits"].items()}
        published.file.write_text(yaml.safe_dump(content))
        return published.file

    return write
