"""Fixtures of the tests that need a CUDA device.

They use no fixture of the other tests, so that they also run where only the requirements of sgovss and pytest are
installed: ``pytest --confcutdir tests/cuda tests/cuda``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

DEVICE = "cuda"
CONFIG = "sgovss_vitb16_384.yaml"
SMALL_HEAD = {
    "MODEL.DEVICE": DEVICE,
    "MODEL.CLIP.WEIGHTS": "random",
    "MODEL.CLIP.KEEP_TEXT": "False",
    "TEST.SLIDING_WINDOW.ENABLED": "False",
    "INPUT.MIN_SIZE_TEST": "0",
    "SEED": "1",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def options_of(**changes: object) -> list[str]:
    """Options of a small run; in the names of keys, ``__`` stands for a dot."""
    options = {**SMALL_HEAD, **{key.replace("__", "."): str(value) for key, value in changes.items()}}
    return [part for pair in options.items() for part in pair]


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Remove the datasets that a test registers."""
    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture
def run_options(tmp_path: Path) -> dict[str, object]:
    """Keys and values for a training of four steps on eight images of coloured blocks, and three test images."""
    folder = tmp_path / "blocks"
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for key in (*(f"a_{number}" for number in range(8)), *(f"b_{number}" for number in range(3))):
        labels = np.kron(rng.integers(0, 4, (4, 4)), np.ones((32, 32))).astype(np.uint8)
        Image.fromarray(np.repeat(labels[..., None] * 60, 3, axis=2)).save(folder / "images" / f"{key}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{key}.png")
    classes = [{"name": name, "value": value} for value, name in enumerate(("field", "river", "hedge"), start=1)]
    split = {"images": "images", "labels": "labels", "image_suffix": ".png"}
    content = {
        "name": "blocks",
        "title": "Blocks",
        **dict.fromkeys(("source", "licence", "citation")),
        "verified": "unverified",
        "root": str(tmp_path),
        "classes": classes,
        "ignore": {"values": [0]},
        "splits": {"train": {**split, "select": "a_*"}, "test": {**split, "select": "b_*"}},
    }
    file = tmp_path / "blocks.yaml"
    file.write_text(yaml.safe_dump(content))
    return {
        "DATASETS__SPECIFICATIONS": f"('{file}',)",
        "DATASETS__TRAIN": "('blocks_train',)",
        "DATASETS__TEST": "('blocks_test',)",
        "INPUT__MIN_SIZE_TRAIN": "(128,)",
        "INPUT__CROP__SIZE": "[128,128]",
        "DATALOADER__NUM_WORKERS": 2,
        "SOLVER__IMS_PER_BATCH": 2,
        "SOLVER__MAX_ITER": 4,
        "SOLVER__CHECKPOINT_PERIOD": 2,
        "OUTPUT_DIR": tmp_path / "output",
    }
