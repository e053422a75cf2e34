"""Choose words, and measure the gain on images that did not choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sgovss.evaluation.metrics import class_counts
from sgovss.vocabulary import Vocabulary
from sgovss.word_choice.candidates import Candidates, Choice
from sgovss.word_choice.grid import Grid, mean_iou
from sgovss.word_choice.scoring import ScoredImage
from sgovss.word_choice.search import search, search_offsets

KEEP = 0
"""Number of words of a class that stands for the words in use."""

_MOST = (KEEP, 1, 3)
_USUAL = 3
_INNER_FOLDS = 3


@dataclass(frozen=True)
class Chosen:
    """Words chosen by some images.

    Attributes:
        choice: the words of each class.
        most: number of words that a class could be given; :data:`KEEP` if the words in use are kept.
        offsets: of the logits of each class, to be added to these words; None if there are none.
    """

    choice: Choice
    most: int
    offsets: Sequence[float] | None = None


@dataclass(frozen=True)
class Fold:
    """A choice by all images but some, and the confusion matrices (T + 1, T + 1) of these.

    Attributes:
        images: positions of the images that did not choose.
        chosen: what the other images chose.
        before: matrix with the words in use.
        after: matrix with the chosen words.
        shifted: matrix with the chosen words and offsets; None without offsets.
    """

    images: Sequence[int]
    chosen: Chosen
    before: np.ndarray
    after: np.ndarray
    shifted: np.ndarray | None = None


@dataclass(frozen=True)
class Validation:
    """The choice of all images, and what choices gain on images that did not choose.

    Attributes:
        final: the choice of all images.
        folds: empty if there is only one image.
    """

    final: Chosen
    folds: Sequence[Fold] = field(default_factory=tuple)

    def held_out(self, kind: str) -> float | None:
        """The mIoU in percent on images that did not choose: ``before``, ``after`` or ``shifted``; None if unknown."""
        matrix = self.matrix(kind)
        return None if matrix is None else mean_iou(class_counts(matrix))

    def matrix(self, kind: str) -> np.ndarray | None:
        """The confusion matrix (T + 1, T + 1) of the images that did not choose; None if there are none."""
        matrices = [getattr(fold, kind) for fold in self.folds]
        return np.sum(matrices, axis=0) if matrices and matrices[0] is not None else None

    def gain(self, kind: str, over: str = "before") -> float | None:
        """The difference of two scores of :meth:`held_out`; None if it is unknown."""
        first, second = self.held_out(kind), self.held_out(over)
        return None if first is None or second is None else first - second


class Chooser:
    """Chooses words by labelled images.

    Args:
        images: the images.
        grids: the grid of each.
        candidates: the words.
        offsets: whether to choose offsets too.

    Attributes:
        candidates: the words.
    """

    def __init__(
        self, images: Sequence[ScoredImage], grids: Sequence[Grid], candidates: Candidates, offsets: bool = False
    ) -> None:
        self._images, self._grids, self._offsets = images, grids, offsets
        self.candidates = candidates

    def validate(self, folds: int, progress: Callable[[], object] = lambda: None) -> Validation:
        """Choose by all images, and by all but each of some blocks of neighbouring images.

        Args:
            folds: number of blocks; no more than there are images. Two images or more are needed for any.
            progress: is called after each choice, ``folds + 1`` times at most.
        """
        everything = range(len(self._images))
        done = []
        for block in blocks(everything, folds):
            chosen = self.choose([each for each in everything if each not in block])
            done.append(self._fold(block, chosen))
            progress()
        final = self.choose(everything)
        progress()
        return Validation(final, done)

    def choose(self, images: Sequence[int]) -> Chosen:
        """Choose words by some images.

        How many words a class may have, or that the words in use are kept, is chosen by parts of these images that did
        not choose. The words found are kept only if the model itself finds them better than the words in use.
        """
        grid = Grid.join([self._grids[each] for each in images])
        most = self._most(images)
        choice = self.candidates.choice if most == KEEP else search(grid, self.candidates, most)
        tried = [self.candidates.vocabulary(each) for each in (choice, self.candidates.choice)]
        found, before = (mean_iou(class_counts(self._matrix(images, vocabulary))) for vocabulary in tried)
        if found <= before:
            choice, most = self.candidates.choice, KEEP
        return Chosen(choice, most, search_offsets(grid, choice) if self._offsets else None)

    def vocabulary(self, chosen: Chosen, offsets: bool = False) -> Vocabulary:
        """The vocabulary of a choice."""
        return self.candidates.vocabulary(chosen.choice, chosen.offsets if offsets else None)

    def _most(self, images: Sequence[int]) -> int:
        """Choose the number of words of a class by blocks of images that did not choose."""
        parts = blocks(images, _INNER_FOLDS)
        if not parts:
            return _USUAL
        counts = {most: np.zeros((3, len(self.candidates.before))) for most in _MOST}
        for block in parts:
            grid = Grid.join([self._grids[each] for each in images if each not in block])
            other = Grid.join([self._grids[each] for each in block])
            for most, total in counts.items():
                choice = self.candidates.choice if most == KEEP else search(grid, self.candidates, most)
                total += other.counts(other.class_logits(choice).argmax(axis=0))
        scores = {most: mean_iou(total) for most, total in counts.items()}
        return max(scores, key=lambda most: scores[most])

    def _fold(self, block: Sequence[int], chosen: Chosen) -> Fold:
        before = self._matrix(block, self.candidates.before)
        after = self._matrix(block, self.vocabulary(chosen))
        shifted = self._matrix(block, self.vocabulary(chosen, offsets=True)) if self._offsets else None
        return Fold(block, chosen, before, after, shifted)

    def _matrix(self, images: Sequence[int], vocabulary: Vocabulary) -> np.ndarray:
        return np.sum([self._images[each].matrix(vocabulary) for each in images], axis=0)


def blocks(images: Sequence[int], number: int) -> list[list[int]]:
    """Divide images into blocks of neighbours in their order; no more than there are images, and none of one image.

    Images whose names follow each other are often neighbours on the ground, so that one would tell about the other.
    """
    number = min(number, len(images))
    return [part.tolist() for part in np.array_split(np.asarray(images), number)] if number > 1 else []
