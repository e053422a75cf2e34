"""Variants of a dataset: other classes on the same prepared files, and messages about wrong variants."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sgovss.data.label_map import LabelMap
from sgovss.data.raw_labels import RawLabels
from sgovss.data.specification_file import find_specification, load_specification
from sgovss.errors import InputError

BASE = {
    "name": "streets",
    "source": "a test",
    "classes": [
        {"name": "ground", "synonyms": ["background"], "raw_value": 10},
        {"name": "static car", "synonyms": ["parked car"], "raw_value": [11, 12], "color": [1, 1, 1]},
        {"name": "tree", "raw_value": 13},
        {"name": "moving car", "synonyms": ["driving car"], "raw_value": 14, "color": [2, 2, 2]},
    ],
    "ignore": {"values": [255], "raw_values": [0]},
    "splits": {
        "train": {"images": "images", "labels": "labels", "select": "a_*", "count": 3},
        "all": {"images": "images", "labels": "labels", "includes": ["train"]},
    },
    "preparation": {"labels": "values", "splits": {"all": {"images": "i/{*}.png", "labels": "l/{*}.png"}}},
}


@pytest.fixture
def write(tmp_path: Path):
    """Writes the base and a variant; returns the variant's file."""

    def write(**changes: Any) -> Path:
        (tmp_path / "streets.yaml").write_text(yaml.safe_dump(BASE, sort_keys=False))
        path = tmp_path / "variant.yaml"
        content = {"name": "variant", "variant_of": "streets"} | changes
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write


def test_everything_is_inherited(write):
    base, spec = load_specification(write().with_name("streets.yaml")), load_specification(write())
    assert spec.name == spec.title == "variant"
    assert spec.folder == "streets"
    assert (spec.source, spec.splits, spec.preparation) == (base.source, base.splits, base.preparation)
    assert spec.vocabulary == base.vocabulary
    assert spec.values == base.values and spec.raw_values == base.raw_values
    assert spec.ignore.values == (255,) and spec.raw_ignored == (0,)
    assert spec.prepared_by == base and base.prepared_by is base
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_ignored_classes(write):
    spec = load_specification(write(ignore=["ground", "tree"]))
    assert spec.vocabulary.names == ["static car", "moving car"]
    assert spec.values == ((1,), (3,))
    assert spec.ignore.values == (255, 0, 2)
    assert spec.raw_ignored == (0, 10, 13)


def test_merged_classes(write):
    spec = load_specification(write(merge={"car": ["moving car", "static car"]}))
    assert [entry.names for entry in spec.vocabulary] == [
        ("ground", "background"),
        ("car", "parked car", "driving car"),
        ("tree",),
    ]
    assert spec.values == ((0,), (1, 3), (2,))
    assert spec.raw_values == ((10,), (11, 12, 14), (13,))
    assert spec.vocabulary[1].color == (1, 1, 1)


def test_the_colours_of_ignored_classes_are_ignored_in_masks(write):
    path = write(ignore=["static car"], merge={"other": ["ground", "tree"]})
    masks = {"ground": [5, 5, 5], "static car": [1, 1, 1], "tree": [3, 3, 3], "moving car": [2, 2, 2]}
    classes = [{"name": name, "color": color} for name, color in masks.items()]
    preparation = BASE["preparation"] | {"labels": "colors"}
    base = BASE | {"classes": classes, "ignore": {"values": [255], "colors": [[0, 0, 0]]}, "preparation": preparation}
    path.with_name("streets.yaml").write_text(yaml.safe_dump(base, sort_keys=False))
    spec = load_specification(path)
    assert spec.mask_colors == (((5, 5, 5), (3, 3, 3)), ((2, 2, 2),))
    assert spec.ignore.colors == ((0, 0, 0), (1, 1, 1))


def test_renamed_classes(write):
    spec = load_specification(write(rename={"tree": {"name": "wood", "synonyms": ["trees"]}, "ground": "soil"}))
    assert [entry.names for entry in spec.vocabulary][::2] == [("soil", "background"), ("wood", "trees")]
    assert spec.values == ((0,), (1,), (2,), (3,))


def test_ignored_pixels_as_a_class(write):
    spec = load_specification(write(ignored_as={"name": "no data"}))
    assert spec.vocabulary.names == ["no data", "ground", "static car", "tree", "moving car"]
    assert spec.values == ((255,), (0,), (1,), (2,), (3,))
    assert spec.raw_values[0] == (0,)
    assert spec.ignore.values == spec.raw_ignored == ()


def test_chosen_splits(write):
    spec = load_specification(write(splits=["train"]))
    assert list(spec.splits) == ["train"] and spec.preparation is None
    spec = load_specification(write(splits="all"))
    assert list(spec.splits) == ["all"] and spec.splits["all"].includes == ()
    assert list(spec.preparation.splits) == ["all"]


def test_the_base_may_come_with_sgovss(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nvariant_of: potsdam\nmerge: {green: [tree, low vegetation]}\n")
    spec = load_specification(path)
    assert spec.prepared_by == find_specification("potsdam")
    assert spec.vocabulary.names == ["impervious surface", "building", "green", "car", "clutter"]


def test_a_base_beside_the_file_comes_first_and_keeps_its_root(write):
    path = write(variant_of="potsdam")
    base = path.with_name("potsdam.yaml")
    base.write_text(yaml.safe_dump(BASE | {"name": "potsdam", "root": "data"}))
    spec = load_specification(path)
    assert spec.vocabulary.names == [entry["name"] for entry in BASE["classes"]]
    assert spec.root == str(path.parent / "data")


WRONG = [
    (
        {"ignore": ["grass"]},
        4,
        "ignore[0]: 'grass' is not a class of streets; its classes are ground, static car, tree",
    ),
    ({"merge": {"car": ["tree", "bus"]}}, 6, "merge.car[1]: 'bus' is not a class of streets"),
    ({"rename": {"bus": "car"}}, 4, "rename.bus: 'bus' is not a class of streets"),
    ({"ignore": ["tree"], "rename": {"tree": "wood"}}, 6, "rename.tree: class 'tree' is also in 'ignore'; keep one"),
    ({"merge": {"x": ["tree"], "y": ["tree"]}}, 7, "merge.y[0]: class 'tree' is also in 'merge'; keep one"),
    ({"merge": {"x": ["tree", "tree"]}}, 6, "merge.x[1]: class 'tree' is also in 'merge'; keep one"),
    ({"rename": {"tree": "ground"}}, 4, "rename.tree: there is a class 'ground' already; give another name"),
    ({"rename": {"tree": "x", "ground": "x"}}, 5, "rename.ground: there is a class 'x' already"),
    ({"merge": {"tree": ["static car", "moving car"]}}, 4, "merge.tree: there is a class 'tree' already"),
    ({"rename": {"tree": "parked car"}}, 1, "'parked car' stands twice"),
    ({"ignore": ["ground", "static car", "tree", "moving car"]}, 3, "ignore: no class is left; ignore fewer"),
    ({"ignore": []}, 3, "'ignore' is empty"),
    ({"splits": ["val"]}, 4, "splits[0]: streets has no split 'val'; there are train, all"),
    ({"classes": [{"name": "x"}]}, 3, "classes: key 'classes' does not belong here; remove it"),
    ({"ignored_as": "no data"}, 3, "ignored_as: give a mapping"),
    ({"variant_of": "strets"}, 2, "variant_of: no dataset file 'strets.yaml' beside this file, nor in sgovss"),
    ({"variant_of": "../x"}, 2, "variant_of: string should match pattern"),
    ({"variant_of": "variant"}, 2, "variant_of: 'variant' is this file itself; name another dataset"),
    ({"variant_of": "uavid_merged_cars"}, 2, "variant_of: 'uavid_merged_cars' is a variant itself"),
    ({"variant_of": "udd6", "ignored_as": {"name": "no data"}, "ignore": ["x"]}, 6, "'x' is not a class of udd6"),
    ({"variant_of": "dronedeploy_sample", "ignored_as": {"name": "x"}}, 3, "ignored_as: dronedeploy_sample ignores no"),
]


@pytest.mark.parametrize(("changes", "line", "message"), WRONG, ids=[case[2] for case in WRONG])
def test_wrong_variants_are_told_in_one_line(write, changes, line, message):
    path = write(**changes)
    with pytest.raises(InputError) as caught:
        load_specification(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_error_in_the_base_names_the_file_of_the_base(write):
    path = write()
    base = path.with_name("streets.yaml")
    base.write_text(base.read_text().replace("name: tree", "name: ground"))
    with pytest.raises(InputError, match=r"streets\.yaml:\d+: classes: streets: 'ground' stands twice"):
        load_specification(path)


@given(data=st.data())
def test_a_variant_reads_from_the_base_what_it_would_prepare_itself(tmp_path_factory, data):
    """Published values -> labels of the base -> ids of the variant: as straight from published values to its ids."""
    folder = tmp_path_factory.getbasetemp()
    names = [entry["name"] for entry in BASE["classes"]]
    order = data.draw(st.permutations(names))
    first, second = sorted([data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))])
    ignored, merged = order[:first], order[first:second]
    variant = {"name": "variant", "variant_of": "streets"}
    variant |= {"ignore": ignored} if ignored else {}
    variant |= {"merge": {"merged": merged}} if merged else {}
    variant |= {"ignored_as": {"name": "no data"}} if data.draw(st.booleans()) else {}
    (folder / "streets.yaml").write_text(yaml.safe_dump(BASE))
    (folder / "variant.yaml").write_text(yaml.safe_dump(variant))
    spec = load_specification(folder / "variant.yaml")
    published = np.array([[0, 10, 11, 12, 13, 14]])
    reader = RawLabels(spec.prepared_by)
    ids = reader._map.lookup(published)
    ids[ids == reader._map.ignore_label] = reader.num_classes
    seen = LabelMap.from_specification(spec)(reader.written(ids), "label.png")
    direct = LabelMap.from_values(spec.raw_values, spec.raw_ignored)(published, "published.png")
    assert seen.tolist() == direct.tolist()
