"""A small dataset on disk, with labels that need a value map, and a clean catalog for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from sgovss.data.specification import DatasetSpecification


@pytest.fixture(autouse=True)
def catalogs() -> Iterator[None]:
    """What a test registers is gone after it."""
    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture
def fields() -> DatasetSpecification:
    """Three classes with raw values 1|4, 2 and 3, and 0 to ignore."""
    return DatasetSpecification.model_validate(
        {
            "name": "fields",
            "title": "Fields",
            "source": None,
            "licence": None,
            "citation": None,
            "verified": "unverified",
            "ground_sample_distance": 0.5,
            "classes": [
                {"name": "field", "synonyms": ["farmland"], "color": [9, 9, 0], "value": [1, 4]},
                {"name": "river", "color": [0, 0, 9], "value": 2},
                {"name": "hedge", "color": [0, 9, 0], "value": 3},
            ],
            "ignore": {"values": [0]},
            "splits": {
                "train": {"images": "images", "labels": "labels", "image_suffix": ".jpg", "select": "a_*"},
                "test": {"images": "images", "labels": "labels", "image_suffix": ".jpg", "select": "b_*", "count": 1},
            },
        }
    )


@pytest.fixture
def write_fields(tmp_path: Path) -> Callable[..., Path]:
    """Writes the files of the ``fields`` dataset below a root and returns the root."""

    def write(keys: tuple[str, ...] = ("a_0", "a_1", "b_0"), size: tuple[int, int] = (24, 32)) -> Path:
        folder = tmp_path / "fields"
        rng = np.random.default_rng(0)
        for name in ("images", "labels"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for key in keys:
            labels = rng.integers(0, 5, size).astype(np.uint8)
            Image.fromarray(np.repeat(labels[..., None] * 60, 3, axis=2)).save(folder / "images" / f"{key}.jpg")
            Image.fromarray(labels).save(folder / "labels" / f"{key}.png")
        return tmp_path

    return write
