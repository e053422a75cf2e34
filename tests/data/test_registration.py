"""Datasets in Detectron2's catalogs, and the vocabulary of training."""

import os

import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog

from sgovss.data.listing import list_pairs
from sgovss.data.registration import (
    dataset_metadata,
    held_out_ids,
    how_to_get,
    register_dataset,
    register_datasets,
    training_vocabulary,
)
from sgovss.data.specification_file import find_specification
from sgovss.errors import InputError


def test_records_and_metadata(fields, write_fields):
    root = write_fields()
    assert register_dataset(fields, root) == ["fields_train", "fields_test"]
    records = DatasetCatalog.get("fields_train")
    assert [record["file_name"] for record in records] == [str(root / f"fields/images/a_{i}.jpg") for i in (0, 1)]
    assert records[1]["sem_seg_file_name"] == str(root / "fields/labels/a_1.png")
    assert records[0]["dataset"] == "fields_train"
    metadata = MetadataCatalog.get("fields_test")
    assert metadata.stuff_classes == ["field", "river", "hedge"]
    assert metadata.stuff_colors == [[9, 9, 0], [0, 0, 9], [0, 9, 0]]
    assert metadata.ignore_label == 255
    assert metadata.evaluator_type == "sgovss"
    assert metadata.vocabulary == fields.vocabulary
    assert metadata.stuff_dataset_id_to_contiguous_id == {1: 0, 2: 1, 3: 2}
    assert (metadata.specification, metadata.split, metadata.ground_sample_distance) == (fields, "test", 0.5)


def test_root_is_looked_up_when_the_list_is_made(fields, write_fields, monkeypatch, tmp_path):
    root = write_fields()
    register_dataset(fields)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "elsewhere"))
    with pytest.raises(InputError, match=r"elsewhere/fields/images: .* set DETECTRON2_DATASETS to the folder"):
        DatasetCatalog.get("fields_train")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
    assert len(DatasetCatalog.get("fields_train")) == 2


def test_registering_again_changes_nothing(fields, write_fields):
    root = write_fields()
    register_dataset(fields, root)
    register_dataset(fields, root)
    register_dataset(fields.model_copy())
    assert len(DatasetCatalog.get("fields_train")) == 2


def test_a_name_stands_for_one_dataset(fields, tmp_path):
    register_dataset(fields, tmp_path)
    with pytest.raises(InputError, match="'fields_train' belongs to another dataset already"):
        register_dataset(fields.model_copy(update={"title": "Other fields"}))
    with pytest.raises(InputError, match="is registered with root"):
        register_dataset(fields, tmp_path / "other")


def test_names_that_detectron2_has_taken(fields):
    split = {"val": fields.splits["train"]}
    with pytest.raises(InputError, match="'ade20k_sem_seg_val' belongs to another"):
        register_dataset(fields.model_copy(update={"name": "ade20k_sem_seg", "splits": split}))


def test_a_conflict_registers_none_of_the_splits(fields):
    register_dataset(fields.model_copy(update={"splits": {"test": fields.splits["train"]}}))
    with pytest.raises(InputError, match="'fields_test' belongs to another"):
        register_dataset(fields)
    assert "fields_train" not in DatasetCatalog


@pytest.mark.parametrize(
    ("lost", "message"), [("labels/a_1.png", "a_1.jpg: has no label"), ("images/a_1.jpg", "no im")]
)
def test_a_file_without_partner_is_an_error(fields, write_fields, lost, message):
    root = write_fields()
    (root / "fields" / lost).unlink()
    register_dataset(fields, root)
    with pytest.raises(InputError, match=message) as caught:
        DatasetCatalog.get("fields_train")
    assert str(root / "fields" / lost) in str(caught.value)
    assert len(DatasetCatalog.get("fields_test")) == 1


def test_no_image_at_all(fields, write_fields):
    register_dataset(fields, write_fields(keys=("a_0",)))
    with pytest.raises(InputError, match=r"no image of fields_test here; expected files like b_\*\.jpg"):
        DatasetCatalog.get("fields_test")


def test_a_link_back_to_its_own_folder_lists_nothing_twice(fields, write_fields):
    root = write_fields()
    for part in ("images", "labels"):
        (root / "fields" / part / "again").symlink_to(root / "fields")
    assert len(list_pairs(fields, "train", root)) == 2


def test_subfolders_and_several_folders(fields, tmp_path):
    split = {"images": ["city", "farm"], "labels": ["city_masks", "farm_masks"], "label_suffix": "_mask.png"}
    spec = fields.model_validate(fields.model_dump() | {"splits": {"all": split}})
    for key in ("city/x/1", "city/y/1", "farm/1"):
        top, rest = key.split("/", 1)
        for path in (f"{top}/{rest}.png", f"{top}_masks/{rest}_mask.png", f"{top}/.hidden.png"):
            file = tmp_path / "fields" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    register_dataset(spec, tmp_path)
    labels = [record["sem_seg_file_name"] for record in DatasetCatalog.get("fields_all")]
    expected = ("city_masks/x/1_mask.png", "city_masks/y/1_mask.png", "farm_masks/1_mask.png")
    assert labels == [str(tmp_path / "fields" / path) for path in expected]


def test_shipped_and_users_own_files(fields, tmp_path, monkeypatch):
    content = fields.model_dump(mode="json")
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content | {"name": name}))
    monkeypatch.setenv("SGOVSS_DATASETS", os.pathsep.join(str(tmp_path / f"{name}.yaml") for name in ("two", "three")))
    names = register_datasets([tmp_path / "one.yaml"])
    assert {"dubai_mbrsc_train", "generated_scenes_val", "one_train", "two_test", "three_train"} <= set(names)
    assert register_datasets([tmp_path / "one.yaml"]) == names


def test_unknown_dataset_lists_names_like_it(fields):
    register_dataset(fields)
    with pytest.raises(InputError, match="'field_train' is not known; there are fields_train"):
        dataset_metadata("field_train")
    with pytest.raises(InputError, match="not known"):
        dataset_metadata("ade20k_sem_seg_val")  # Detectron2's own: no label map, no vocabulary


def test_training_vocabulary_leaves_the_unseen_out(fields):
    register_dataset(fields)
    names = ["fields_train", "fields_test"]
    assert training_vocabulary(names).names == ["field", "river", "hedge"]
    assert training_vocabulary(names, ["River"]).names == ["field", "hedge"]
    assert training_vocabulary(names, ["farmland"]).names == ["river", "hedge"]
    assert held_out_ids(names, ["hedge", "farmland", "field"]) == (0, 2)
    assert held_out_ids(names, ["hedges", "Fields"]) == (0, 2)


def test_wrong_training_vocabularies(fields):
    register_dataset(fields)
    other = fields.model_dump() | {"name": "others", "classes": [{"name": "a", "value": 1}]}
    register_dataset(fields.model_validate(other))
    for names, unseen, message in [
        ([], [], "DATASETS.TRAIN names no training set"),
        (["fields_train"], ["lake"], "'lake' is not a class of fields_train; its classes are field, river, hedge"),
        (["fields_train"], ["field", "river", "hedge"], "holds out every class"),
        (["fields_train", "others_train"], [], "fields_train and others_train have different classes"),
        (["fields_trian"], [], "there are fields_train"),
    ]:
        with pytest.raises(InputError, match=message):
            training_vocabulary(names, unseen)


@pytest.mark.parametrize(("split", "tiles", "count"), [("train", "1234", 36), ("val", "5", 9), ("test", "6", 9)])
def test_dubai_is_split_by_tile(real_data, split, tiles, count):
    register_dataset(find_specification("dubai_mbrsc"), real_data)
    records = DatasetCatalog.get(f"dubai_mbrsc_{split}")
    assert len(records) == count
    assert {record["file_name"].split("/tile")[-1][0] for record in records} == set(tiles)


def test_detectron2_datasets_is_all_it_takes(real_data, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(real_data))
    names = [name for name in register_datasets() if how_to_get(name) is None]
    names = [name for name in names if dataset_metadata(name).specification.generator is None]
    counts = {name: len(DatasetCatalog.get(name)) for name in names}
    samples = {"dronedeploy_sample_all": 224, "loveda_sample_all": 3, "potsdam_sample_all": 1, "isaid_sample_val": 2}
    assert counts == counts | samples
