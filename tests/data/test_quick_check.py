"""What is wrong with a dataset on disk is found before training."""

import logging
import re

import numpy as np
import pytest
from PIL import Image

from sgovss.data.quick_check import check_dataset
from sgovss.data.registration import register_dataset
from sgovss.data.specification_file import find_specification
from sgovss.errors import InputError


def test_a_good_dataset(fields, write_fields, caplog):
    register_dataset(fields, write_fields())
    with caplog.at_level(logging.WARNING):
        assert check_dataset("fields_train") == 2
        assert check_dataset("fields_test") == 1
    assert not caplog.records


def test_other_count_than_published_is_a_warning(fields, write_fields, caplog):
    register_dataset(fields, write_fields(keys=("b_0", "b_1")))
    with caplog.at_level(logging.WARNING):
        check_dataset("fields_test")
    assert "fields_test: 2 pairs here, 1 in the published dataset" in caplog.text


def test_sizes_that_differ(fields, write_fields):
    root = write_fields()
    Image.new("L", (31, 24)).save(root / "fields/labels/a_1.png")
    register_dataset(fields, root)
    with pytest.raises(InputError, match=r"labels/a_1\.png: label is 31x24 pixels, its image .*a_1\.jpg is 32x24"):
        check_dataset("fields_train", sample=1)


def test_label_value_outside_the_specification(fields, write_fields):
    root = write_fields()
    labels = np.ones((24, 32), np.uint8)
    labels[0, :5] = 77
    Image.fromarray(labels).save(root / "fields/labels/a_1.png")
    register_dataset(fields, root)
    with pytest.raises(InputError, match=r"labels/a_1\.png: label value 77 \(5 pixels\)"):
        check_dataset("fields_train")


def test_sample_is_spread_over_the_whole_list(fields, write_fields):
    root = write_fields(keys=tuple(f"a_{i}" for i in range(9)))
    Image.new("L", (32, 24), 99).save(root / "fields/labels/a_8.png")
    register_dataset(fields, root)
    assert check_dataset("fields_train", sample=1) == 9
    with pytest.raises(InputError, match=r"a_8\.png"):
        check_dataset("fields_train", sample=3)


def test_unreadable_image(fields, write_fields):
    root = write_fields()
    (root / "fields/images/a_0.jpg").write_bytes(b"")
    register_dataset(fields, root)
    with pytest.raises(InputError, match=r"a_0\.jpg: cannot read this image"):
        check_dataset("fields_train")


def test_unknown_dataset():
    with pytest.raises(InputError, match="not known"):
        check_dataset("nowhere_train")


REAL = [
    ("dubai_mbrsc", "all", 54),
    ("dronedeploy_sample", "all", 224),
    ("loveda_sample", "all", 3),
    ("potsdam_sample", "all", 1),
    ("vaihingen_sample", "all", 1),
    ("isaid_sample", "train", 1),
    ("isaid_sample", "val", 2),
]


@pytest.mark.parametrize(("name", "split", "count"), REAL, ids=[f"{name}_{split}" for name, split, _ in REAL])
def test_real_samples_pass(real_data, name, split, count):
    register_dataset(find_specification(f"{name}"), real_data)
    assert check_dataset(f"{name}_{split}", sample=1000) == count


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((1, 2), r"fields_train: no pixel of 'hedge' in the 2 labels read; if this is not as it should be"),
        ((0, 1), r"no pixel of 'river', 'hedge' in the 2 labels read, where 50 % of the pixels are ignored"),
        ((0, 0), r"no pixel of 'field', 'river', 'hedge' in the 2 labels read, where all of the pixels are ignored"),
    ],
)
def test_a_class_without_a_pixel_is_a_warning(fields, write_fields, caplog, values, message):
    root = write_fields()
    for name in ("a_0", "a_1"):
        labels = np.repeat(np.array(values, np.uint8), 16)[None].repeat(24, axis=0)
        Image.fromarray(labels).save(root / f"fields/labels/{name}.png")
    register_dataset(fields, root)
    with caplog.at_level(logging.WARNING):
        check_dataset("fields_train")
    (record,) = caplog.records
    assert re.search(message, record.getMessage())


def test_a_sample_says_how_much_it_is(fields, write_fields, caplog):
    root = write_fields(keys=tuple(f"a_{i}" for i in range(9)))
    for i in range(9):
        Image.new("L", (32, 24), 1).save(root / f"fields/labels/a_{i}.png")
    register_dataset(fields, root)
    check_dataset("fields_train", sample=3)
    assert "no pixel of 'river', 'hedge' in the 3 of 9 labels read" in caplog.text


@pytest.mark.parametrize("number", [2, 3, 6])
@pytest.mark.parametrize(("side", "partner"), [("images/a_1.jpg", "label"), ("labels/a_1.png", "image")])
def test_turned_files_are_refused(fields, write_fields, number, side, partner):
    root = write_fields()
    tags = Image.Exif()
    tags[0x0112] = number
    with Image.open(root / "fields" / side) as image:
        image.load()
    image.save(root / "fields" / side, exif=tags)
    register_dataset(fields, root)
    with pytest.raises(InputError, match=rf"{side}: has EXIF orientation {number}, .* to match the {partner} and"):
        check_dataset("fields_train", sample=1)
