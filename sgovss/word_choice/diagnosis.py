"""What words do: which never win, which take pixels from each other, and which are stable without any label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sgovss.view_set import Orientation
from sgovss.word_choice.candidates import Candidates
from sgovss.word_choice.grid import Grid

_SHOWN_TWINS = 12


class WordUse(NamedTuple):
    """A candidate of a class when all words compete.

    Attributes:
        word: the word.
        class_name: its class.
        share: fraction of all cells, in 0..1, at which the word is the best of all words.
        precision: fraction of the labelled pixels in these cells that are of the class, in 0..1; None if there is none.
    """

    word: str
    class_name: str
    share: float
    precision: float | None


class Twins(NamedTuple):
    """Two words of different classes that take pixels from each other.

    Attributes:
        first, second: the words.
        first_class, second_class: their classes.
        taken: labelled pixels of the second's class that the first word wins, where the second is the best of its
            class; and the reverse. If the first word were left out, the second might win them.
        similarity: cosine of the embeddings of the two words.
    """

    first: str
    second: str
    first_class: str
    second_class: str
    taken: int
    lost: int
    similarity: float


class WordHint(NamedTuple):
    """How stable the map of a word is, without labels.

    Attributes:
        word, class_name: the word and its class.
        turns: correlation of its map with those of the turned images, turned back; -1..1.
        agreement: correlation of its map with the mean map of the other words of its class, -1..1; None if it is alone.
    """

    word: str
    class_name: str
    turns: float
    agreement: float | None


def word_uses(grid: Grid, candidates: Candidates) -> list[WordUse]:
    """Count where each word is the best of all words.

    A word that is a candidate of several classes is listed for each.
    """
    winners = grid.logits.argmax(axis=0)
    words = len(candidates.words)
    share = np.bincount(winners, minlength=words) / len(winners)
    by_word = np.stack([np.bincount(winners, weights=row, minlength=words) for row in grid.truth])
    total = by_word.sum(axis=0)
    return [
        WordUse(
            candidates.words[word],
            entry.name,
            float(share[word]),
            float(by_word[own, word] / total[word]) if total[word] else None,
        )
        for own, (entry, of_class) in enumerate(zip(candidates.before, candidates.of_class, strict=True))
        for word in of_class
    ]


def find_twins(grid: Grid, candidates: Candidates, embeddings: np.ndarray) -> list[Twins]:
    """Find the pairs of words that take most labelled pixels from each other.

    Args:
        grid: labelled cells.
        candidates: the words.
        embeddings: (N, D) of the words, L2-normalised.
    """
    best = [np.asarray(words)[grid.logits[list(words)].argmax(axis=0)] for words in candidates.of_class]
    winners = grid.logits.argmax(axis=0)
    taken: dict[tuple[int, int, int, int], float] = {}
    for loser, own_best in enumerate(best):
        for winner, words in enumerate(candidates.of_class):
            if winner == loser:
                continue
            wrong = np.isin(winners, words) & ~np.isin(winners, candidates.of_class[loser]) & (grid.truth[loser] > 0)
            pairs = np.stack([winners[wrong], own_best[wrong]])
            found, place = np.unique(pairs, axis=1, return_inverse=True)
            pixels = np.bincount(place.reshape(-1), weights=grid.truth[loser][wrong], minlength=found.shape[1])
            for (first, second), count in zip(found.T.tolist(), pixels, strict=True):
                taken[first, winner, second, loser] = float(count)
    twins = []
    for (first, winner, second, loser), count in taken.items():
        back = taken.get((second, loser, first, winner), 0.0)
        if (count, winner) < (back, loser):
            continue  # is listed in the other order
        names = candidates.before.names
        similarity = float(embeddings[first] @ embeddings[second])
        pair = candidates.words[first], candidates.words[second], names[winner], names[loser]
        twins.append(Twins(*pair, int(count), int(back), similarity))
    return sorted(twins, key=lambda each: -(each.taken + each.lost))[:_SHOWN_TWINS]


def word_hints(maps: Sequence[Sequence[np.ndarray]], candidates: Candidates) -> list[WordHint]:
    """Measure how stable words are.

    Args:
        maps: for each image the logits (N, h, w) of all words in the image, then in its turned copies, turned back.
        candidates: the words.
    """
    turns = np.mean([_correlation(image[0], np.mean(image[1:], axis=0)) for image in maps], axis=0)
    hints = []
    for entry, words in zip(candidates.before, candidates.of_class, strict=True):
        for word in words:
            others = [each for each in words if each != word]
            agreement = None
            if others:
                pairs = [(image[0][[word]], image[0][others].mean(axis=0, keepdims=True)) for image in maps]
                agreement = float(np.mean([_correlation(*pair)[0] for pair in pairs]))
            hints.append(WordHint(candidates.words[word], entry.name, float(turns[word]), agreement))
    return hints


QUARTER_TURNS = tuple(Orientation(turns) for turns in range(4))
"""The image itself, and its turned copies."""


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson's correlation of maps (N, h, w) with maps (N, h, w): (N,); 0 where a map is flat."""
    flat = (each.reshape(len(each), -1) for each in (first, second))
    a, b = (each - each.mean(axis=1, keepdims=True) for each in flat)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide((a * b).sum(axis=1), norms, out=np.zeros(len(a)), where=norms > 0)
