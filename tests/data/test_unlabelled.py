"""Images without labels: found by folder or name, and drawn as often as asked for."""

from __future__ import annotations

import itertools

import pytest
import torch
from detectron2.data.samplers import RepeatFactorTrainingSampler
from PIL import Image

from sgovss.data import register_dataset
from sgovss.data.unlabelled import list_unlabelled, repeat_factors
from sgovss.errors import InputError


@pytest.fixture
def photos(tmp_path, monkeypatch):
    folder = tmp_path / "photos" / "inner"
    folder.mkdir(parents=True)
    for name in ("b.jpg", "a.png"):
        Image.new("RGB", (8, 6)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    return tmp_path / "photos"


def test_folders_and_datasets_give_images_without_labels(photos, fields, write_fields):
    register_dataset(fields, write_fields())
    records = list_unlabelled([str(photos), "fields_test"], "fields_train")
    assert [record["file_name"].rsplit("/", 1)[1] for record in records] == ["a.png", "b.jpg", "b_0.jpg"]
    assert all(set(record) == {"file_name", "dataset"} and record["dataset"] == "fields_train" for record in records)
    assert list_unlabelled(["photos"], "fields_train") == records[:2]  # below $DETECTRON2_DATASETS


@pytest.mark.parametrize(("name", "message"), [("nowhere", "neither a registered"), ("empty", "no image in this")])
def test_a_source_without_images_is_named(photos, tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        list_unlabelled([name], "fields_train")


@pytest.mark.parametrize(("labelled", "unlabelled", "share"), [(36, 2100, 0.25), (50, 3, 0.5), (10, 10, 0.1)])
def test_the_share_holds_however_many_there_are(labelled, unlabelled, share):
    sampler = RepeatFactorTrainingSampler(repeat_factors(torch.ones(labelled), unlabelled, share), seed=1)
    drawn = list(itertools.islice(sampler, 6000))
    assert sum(index >= labelled for index in drawn) / len(drawn) == pytest.approx(share, abs=0.02)
    assert set(range(labelled)) <= set(drawn)


@pytest.mark.parametrize("share", [0.0, 1.0, -1])
def test_a_share_that_leaves_nothing_is_refused(share):
    with pytest.raises(InputError, match="UNLABELLED_SHARE"):
        repeat_factors(torch.ones(3), 3, share)
