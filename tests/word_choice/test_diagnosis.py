"""What words do, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from sgovss.word_choice.diagnosis import find_twins, word_hints, word_uses
from sgovss.word_choice.grid import Grid
from tests.word_choice.conftest import random_grid, three_classes


@pytest.mark.parametrize("seed", range(3))
def test_where_words_win(seed):
    grid, candidates = random_grid(seed), three_classes()
    grid.logits[4] = -99
    winners = [int(np.argmax(grid.logits[:, cell])) for cell in range(200)]
    for use in word_uses(grid, candidates):
        word = candidates.words.index(use.word)
        cells = [cell for cell, winner in enumerate(winners) if winner == word]
        own = grid.truth[candidates.before.names.index(use.class_name)][cells].sum()
        total = grid.truth[:, cells].sum()
        assert use.share == pytest.approx(len(cells) / 200)
        assert use.precision == (pytest.approx(own / total) if total else None)
    assert [use.word for use in word_uses(grid, candidates) if not use.share] == ["e"]
    assert {use.class_name for use in word_uses(grid, candidates) if use.word == "g"} == {"b", "c"}


@pytest.mark.parametrize("seed", range(3))
def test_twins_take_pixels_from_each_other(seed):
    grid, candidates = random_grid(seed), three_classes()
    embeddings = np.eye(7)[:, :5] + 0.1
    taken: dict[tuple[str, str], float] = {}
    for cell in range(200):
        winner = int(np.argmax(grid.logits[:, cell]))
        for loser in range(3):
            if winner not in candidates.of_class[loser]:
                best = max(candidates.of_class[loser], key=lambda word, cell=cell: grid.logits[word, cell])
                pair = candidates.words[winner], candidates.words[best]
                taken[pair] = taken.get(pair, 0) + grid.truth[loser, cell]
    twins = [each for each in find_twins(grid, candidates, embeddings) if "g" not in each[:2]]  # g is in two classes
    assert len(twins) >= 3
    for twin in twins:
        assert twin.taken == taken[twin.first, twin.second] >= twin.lost == taken.get((twin.second, twin.first), 0)
        first, second = (candidates.words.index(word) for word in twin[:2])
        assert twin.similarity == pytest.approx(embeddings[first] @ embeddings[second])
    totals = [each.taken + each.lost for each in twins]
    assert totals == sorted(totals, reverse=True)


def test_no_pair_is_listed_twice_and_right_pixels_are_not_taken():
    candidates = three_classes()
    pairs = [{each.first, each.second} for each in find_twins(random_grid(4), candidates, np.eye(7))]
    assert all(pairs.count(pair) == 1 for pair in pairs if "g" not in pair)
    right = Grid(np.repeat(np.arange(7, dtype=np.float32)[:, None], 4, axis=1), np.eye(3, 4, dtype=np.float32) * 0)
    assert find_twins(right, candidates, np.eye(7)) == []


def test_hints_are_correlations():
    candidates, generator = three_classes(), np.random.default_rng(0)
    image = generator.normal(size=(7, 6, 8))
    turned = [image + generator.normal(size=image.shape) * np.arange(7)[:, None, None] for _ in range(3)]
    flat = np.zeros((7, 6, 8))
    hints = {(each.class_name, each.word): each for each in word_hints([[image, *turned]], candidates)}
    for (own, words), names in zip(enumerate(candidates.of_class), candidates.before.names, strict=True):
        for word in words:
            hint = hints[names, candidates.words[word]]
            mean = np.mean(turned, axis=0)[word]
            assert hint.turns == pytest.approx(np.corrcoef(image[word].ravel(), mean.ravel())[0, 1])
            others = image[[each for each in candidates.of_class[own] if each != word]].mean(axis=0)
            assert hint.agreement == pytest.approx(np.corrcoef(image[word].ravel(), others.ravel())[0, 1])
    assert hints["a", "a"].turns == pytest.approx(1)
    assert all(each.turns == 0 for each in word_hints([[flat] * 4], candidates))
