"""The search on a grid, against plain loops over all choices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sgovss.word_choice.grid import Grid, cells_of_truth, mean_iou
from sgovss.word_choice.search import _Rest, random_choice, search, search_offsets
from tests.word_choice.conftest import random_grid, three_classes


def plain_miou(grid: Grid, choice, offsets=(0.0, 0.0, 0.0)) -> float:
    """The mIoU of a choice: loops over cells and classes."""
    classes, cells = grid.truth.shape
    hits, predicted, true = np.zeros(classes), np.zeros(classes), grid.truth.sum(axis=1)
    for cell in range(cells):
        scores = [max(grid.logits[word, cell] for word in words) + np.float32(offset)
                  for words, offset in zip(choice, offsets, strict=True)]  # fmt: skip
        label = scores.index(max(scores))
        hits[label] += grid.truth[label, cell]
        predicted[label] += grid.truth[:, cell].sum()
    return 100 * float(np.mean([h / (t + p - h) for h, t, p in zip(hits, true, predicted, strict=True) if t]))


def every_choice(candidates, most):
    """All choices of one to ``most`` words of each class that give no word to two classes."""
    sets = [
        [words for number in range(1, most + 1) for words in itertools.combinations(of_class, number)]
        for of_class in candidates.of_class
    ]
    for choice in itertools.product(*sets):
        flat = [word for words in choice for word in words]
        if len(set(flat)) == len(flat):
            yield choice


@pytest.mark.parametrize("seed", range(3))
def test_the_score_against_a_plain_loop(seed):
    grid, offsets = random_grid(seed), (0.3, -0.2, 0.0)
    for choice in (((0,), (1,), (2,)), ((0, 3), (5, 6), (2,)), ((4,), (1, 5), (6, 2))):
        assert grid.score(choice) == pytest.approx(plain_miou(grid, choice))
        assert grid.score(choice, offsets) == pytest.approx(plain_miou(grid, choice, offsets))


@pytest.mark.parametrize("own", range(3))
def test_a_word_is_tried_without_computing_the_other_classes_again(own):
    grid = random_grid(5)
    grid.logits[:] = np.round(grid.logits)  # many classes are equally good; the first one is chosen
    logits = grid.class_logits(((0,), (1,), (2,)))
    rest = _Rest(grid, logits, own)
    for words in ((3,), (4, 5), (6,)):
        choice = [(0,), (1,), (2,)]
        choice[own] = words
        assert rest.score(grid.logits[list(words)].max(axis=0)) == pytest.approx(plain_miou(grid, choice))


@pytest.mark.parametrize("seed", range(4))
def test_the_choice_is_at_least_near_the_best_of_all(seed):
    grid, candidates = random_grid(seed), three_classes()
    found = search(grid, candidates, most=2)
    scores = sorted((plain_miou(grid, choice) for choice in every_choice(candidates, 2)), reverse=True)
    assert grid.score(candidates.choice) <= grid.score(found) <= scores[0] + 1e-9
    assert grid.score(found) >= scores[len(scores) // 10]  # coordinate search: among the best tenth
    assert len({word for words in found for word in words}) == sum(map(len, found))


@pytest.mark.parametrize("right", [(3, 6, 2), (0, 5, 6), (4, 1, 2)])
def test_words_that_are_right_everywhere_are_found(right):
    grid, candidates = random_grid(1), three_classes()
    owner = grid.truth.argmax(axis=0)
    grid.logits[:] = np.clip(grid.logits, -1, 1)
    for own, word in enumerate(right):
        grid.logits[word] = np.where(owner == own, 2, -2)
    # Some words in use may be as good among these.
    assert grid.score(search(grid, candidates, most=1)) == 100


def test_a_class_without_a_labelled_pixel_keeps_its_words():
    grid, candidates = random_grid(2), three_classes()
    grid.truth[1] = 0
    assert search(grid, candidates, most=2)[1] == candidates.choice[1]
    assert search_offsets(grid, candidates.choice)[1] == 0


@pytest.mark.parametrize("seed", range(3))
def test_random_choices_are_sensible(seed):
    candidates, generator = three_classes(), np.random.default_rng(seed)
    drawn = [random_choice(candidates, generator, 2) for _ in range(50)]
    for choice in drawn:
        flat = [word for words in choice for word in words]
        assert len(set(flat)) == len(flat)
        assert all(words and set(words) <= set(of) for words, of in zip(choice, candidates.of_class, strict=True))
    assert {word for choice in drawn for words in choice for word in words} == set(range(7))


@pytest.mark.parametrize("shift", [-3.0, 2.0, 5.0])
def test_a_shift_of_one_class_is_undone_by_an_offset(shift):
    grid, choice = random_grid(3), ((0,), (1,), (2,))
    owner = grid.truth.argmax(axis=0)
    grid.logits[:3] = np.where(owner == np.arange(3)[:, None], 1.0, -1.0) + 0.2 * grid.logits[:3]
    grid.logits[1] += shift
    offsets = search_offsets(grid, choice)
    assert plain_miou(grid, choice, offsets) == pytest.approx(grid.score(choice, offsets))
    assert grid.score(choice, offsets) > grid.score(choice) + 10
    assert np.sign(offsets[1] - np.mean([offsets[0], offsets[2]])) == -np.sign(shift)


@pytest.mark.parametrize("size", [(3, 4), (8, 9), (1, 1)])
def test_labels_are_counted_in_cells(size):
    truth = np.random.default_rng(0).integers(0, 4, (8, 9))  # 3 is no class
    found = cells_of_truth(truth, 3, size).reshape(3, *size)
    expected = np.zeros((3, *size))
    for row, column in np.ndindex(truth.shape):
        if truth[row, column] < 3:
            expected[truth[row, column], row * size[0] // 8, column * size[1] // 9] += 1
    np.testing.assert_array_equal(found, expected)


def test_no_label_gives_no_score():
    assert mean_iou(np.zeros((3, 4))) == 0
