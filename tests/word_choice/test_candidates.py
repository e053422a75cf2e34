"""Which words are candidates of which class, and the vocabulary of a choice."""

from __future__ import annotations

import pytest

from sgovss.class_entries import ClassEntry
from sgovss.errors import InputError
from sgovss.vocabulary import Vocabulary
from sgovss.word_choice.candidates import Candidates, _built_in, built_in_words, collect


@pytest.mark.parametrize(
    ("name", "word"),
    [("Roads", "highway"), ("low-vegetation", "meadow"), ("barren", "sand"), ("vehicle", "parked car")],
)
def test_built_in_lists_are_found_by_name(name, word):
    assert word in built_in_words(ClassEntry(name))


def test_built_in_lists_are_found_by_a_synonym_and_may_be_missing():
    assert "asphalt" in built_in_words(ClassEntry("paths", ("street",)))
    assert not built_in_words(ClassEntry("whale"))


def test_no_built_in_list_has_a_word_twice_or_a_single_word():
    for name, words in _built_in()[1].items():
        assert len(Candidates.of(Vocabulary.from_string("x"), [words]).words) == len(words) + 1, name
        assert len(words) > 1


def test_words_in_use_come_first_and_each_word_is_there_once():
    before = Vocabulary.from_string("ground, car|auto")
    found = collect(before, Vocabulary.from_string("cars|AUTO|taxi, ground|grass"), built_in=False)
    assert found.words == ("ground", "car", "auto", "grass", "cars", "taxi")
    assert found.of_class == ((0, 3), (1, 2, 4, 5))
    assert found.choice == ((0,), (1, 2))
    assert found.vocabulary(found.choice) is before


def test_a_chosen_class_keeps_name_synonyms_and_colour():
    before = Vocabulary([ClassEntry("water", ("sea",), (1, 2, 3)), ClassEntry("road")])
    found = Candidates.of(before, [["pool"], ["lane", "sea"]])
    lane, sea = found.words.index("lane"), found.words.index("sea")
    water, road = found.vocabulary(((found.words.index("pool"),), (lane, sea)), offsets=[0.5, 0.0])
    assert (water.name, water.synonyms, water.color, water.offset) == ("water", ("sea",), (1, 2, 3), 0.5)
    assert water.scored_names == ("pool",) and road.scored_names == ("lane", "sea")
    assert Vocabulary([water, road]).colors().tolist() == before.colors().tolist()


@pytest.mark.parametrize(
    ("before", "listed", "line"),
    [
        ("road, water", "whale|orca", "--candidates: 'whale' is none of the classes road, water; begin its line"),
        ("whale, orca", None, "--candidates: each class has only the word in use, so there is nothing to choose"),
        ("whale, orca", "orca", "--candidates: each class has only the word in use, so there is nothing to choose"),
    ],
)
def test_candidates_that_cannot_be_used(before, listed, line):
    with pytest.raises(InputError) as refused:
        collect(Vocabulary.from_string(before), listed and Vocabulary.from_string(listed), built_in=True)
    assert str(refused.value).startswith(line)
