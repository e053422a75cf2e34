"""Dataset specifications: the shipped files, and what a wrong file is told."""

from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from pydantic import ValidationError

from sgovss.data.specification import DatasetSpecification
from sgovss.data.specification_file import find_specification, load_specification
from sgovss.errors import InputError
from sgovss.paths import dataset_files

GOOD = """\
name: fields
title: Two classes for tests
source: null
licence: null
citation: null
verified: unverified
ground_sample_distance: null
classes:
  - {name: field, color: [1, 2, 3], value: [1, 4]}
  - {name: river, synonyms: [water], color: [4, 5, 6], value: 2}
ignore:
  values: [0, 255]
  colors: [[0, 0, 0]]
splits:
  train: {images: images, labels: labels, count: 2}
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "fields.yaml"
        path.write_text(text)
        return path

    return write


def edited(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


@pytest.mark.parametrize("path", dataset_files(), ids=lambda path: path.stem)
def test_shipped_files_are_valid_and_named_after_their_dataset(path):
    spec = load_specification(path)
    assert spec.name == path.stem
    assert spec.root is None
    assert spec.references or spec.generator is not None


PUBLISHED = [
    "dlrsd", "isaid", "isaid_with_background", "potsdam", "potsdam_without_clutter", "vaihingen",
    "vaihingen_without_clutter", "loveda", "uavid", "uavid_merged_cars", "udd5", "vdd", "floodnet", "flair",
    "fast", "landdiscover50k", "openearthmap", "deepglobe_land_cover", "gid", "samrs_sota", "samrs_sior",
    "ovrsis95k", "whu_aerial", "whu_satellite_2", "inria", "xbd_building", "chn6_cug", "deepglobe_road",
    "massachusetts_road", "spacenet_road", "wbs_si",
]  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_datasets_can_be_prepared(name):
    """Each has a way from its download to training, splits that are made or made up of those made, and sources."""
    spec = find_specification(name)
    assert spec.source and spec.references and spec.notes
    made = {folder for split in spec.preparation.splits for folder in spec.splits[split].images}
    ready_made = name == "dlrsd"
    assert ready_made or all(set(split.images) <= made for split in spec.splits.values())


def test_numbers_of_classes_are_those_of_the_benchmarks():
    expected = {
        "dlrsd": 17, "isaid": 15, "isaid_with_background": 16, "potsdam": 6, "potsdam_without_clutter": 5, "loveda": 7,
        "loveda_with_no_data": 8, "uavid": 8, "uavid_merged_cars": 7, "udd5": 5, "vdd": 7, "floodnet": 10, "flair": 12,
        "fast": 37, "landdiscover50k": 39, "samrs_sota": 18, "samrs_sior": 20, "ovrsis95k": 35, "gid": 5,
        "whu_aerial": 2,
    }  # fmt: skip
    assert {name: len(find_specification(name).classes) for name in expected} == expected


@pytest.mark.parametrize("name", ["potsdam", "potsdam_without_clutter"])
def test_a_training_split_of_potsdam_leaves_out_7_10(name):
    spec = find_specification(name)
    tiles = spec.preparation.splits["train"].select
    patterns = spec.splits["train_without_7_10"].select
    chosen = [tile for tile in tiles if any(fnmatchcase(f"{tile}_0_512_512_1024", pattern) for pattern in patterns)]
    assert chosen == [tile for tile in tiles if tile != "7_10"]
    assert spec.splits["train_without_7_10"].count == spec.splits["train"].count // 24 * 23


def test_content_of_a_file(write):
    spec = load_specification(write(GOOD))
    assert spec.values == ((1, 4), (2,))
    assert spec.mask_colors == (((1, 2, 3),), ((4, 5, 6),))
    assert spec.vocabulary.names == ["field", "river"]
    assert spec.vocabulary[1].synonyms == ("water",)
    assert spec.splits["train"].images == ("images",)
    assert spec.splits["train"].select == ("*",)


def test_value_defaults_to_the_position(write):
    spec = load_specification(write(edited(", value: [1, 4]", "").replace("[0, 255]", "[255]")))
    assert spec.values == ((0,), (2,))


def test_relative_root_is_relative_to_the_file(write):
    path = write(GOOD + "root: data\n")
    assert load_specification(path).root == str(path.parent / "data")


WRONG = [
    ("  colors: [[0, 0, 0]]", "  colours: [[0, 0, 0]]", 13, "unknown key 'colours'; did you mean 'colors'"),
    ("synonyms: [water]", "wibble: 3", 10, "unknown key 'wibble'"),
    ("color: [4, 5, 6]", "color: [1, 2, 3]", 10, "colour [1, 2, 3] is used twice, for 'field' and 'river'"),
    ("[[0, 0, 0]]", "[[4, 5, 6]]", 13, "colour [4, 5, 6] is used twice, for 'river' and 'ignore'"),
    ("value: 2}", "value: 4}", 10, "value 4 is used twice, for 'field' and 'river'"),
    ("[0, 255]", "[0, 2]", 12, "value 2 is used twice, for 'river' and 'ignore'"),
    ("  values: [0, 255]\n", "", 11, "missing key 'values'"),
    ("name: river, ", "", 10, "missing key 'name'"),
    ("name: river", "id: 2, name: river", 10, "id 2 of 'river' should be 1"),
    ("name: river", "name: Field", 8, "stands twice"),
    ("name: river", "name: no", 10, "should be a valid string"),
    ("color: [4, 5, 6]", "color: [4, 5, 256]", 10, "less than or equal to 255"),
    ("color: [4, 5, 6]", "color: [4, 5]", 10, "missing key '2'"),
    ("value: 2}", "value: 9223372036854775808}", 10, "less than 9223372036854775808"),
    ("name: river", "name: river|stream", 10, "give the other names in 'synonyms'"),
    ("value: 2}", "value: yes}", 10, "valid integer"),
    ("verified: unverified", "verified: maybe", 6, "'real-sample', 'documented' or 'unverified'"),
    ("title:", "name: again\ntitle:", 2, "key 'name' stands twice"),
    ("name: fields", "name: my fields", 1, "match pattern"),
    ("labels: labels", "labels: images", 15, "the same files"),
    ("labels: labels", "labels: [a, b]", 15, "as many label folders as image folders"),
    ("[0, 255]", "[0, 255", 13, "not valid YAML"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), WRONG, ids=[case[3] for case in WRONG])
def test_a_wrong_file_is_told_the_line(write, old, new, line, message):
    path = write(edited(old, new))
    with pytest.raises(InputError) as caught:
        load_specification(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


MINIMAL = {
    "name": "fields",
    "classes": [{"name": "field"}, {"name": "river"}],
    "splits": {"train": {"images": "images", "labels": "labels"}},
}


def test_only_name_classes_and_splits_are_required(write):
    spec = load_specification(write(yaml.safe_dump(MINIMAL)))
    assert spec.title == "fields"
    assert spec.verified == "unverified"
    assert spec.values == ((0,), (1,))
    assert spec.ignore.values == spec.raw_ignored == ()
    for key in ("source", "licence", "citation", "ground_sample_distance", "notes", "root", "preparation", "generator"):
        assert getattr(spec, key) is None
    for key in MINIMAL:
        rest = {other: value for other, value in MINIMAL.items() if other != key}
        with pytest.raises(InputError, match=rf"fields.yaml:1: {key}: missing key '{key}'$"):
            load_specification(write(yaml.safe_dump(rest)))


def test_empty_class_list(write):
    content = yaml.safe_load(GOOD) | {"classes": []}
    with pytest.raises(InputError, match="'classes' is empty"):
        load_specification(write(yaml.safe_dump(content)))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words\n"])
def test_a_file_that_is_no_mapping(write, text):
    with pytest.raises(InputError, match="expected a mapping"):
        load_specification(write(text))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"gone\.yaml: cannot read"):
        load_specification(tmp_path / "gone.yaml")


GENERATOR = "generator: {style: b, size: 64, splits: {%s}}\n"


def test_generator_must_fill_the_splits(write):
    with pytest.raises(InputError, match=r"generator\.splits: these must be the dataset's splits: train"):
        load_specification(write(GOOD + GENERATOR % "test: [0, 3]"))


def test_generator_seeds_must_not_leak_between_splits(write):
    text = GOOD + "  val: {images: images, labels: labels}\n" + GENERATOR % "train: [0, 11], val: [10, 5]"
    with pytest.raises(InputError, match="seed 10 is also used by 'train'"):
        load_specification(write(text))


def test_specifications_from_python_are_checked_too():
    content = yaml.safe_load(GOOD)
    content["classes"][1]["value"] = 1
    with pytest.raises(ValidationError, match="value 1 is used twice"):
        DatasetSpecification.model_validate(content)


PALETTES = [
    ("dubai_mbrsc", "dubai_mbrsc/masks/{}.png", "dubai_mbrsc/labels_id/{}.png"),
    ("isaid_sample", "isaid_sample/val/images/{}_instance_color_RGB.png", "isaid_sample/val/labels_id/{}.png"),
]


@pytest.mark.parametrize(("name", "masks", "labels"), PALETTES, ids=[case[0] for case in PALETTES])
def test_colours_are_those_of_the_real_masks(real_data, name, masks, labels):
    """Every pixel of a published colour mask has the colour that the file states for its id."""
    spec = find_specification(name)
    colors = {color: index for index, of_class in enumerate(spec.mask_colors) for color in of_class}
    colors |= dict.fromkeys(spec.ignore.colors, 255)
    folder, pattern = (real_data / masks.format("*")).parent, masks.rsplit("/", 1)[1].format("*")
    found = sorted(folder.glob(pattern))
    assert found
    for path in found[::6]:
        key = path.name.removesuffix(pattern.lstrip("*"))
        mask = np.asarray(Image.open(path).convert("RGB"))
        ids = np.full(mask.shape[:2], -1)
        for color, index in colors.items():
            ids[(mask == color).all(axis=-1)] = index
        np.testing.assert_array_equal(ids, np.asarray(Image.open(real_data / labels.format(key))))


@pytest.mark.parametrize(
    "classes",
    [
        "field, river",
        ["field", "river"],
        {0: "field", 1: "river"},
        {"field": 0, "river": 1},
        "field\nriver",
        ["field", {"name": "river"}],
    ],
)
def test_classes_in_any_form_of_a_vocabulary(tmp_path, classes):
    path = tmp_path / "WORDS.YAML"
    splits = {"train": {"images": "i", "labels": "l"}}
    path.write_text(yaml.safe_dump({"name": "s", "classes": classes, "splits": splits}), encoding="utf-8-sig")
    spec = find_specification(str(path))
    assert [entry.name for entry in spec.classes] == ["field", "river"]
    assert spec.values == ((0,), (1,))


def test_synonyms_after_bars(tmp_path):
    content = {"name": "s", "classes": ["field|farmland", "river"], "splits": {"train": {"images": "i", "labels": "l"}}}
    assert DatasetSpecification.model_validate(content).classes[0].synonyms == ("farmland",)


def test_prepared_labels_hold_16_bits_but_ignored_values_may_be_any():
    content = {
        "name": "s",
        "classes": [{"name": "field", "color": [0, 9, 0]}],
        "ignore": {"values": [-9999]},
        "splits": {"train": {"images": "i", "labels": "l"}},
    }
    assert DatasetSpecification.model_validate(content).ignore.values == (-9999,)
    content["preparation"] = {"labels": "values", "splits": {"train": {"images": "p/{*}.png", "labels": "m/{*}.png"}}}
    with pytest.raises(ValueError, match="give the value, such as 255, of ignored pixels"):
        DatasetSpecification.model_validate(content)
    content["classes"][0]["value"] = -1
    with pytest.raises(ValueError, match="prepared labels hold 0 to 65535, not -1; give it as raw_value"):
        DatasetSpecification.model_validate(content)
