"""Words as users type them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sgovss.errors import InputError
from sgovss.palette import LEAST_DIFFERENCE, color_difference, lab_from_rgb
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
        ("a,,", "empty class name behind 'a'"),
        (",a", "empty class name in front of 'a'"),
        (", ,", "no class names"),
        ("a|", "empty class name"),
        ("road, Road", "'Road' stands twice"),
        ("bare soil, bare-soil", "stands twice"),
        ("tree|forest, forest", "'forest' stands twice"),
        ("café, cafe\u0301", "stands twice"),  # the accent as part of the letter, and after it
        ("road, ro\u200bad", "stands twice"),  # a space without width
        ("\uff57ater, water", "stands twice"),
        ("\u200b, road", "empty class name"),
        ("-, road", "'-' has no letter"),
        ("ro\x00ad", r"'ro.x00ad' contains '.x00', which cannot be displayed"),
        ("\ud800", "which cannot be displayed"),
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
        ("marked.txt", "\ufeffroad\r\ntree|forest\r\n"),  # as Windows saves it
        ("marked.json", '\ufeff["road", "tree|forest"]'),
        ("words.yml", "classes:\n- road\n- {name: tree, synonyms: [forest]}\n"),
    ],
)
def test_files(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert Vocabulary.parse(str(tmp_path / name)) == Vocabulary.from_string("road, tree|forest")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("words.txt", "", "no class names"),
        ("words.json", "[", "not a valid json file"),
        ("words.yaml", "a: [", "not a valid yaml file"),
        ("words.yaml", "title: [a]", "expected a list of class names"),
        ("words.yaml", "- 5", "a class is a name"),
        ("words.yaml", "- {name: a, color: [1, 2]}", "three numbers"),
        ("words.yaml", "- {name: a, color: 5}", "three numbers"),
        ("words.yaml", "- {name: a, synonyms: {b: c}}", "must be strings"),
        ("words.yaml", "- {name: a, color: [1, 2, 256]}", "three numbers"),
        ("words.yaml", "- !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("words.json", "[" * 100_000, "not a valid json file .maximum recursion depth"),
        ("words.yaml", "[" * 3000, "not a valid yaml file .maximum recursion depth"),
        ("words.yaml", "&a [*a]", r"not \[\[\[\.\.\.\]\]\]"),
        ("words.txt", "road\x00", "which cannot be displayed"),
    ],
)
def test_wrong_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=f"{name}.*{message}") as caught:
        Vocabulary.parse(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_lists_that_grow_when_written_out_are_quoted_in_part(tmp_path):
    nested = "&a0 [x, x]"
    for i in range(1, 60):
        nested = f"&a{i} [{nested}, *a{i - 1}]"
    (tmp_path / "words.yaml").write_text(f"- {nested}\n")
    with pytest.raises(InputError, match=r"words\.yaml: a class is a name") as caught:
        Vocabulary.parse(str(tmp_path / "words.yaml"))
    assert len(str(caught.value)) < 500


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.txt: cannot read .*No such file"):
        Vocabulary.parse("none.txt")
    (tmp_path / "words.txt").write_bytes("Straße".encode("latin-1"))
    with pytest.raises(InputError, match=r"words\.txt: this vocabulary file is not UTF-8 text"):
        Vocabulary.parse(str(tmp_path / "words.txt"))


def test_knows_by_name_or_synonym():
    vocabulary = Vocabulary.from_string("road|street, low vegetation")
    assert vocabulary.knows(ClassEntry("Street"))
    assert vocabulary.knows(ClassEntry("grass", ("low_vegetation",)))
    assert not vocabulary.knows(ClassEntry("water"))


@pytest.mark.parametrize(
    ("training", "test", "match"),
    [
        ("road, trees", "tree", ("tree", "trees", "trees")),
        ("tree", "Trees", ("Trees", "tree", "tree")),
        ("dock, trees|woods", "forest|wood", ("wood", "trees", "woods")),
        ("storage tanks", "storage-tank", ("storage-tank", "storage tanks", "storage tanks")),
        ("people", "person", ("person", "people", "people")),
        # Equal names come before those that differ in number, whatever their order.
        ("cars, car", "car", ("car", "car", "car")),
        ("vehicle|car, cars", "automobile|cars", ("cars", "cars", "cars")),
        # Other words are other classes, unless a synonym says otherwise.
        ("trees", "forest", None),
        ("cars|car", "static car", None),
        ("cars|car", "vehicle", None),
        ("cars|car", "vehicle|car", ("car", "cars", "car")),
        ("grasses land", "grass land", None),
    ],
)
def test_match_names_the_class_and_what_is_equal(training, test, match):
    vocabulary, (entry,) = Vocabulary.from_string(training), Vocabulary.from_string(test)
    found = vocabulary.match(entry)
    assert (found and (found.name, found.entry.name, found.entry_name)) == match
    assert vocabulary.knows(entry) == (match is not None)


def test_classes_that_differ_in_number_only_stay_two_classes():
    assert Vocabulary.from_string("car, cars").names == ["car", "cars"]


def test_colours_are_given_familiar_or_well_apart():
    given_one = Vocabulary([ClassEntry("x", color=(1, 2, 3)), ClassEntry("y")]).colors()
    assert given_one.dtype == np.uint8
    assert tuple(given_one[0]) == (1, 2, 3)
    water, tree = Vocabulary.from_string("sea|water, tree").colors().astype(int)
    assert water.argmax() == 2
    assert tree.argmax() == 1
    many = Vocabulary([ClassEntry(f"thing {i}") for i in range(60)]).colors()
    assert len(np.unique(many, axis=0)) == 60


FAMILIAR = "water, tree, grass, building, road, pavement, farmland, bare soil, car"


def test_familiar_names_keep_their_colours():
    colors = Vocabulary.from_string(FAMILIAR).colors().tolist()
    assert colors == [
        [40, 110, 200], [25, 105, 45], [125, 200, 85], [200, 65, 55], [110, 110, 120], [190, 185, 175],
        [225, 200, 75], [165, 115, 70], [255, 120, 220],
    ]  # fmt: skip
    first, second, third = Vocabulary.from_string("river, sea, lake").colors().tolist()
    assert first == [40, 110, 200] and second != first != third != second


def least_difference(colors):
    lab = lab_from_rgb(colors)
    return (color_difference(lab[:, None], lab[None]) + np.diag([np.inf] * len(lab))).min()


def test_any_two_of_64_classes_differ_clearly():
    others = ", ".join(f"thing {i}" for i in range(64))
    assert least_difference(Vocabulary.from_string(f"{FAMILIAR}, {others}").colors()) >= LEAST_DIFFERENCE
    assert least_difference(Vocabulary.from_string(f"farmland, track, {others}").colors()) >= LEAST_DIFFERENCE


def test_more_classes_do_not_change_the_colours_of_the_first():
    names = [f"thing {i}" for i in range(70)]
    longer = Vocabulary.from_string(", ".join(names)).colors()
    assert (Vocabulary.from_string(", ".join(names[:9])).colors() == longer[:9]).all()
    assert (Vocabulary.from_string(", ".join(["water", *names, "tree"])).colors()[1:-1] == longer).all()


def test_chosen_colours_keep_away_from_stated_ones():
    stated = Vocabulary([ClassEntry(f"thing {i}") for i in range(3)]).colors()
    mixed = [ClassEntry("a", color=tuple(stated[0].tolist())), *(ClassEntry(f"thing {i}") for i in range(30))]
    assert least_difference(Vocabulary(mixed).colors()) >= LEAST_DIFFERENCE


@given(st.lists(st.text(min_size=1), min_size=1, max_size=30))
def test_any_text_parses_or_is_refused_in_one_line(words):
    try:
        vocabulary = Vocabulary.from_string(",".join(words))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert all(name.strip() == name and name for name in vocabulary.names)
        assert Vocabulary.from_string(", ".join("|".join(entry.names) for entry in vocabulary)) == vocabulary


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "synonyms", "color", "classes"]) | st.text(max_size=4), inner)
    ),
    max_leaves=12,
)


@given(content=anything, suffix=st.sampled_from([".json", ".yaml"]))
def test_any_structure_in_a_file_parses_or_is_refused_in_one_line(tmp_path_factory, content, suffix):
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_text(json.dumps(content) if suffix == ".json" else yaml.safe_dump(content), encoding="utf-8")
    assert_parses_or_is_refused(path)


@given(content=st.binary(max_size=60), suffix=st.sampled_from([".json", ".yaml", ".txt"]))
def test_any_bytes_in_a_file_parse_or_are_refused_in_one_line(tmp_path_factory, content, suffix):
    path = tmp_path_factory.getbasetemp() / f"bytes{suffix}"
    path.write_bytes(content)
    assert_parses_or_is_refused(path)


def assert_parses_or_is_refused(path):
    try:
        vocabulary = Vocabulary.from_file(path)
    except InputError as error:
        assert "\n" not in str(error)
        assert str(error).startswith(str(path))
    else:
        assert all(name.strip() and name.encode() for entry in vocabulary for name in entry.names)
        assert vocabulary.colors().shape == (len(vocabulary), 3)


def test_the_suffix_of_a_file_may_be_upper_case(tmp_path):
    (tmp_path / "WORDS.TXT").write_text("road: paved\nwater\n")
    assert Vocabulary.parse(str(tmp_path / "WORDS.TXT")).names == ["road: paved", "water"]


@pytest.mark.parametrize(
    "texts", [["river", "roads"], ["River, road"], ["river|brook", "street"], ["1. river 2. road"], ["words.txt"]]
)
def test_lists_of_a_config_are_read_like_typed_names(tmp_path, monkeypatch, texts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text("river\nroad\n")
    vocabulary = Vocabulary.from_string("river, road|street, a (b), tree")
    assert [entry.name for entry in vocabulary.named(texts, "KEY", "owner")] == ["river", "road"]
    with pytest.raises(
        InputError, match=r"KEY: 'sea' is not a class of owner; its classes are river, road, a .b., tree"
    ):
        vocabulary.named([*texts, "tree, sea"], "KEY", "owner")


@pytest.mark.parametrize("item", [5, None, ["river"], "river,,road", "5"])
def test_items_of_a_config_that_are_no_names_are_told(item):
    with pytest.raises(InputError, match=r"KEY: .*class name"):
        Vocabulary.from_string("river, road").named([item], "KEY", "owner")


def test_a_class_whose_name_has_a_comma_is_found_by_it():
    vocabulary = Vocabulary([ClassEntry("salt, in heaps"), ClassEntry("salt")])
    assert vocabulary.named(["salt, in heaps"], "KEY", "owner") == [vocabulary[0]]


@pytest.mark.parametrize(
    ("item", "line"),
    [
        ("{name: road, offset: high}", "offset of 'road' must be a number from -100 to 100, not 'high'"),
        ("{name: road, offset: .nan}", "offset of 'road' must be a number from -100 to 100, not nan"),
        ("{name: road, offset: true}", "offset of 'road' must be a number from -100 to 100, not True"),
        ("{name: road, words: [1, 2]}", "words of 'road' must be strings, not [1, 2]"),
        ("{name: road, words: ['']}", "an empty class name in ''; remove the extra ',' or '|'"),
    ],
)
def test_wrong_offsets_and_words_of_a_class(tmp_path, item, line):
    file = tmp_path / "words.yaml"
    file.write_text(f"- {item}\n- water\n")
    with pytest.raises(InputError) as refused:
        Vocabulary.from_file(file)
    assert str(refused.value) == f"{file}: {line}"


def test_offset_and_words_of_a_class(tmp_path):
    file = tmp_path / "words.yaml"
    file.write_text("- {name: road, words: lane, offset: -2}\n- {name: car, words: [road, taxi]}\n- water|sea\n")
    found = Vocabulary.from_file(file)
    assert found.names == ["road", "car", "water"]
    assert [entry.scored_names for entry in found] == [("lane",), ("road", "taxi"), ("water", "sea")]
    assert [entry.offset for entry in found] == [-2, 0, 0]
