"""Search for the words with the best mIoU on a grid: class by class, word by word, until nothing improves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgovss.word_choice.candidates import Candidates, Choice
from sgovss.word_choice.grid import Grid, mean_iou

_PASSES = 4
_LEAST_GAIN = 0.1  # percent of mIoU that a word must add


class _Rest:
    """All classes but one, so that words of that one are tried without computing the others again."""

    def __init__(self, grid: Grid, logits: np.ndarray, own: int) -> None:
        classes = len(logits)
        others = logits.copy()
        others[own] = -np.inf
        self._labels = others.argmax(axis=0)
        self._best = others.max(axis=0) if classes > 1 else np.full(logits.shape[1], -np.inf, np.float32)
        # Of equally good classes, the first one is chosen.
        self._best = np.where(self._labels > own, self._best, np.nextafter(self._best, np.float32(np.inf)))
        self._total = grid.truth.sum(axis=0)
        self._theirs = np.take_along_axis(grid.truth, self._labels[None], axis=0)[0]
        self._ours = grid.truth[own]
        self._own, self._counts = own, grid.counts(self._labels)
        if classes == 1:
            self._counts[0] = self._counts[2] = 0

    def score(self, logits: np.ndarray) -> float:
        """The mIoU if the class has these logits (P,)."""
        won = np.flatnonzero(logits >= self._best)
        labels, counts = self._labels[won], self._counts.copy()
        if len(counts[0]) > 1:
            counts[0] -= np.bincount(labels, weights=self._theirs[won], minlength=len(counts[0]))
            counts[2] -= np.bincount(labels, weights=self._total[won], minlength=len(counts[0]))
        counts[0, self._own] += self._ours[won].sum(dtype=np.float64)
        counts[2, self._own] += self._total[won].sum(dtype=np.float64)
        return mean_iou(counts)


def search(grid: Grid, candidates: Candidates, most: int) -> Choice:
    """Find the words of each class with the best mIoU on a grid, beginning with the words in use.

    In turn, each class is given the word that is best while the other classes stay as they are, then further words as
    long as each adds to the mIoU. It keeps its former words if these are not worse. A class without a labelled pixel
    keeps its words. No word is given to two classes.

    Args:
        grid: labelled cells.
        candidates: the words.
        most: words that a class may be given.
    """
    choice, logits = list(candidates.choice), grid.class_logits(candidates.choice)
    labelled = np.flatnonzero(grid.truth.sum(axis=1)).tolist()
    for _ in range(_PASSES):
        before = tuple(choice)
        for own in labelled:
            rest = _Rest(grid, logits, own)
            taken = {word for other, words in enumerate(choice) if other != own for word in words}
            free = [word for word in candidates.of_class[own] if word not in taken]
            words, score = _grow(grid, rest, free, most)
            if score > rest.score(logits[own]) + _LEAST_GAIN:
                choice[own], logits[own] = words, grid.logits[list(words)].max(axis=0)
        if tuple(choice) == before:
            break
    return tuple(choice)


def _grow(grid: Grid, rest: _Rest, words: Sequence[int], most: int) -> tuple[tuple[int, ...], float]:
    """The best word, and further words as long as each adds to the mIoU; and that mIoU."""
    chosen: tuple[int, ...] = ()
    best, map_of_best = -np.inf, np.full(grid.logits.shape[1], -np.inf, np.float32)
    while len(chosen) < min(most, len(words)):
        tried = {word: np.maximum(map_of_best, grid.logits[word]) for word in words if word not in chosen}
        scores = {word: rest.score(logits) for word, logits in tried.items()}
        word = max(scores, key=lambda each: scores[each])
        if chosen and scores[word] <= best + _LEAST_GAIN:
            break
        chosen, best, map_of_best = (*chosen, word), scores[word], tried[word]
    return chosen, float(best)


def random_choice(candidates: Candidates, generator: np.random.Generator, most: int) -> Choice:
    """Draw one to ``most`` candidates of each class.

    No word is given to two classes. A class never gets the present name of another one, so that each has a word left.
    """
    names = [words[0] for words in candidates.choice]
    taken: set[int] = set()
    choice = []
    for own, words in enumerate(candidates.of_class):
        free = [word for word in words if word not in taken and (word == names[own] or word not in names)]
        number = int(generator.integers(1, min(most, len(free)) + 1))
        choice.append(tuple(int(word) for word in generator.permutation(free)[:number]))
        taken.update(choice[-1])
    return tuple(choice)


def search_offsets(grid: Grid, choice: Choice) -> list[float]:
    """Find an offset of the logits of each class with the best mIoU on a grid.

    Steps of decreasing size, each class up or down as long as the mIoU rises. The first class may be moved too, though
    only differences matter. A class without a labelled pixel keeps offset 0.
    """
    logits = grid.class_logits(choice)
    if len(logits) < 2:
        return [0.0]
    two = np.sort(logits, axis=0)[-2:]
    step, offsets = 2 * float(np.median(two[1] - two[0])), np.zeros((len(logits), 1), np.float32)
    best = mean_iou(grid.counts(logits.argmax(axis=0)))
    for size in (step, step / 2, step / 4, step / 8):
        moved = True
        while moved:
            moved = False
            for own in np.flatnonzero(grid.truth.sum(axis=1)):
                for change in (size, -size):
                    tried = offsets.copy()
                    tried[own] += change
                    score = mean_iou(grid.counts((logits + tried).argmax(axis=0)))
                    if score > best + _LEAST_GAIN:
                        offsets, best, moved = tried, score, True
    return [float(each) for each in offsets[:, 0]]
