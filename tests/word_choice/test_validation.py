"""Choices by some images, scored on others."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from sgovss.evaluation.metrics import confusion_matrix
from sgovss.word_choice.choosing import ChoiceOptions, decide
from sgovss.word_choice.grid import Grid
from sgovss.word_choice.validation import KEEP, Chooser, Chosen, Fold, Validation, blocks
from tests.word_choice.conftest import random_grid, three_classes


class GridImage:
    """An image whose scores are those of a grid with one label in each cell."""

    def __init__(self, grid: Grid, candidates) -> None:
        self.grid, self.candidates = grid, candidates

    def matrix(self, vocabulary) -> np.ndarray:
        numbers = [[self.candidates.words.index(word) for word in entry.scored_names] for entry in vocabulary]
        logits = self.grid.class_logits(numbers) + np.array([[entry.offset] for entry in vocabulary])
        truth = np.where(self.grid.truth.any(axis=0), self.grid.truth.argmax(axis=0), 3)
        return confusion_matrix(logits.argmax(axis=0), truth, 3)


def labelled_grid(seed: int, right: tuple[int, ...], shift: float = 0.0, cells: int = 90) -> Grid:
    """Random logits, except for a word of each class that is mostly right; the others of the class mislead."""
    generator = np.random.default_rng(seed)
    owner = generator.integers(0, 3, cells)
    grid = random_grid(seed, cells=cells)
    truth = (owner == np.arange(3)[:, None]).astype(np.float32)
    for own, word in enumerate(right):
        grid.logits[word] = np.where(owner == own, 1.5, -1.5) + 0.5 * generator.normal(size=cells)
    grid.logits[1] += shift
    return Grid(grid.logits, truth)


def make_chooser(number: int = 6, offsets: bool = False, shift: float = 0.0, right=(3, 5, 6)) -> Chooser:
    candidates = three_classes()
    grids = [labelled_grid(seed, right, shift) for seed in range(number)]
    return Chooser([GridImage(grid, candidates) for grid in grids], grids, candidates, offsets)


@pytest.mark.parametrize(
    ("images", "number", "expected"),
    [
        (range(5), 2, [[0, 1, 2], [3, 4]]),
        ([4, 7, 9], 5, [[4], [7], [9]]),
        (range(1), 5, []),
        (range(7), 3, [[0, 1, 2], [3, 4], [5, 6]]),
    ],
)
def test_blocks_of_neighbours(images, number, expected):
    assert blocks(images, number) == expected


def test_useful_words_are_found_and_their_gain_is_that_of_other_images():
    chooser = make_chooser()
    found = chooser.validate(3)
    assert [set(words) >= {right} for words, right in zip(found.final.choice, (3, 5, 6), strict=True)] == [True] * 3
    assert sorted(place for fold in found.folds for place in fold.images) == [*range(6)]
    assert found.gain("after") > 20
    for fold in found.folds:
        alone = Chooser(
            [chooser._images[each] for each in range(6) if each not in fold.images],
            [chooser._grids[each] for each in range(6) if each not in fold.images],
            chooser.candidates,
        )
        assert alone.choose(range(6 - len(fold.images))).choice == fold.chosen.choice
    vocabulary, lines = decide(chooser, found, fine_tuned=False)
    assert vocabulary == chooser.vocabulary(found.final)
    assert lines[0].startswith("mIoU on images that did not choose: ") and lines[0].endswith("; 3 blocks of images")


@pytest.mark.parametrize("block", [0, 1, 2])
def test_left_out_images_do_not_change_what_the_others_choose(block):
    """The other images would, if they were seen: they are larger by far, and other words are right in them."""
    chooser, other = make_chooser(), make_chooser()
    for place in chooser.validate(3).folds[block].images:
        grid = labelled_grid(place, (4, 1, 2), cells=9000)
        other._grids[place], other._images[place] = grid, GridImage(grid, other.candidates)
    first, second = chooser.validate(3), other.validate(3)
    assert first.folds[block].chosen == second.folds[block].chosen
    assert first.final.choice != second.final.choice
    assert (first.folds[block].after != second.folds[block].after).any()


def test_words_found_in_noise_are_often_not_kept():
    """On the images that chose them they are always better; the parts that did not choose show that they are not."""
    most = []
    for seed in range(8):
        grids = [random_grid(10 * seed + number, cells=60) for number in range(6)]
        candidates = three_classes()
        chooser = Chooser([GridImage(grid, candidates) for grid in grids], grids, candidates)
        most.append(chooser.choose(range(6)).most)
    assert most.count(KEEP) >= 2


def test_words_in_use_that_are_right_are_kept():
    chooser = make_chooser(right=(0, 1, 2))
    found = chooser.validate(3)
    vocabulary, lines = decide(chooser, found, fine_tuned=False)
    if found.final.most == KEEP:
        assert vocabulary is chooser.candidates.before and "no gain: the words in use are kept" in lines
    assert found.gain("after") > -2


@pytest.mark.parametrize(("number", "folds"), [(1, 0), (2, 2), (3, 3)])
def test_few_images(number, folds):
    chooser = make_chooser(number, offsets=True)
    found = chooser.validate(5)
    assert len(found.folds) == folds
    lines = decide(chooser, found, fine_tuned=False)[1]
    if number == 1:
        assert found.gain("after") is None and lines[0].startswith("one image: none is left to test the choice on")
        assert lines[-1] == "--offsets: not written, since no image is left to test them on; label a second"


@pytest.mark.parametrize("fine_tuned", [False, True])
def test_useful_offsets_are_written(fine_tuned):
    chooser = make_chooser(offsets=True, shift=-4.0, right=(0, 1, 2))
    chooser.candidates = dataclasses.replace(chooser.candidates, of_class=((0,), (1,), (2,)))
    found = chooser.validate(3)
    vocabulary, lines = decide(chooser, found, fine_tuned)
    assert vocabulary[1].offset > max(vocabulary[0].offset, vocabulary[2].offset)
    assert found.gain("shifted", over="after") > 5
    assert any(line.startswith("--offsets: written; they add ") for line in lines)
    warned = "warning: offsets of a fine-tuned model that 6 images chose often harm on other images"
    assert (lines[-1] == warned) == fine_tuned


def counts(right: int, wrong: int) -> np.ndarray:
    matrix = np.zeros((4, 4), np.int64)
    matrix[range(3), range(3)] = right
    matrix[0, 1:3] = wrong
    return matrix


@pytest.mark.parametrize(
    ("before", "after", "shifted", "keeps", "line"),
    [
        (10, 20, 30, True, "no gain: the words in use are kept"),
        (20, 10, 5, False, "--offsets: written; they add "),
        (20, 10, 15, False, "--offsets: not written, since the mIoU on images that did not choose changes by -"),
        (10, 20, 5, True, "--offsets: not written, since they belong to words without a gain"),
    ],
)
def test_what_does_not_gain_is_refused(before, after, shifted, keeps, line):
    """Numbers of wrong pixels."""
    candidates = three_classes()
    chosen = Chosen(((3,), (1,), (2,)), 1, [0.5, 0.0, 0.0])
    fold = Fold([0, 1], chosen, counts(50, before), counts(50, after), counts(50, shifted))
    chooser = SimpleNamespace(
        candidates=candidates,
        vocabulary=lambda choice, offsets=False: candidates.vocabulary(
            choice.choice, choice.offsets if offsets else None
        ),
    )
    vocabulary, lines = decide(chooser, Validation(chosen, [fold]), fine_tuned=False)
    assert (vocabulary is candidates.before) == keeps
    assert any(each.startswith(line) for each in lines)
    assert any(entry.offset for entry in vocabulary) == line.startswith("--offsets: written")


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [("folds", 1, "--folds 1: give 2 or more"), ("random", 0, "--random 0: give 1"), ("seed", -1, "--seed -1: give 0")],
)
def test_numbers_that_are_too_small(name, value, line):
    with pytest.raises(ValueError, match=line):
        ChoiceOptions(**{name: value})
