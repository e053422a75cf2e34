"""Words as users type them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgovss.errors import InputError
from sgovss.vocabulary import ClassEntry, Vocabulary


def test_commas_part_classes_and_bars_part_synonyms():
    vocabulary = Vocabulary.from_string(" building , road,tree | forest|  old  wood")
    assert vocabulary.names == ["building", "road", "tree"]
    assert vocabulary[2].names == ("tree", "forest", "old wood")
    assert len(vocabulary) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no class names"),
        ("  ", "no class names"),
        ("a,,b", "empty class name"),
        ("a,", "empty class name"),
        ("a|", "empty class name"),
        ("road, Road", "'Road' stands twice"),
        ("bare soil, bare-soil", "stands twice"),
        ("tree|forest, forest", "'forest' stands twice"),
    ],
)
def test_wrong_words_are_named(text, message):
    with pytest.raises(InputError, match=message):
        Vocabulary.from_string(text)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("words.txt", "# comment\nroad\n\ntree|forest\n"),
        ("words.json", json.dumps(["road", "tree|forest"])),
        # As CAT-Seg's followers and SegEarth-OV write their class lists.
        ("peers.json", json.dumps(["road", "tree, forest"])),
        ("peers.txt", "road\ntree,forest\n"),
        ("words.yaml", "- road\n- {name: tree, synonyms: [forest]}\n"),
        ("one.yaml", "- road\n- {name: tree, synonyms: forest}\n"),
        ("words.yml", "classes:\n- road\n- {name: tree, synonyms: [forest]}\n"),
    ],
)
def test_files(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert Vocabulary.parse(str(tmp_path / name)) == Vocabulary.from_string("road, tree|forest")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("words.txt", "", "no class names"),
        ("words.json", "[", "not a valid json file"),
        ("words.yaml", "a: [", "not a valid yaml file"),
        ("words.yaml", "names: [a]", "expected a list of class names"),
        ("words.yaml", "- 5", "a class is a name"),
        ("words.yaml", "- {name: a, color: [1, 2]}", "three numbers"),
        ("words.yaml", "- {name: a, color: 5}", "three numbers"),
        ("words.yaml", "- {name: a, synonyms: {b: c}}", "must be words"),
        ("words.yaml", "- {name: a, color: [1, 2, 256]}", "three numbers"),
    ],
)
def test_wrong_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=f"{name}.*{message}"):
        Vocabulary.parse(str(tmp_path / name))


def test_missing_file_is_named():
    with pytest.raises(InputError, match=r"none\.txt: cannot read"):
        Vocabulary.parse("none.txt")


def test_knows_by_name_or_synonym():
    vocabulary = Vocabulary.from_string("road|street, low vegetation")
    assert vocabulary.knows(ClassEntry("Street"))
    assert vocabulary.knows(ClassEntry("grass", ("low_vegetation",)))
    assert not vocabulary.knows(ClassEntry("water"))


def test_colours_are_given_familiar_or_well_apart():
    given_one = Vocabulary([ClassEntry("x", color=(1, 2, 3)), ClassEntry("y")]).colors()
    assert given_one.dtype == np.uint8
    assert tuple(given_one[0]) == (1, 2, 3)
    water, tree = Vocabulary.from_string("sea|water, tree").colors().astype(int)
    assert water.argmax() == 2
    assert tree.argmax() == 1
    many = Vocabulary([ClassEntry(f"thing {i}") for i in range(60)]).colors()
    assert len(np.unique(many, axis=0)) == 60


@given(st.lists(st.text(min_size=1), min_size=1, max_size=30))
def test_any_text_parses_or_is_refused_in_one_line(words):
    try:
        vocabulary = Vocabulary.from_string(",".join(words))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert all(name.strip() == name and name for name in vocabulary.names)
        assert Vocabulary.from_string(", ".join("|".join(entry.names) for entry in vocabulary)) == vocabulary
