"""Dataset files that are damaged, endless, or somebody's trap: one line each, and nothing runs or is written."""

from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sgovss.data.specification_file import load_specification
from sgovss.errors import InputError

GOOD = """\
name: fields
title: One class for tests
source: null
licence: null
citation: null
verified: unverified
ground_sample_distance: null
classes: [{name: field, value: 1}]
ignore: {values: [255]}
splits: {train: {images: images, labels: labels}}
preparation: {labels: values, splits: {train: {images: "{*}.png", labels: "{*}.tif"}}}
"""


def doubled(times: int) -> str:
    """A list that would have 2 ** times items if it were written out."""
    nested = "&a0 [x, x]"
    for i in range(1, times):
        nested = f"&a{i} [{nested}, *a{i - 1}]"
    return nested


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "not UTF-8 text; save it as UTF-8"),
        (b"[" * 300_000 + b"]" * 300_000, ":1: nested deeper than any dataset file needs to be"),
        (GOOD + "notes: &a [*a]", ":12: notes: input should be a valid string"),
        (GOOD + "references: a book", r":12: references: give a list, such as \[a, b\]"),
        (GOOD + "generator: 5", ":12: generator: give a mapping of keys to values"),
        (GOOD + "? [a, b]\n: c", "not valid YAML .found unhashable key"),
        (GOOD + "notes: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        (GOOD.replace("[{name: field, value: 1}]", doubled(40)), ":8: classes.0.: give a mapping"),
        (GOOD.replace("name: field,", f"name: {doubled(40)},"), ":8: classes.0..name: input should be"),
        (
            GOOD.replace("name: field,", r'name: "fie\0ld",'),
            "the name 'fie.x00ld' contains '.x00', which cannot be displayed",
        ),
        (GOOD.replace("name: fields", "name: ../fields"), ":1: name: string should match pattern"),
        (GOOD.replace("images: images", "images: ../../images"), "must lie below the dataset's folder"),
        (GOOD.replace("labels: labels", "labels: /etc"), "'/etc' must lie below the dataset's folder"),
        (GOOD.replace("labels: labels}", "labels: labels, label_suffix: /../../x.png}"), "label_suffix: string should"),
        (GOOD + "folder: ../elsewhere", "folder: '../elsewhere' must lie below the root"),
        (GOOD.replace("distance: null", "distance: .inf"), ":7: ground_sample_distance"),
    ],
)
def test_a_trap_is_told_in_one_line_at_once(tmp_path, content, message):
    path = tmp_path / "fields.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    started = time.monotonic()
    with pytest.raises(InputError, match=message) as caught:
        load_specification(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000
    assert time.monotonic() - started < 20  # it would be hours, or the end of memory


def test_splits_of_a_million_million_scenes_are_compared_at_once(tmp_path):
    content = GOOD.replace("splits: {train: ", "splits: {val: {images: i, labels: l}, train: ", 1)
    path = tmp_path / "fields.yaml"
    path.write_text(content + "generator: {style: a, size: 64, splits: {train: [0, 1000000000000], val: [7, 1]}}")
    with pytest.raises(InputError, match="seed 7 is also used by 'train'"):
        load_specification(path)


KEYS = sorted({*yaml.safe_load(GOOD), "folder", "root", "name", "images", "value", "color", "train"})
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70_000) | st.floats() | st.text(max_size=6) | st.sampled_from(KEYS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)


@given(data=st.data(), changes=st.integers(1, 3))
@settings(max_examples=200)
def test_a_file_with_anything_anywhere_is_read_or_refused_with_a_line_number(tmp_path_factory, data, changes):
    content = yaml.safe_load(GOOD)
    for _ in range(changes):
        node = content
        while True:
            key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            deeper = isinstance(node[key], dict | list) and len(node[key]) > 0 and data.draw(st.booleans())
            if not deeper:
                break
            node = node[key]
        node[key] = data.draw(anything)
    path = tmp_path_factory.getbasetemp() / "anything.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    try:
        load_specification(path)
    except InputError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)


@given(cut=st.integers(0, len(GOOD)), extra=st.text(max_size=5))
@settings(max_examples=200)
def test_a_file_cut_anywhere_is_read_or_refused_in_one_line(tmp_path_factory, cut, extra):
    path = tmp_path_factory.getbasetemp() / "cut.yaml"
    path.write_text(GOOD[:cut] + extra + GOOD[cut + 3 :], encoding="utf-8")
    try:
        load_specification(path)
    except InputError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
