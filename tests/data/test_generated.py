"""Generated datasets: drawn on first use, and described truly by their file."""

import pytest
from detectron2.data import DatasetCatalog

from sgovss.data.generated import ensure_generated
from sgovss.data.quick_check import check_dataset
from sgovss.data.registration import register_dataset
from sgovss.data.specification_file import find_specification
from sgovss.errors import InputError
from sgovss.synthetic import STYLES, SYNTHETIC_VOCABULARY


@pytest.fixture
def scenes():
    """The shipped dataset, with few and small scenes."""
    spec = find_specification("generated_scenes")
    splits = {"train": (10000, 2), "val": (20000, 1), "test": (30000, 1)}
    return spec.model_copy(update={"generator": spec.generator.model_copy(update={"size": 64, "splits": splits})})


def test_file_and_generator_agree():
    spec = find_specification("generated_scenes")
    assert spec.vocabulary == SYNTHETIC_VOCABULARY
    assert spec.values == tuple((i,) for i in range(len(SYNTHETIC_VOCABULARY)))
    assert spec.generator.style in STYLES
    assert {name: count for name, (_, count) in spec.generator.splits.items()} == {
        name: split.count for name, split in spec.splits.items()
    }


def test_drawn_on_first_use(scenes, tmp_path, monkeypatch):
    monkeypatch.setenv("SGOVSS_CACHE", str(tmp_path / "cache"))
    register_dataset(scenes)
    assert not (tmp_path / "cache").exists()
    assert check_dataset("generated_scenes_train") == 2
    assert check_dataset("generated_scenes_test") == 1
    [record] = DatasetCatalog.get("generated_scenes_val")
    assert record["file_name"] == str(tmp_path / "cache" / "generated_scenes" / "images" / "val_0000.png")


def test_other_settings_are_not_taken_for_these(scenes, tmp_path):
    folder = ensure_generated(scenes, tmp_path)
    assert ensure_generated(scenes, tmp_path) == folder
    other = scenes.model_copy(update={"generator": scenes.generator.model_copy(update={"size": 96})})
    with pytest.raises(InputError, match="holds other images"):
        ensure_generated(other, tmp_path)


def test_a_dataset_without_generator(fields, tmp_path):
    with pytest.raises(InputError, match="'fields' has no 'generator'"):
        ensure_generated(fields, tmp_path)
