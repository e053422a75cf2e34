"""Pixels that belong to none of the user's words."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sgovss.errors import InputError
from sgovss.vocabulary import ClassEntry, Vocabulary

OTHER = "other"
_GREY = (150, 150, 150)


@dataclass(frozen=True)
class Rejection:
    """What makes a pixel "other": it scores below a threshold for every word, or higher for a background word.

    Args:
        threshold: in 0..1; 0 rejects nothing.
        background: words for what is not of interest, such as "background|ground".
    """

    threshold: float = 0.0
    background: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise InputError(f"--threshold: {self.threshold:g} is not from 0 to 1, as scores are")

    @property
    def rejects(self) -> bool:
        return bool(self.threshold or self.background)

    def scored(self, vocabulary: Vocabulary) -> Vocabulary:
        """The words to score: the user's, and the background's as one class after them.

        Raises:
            InputError: a background word is one of the user's.
        """
        if not self.background:
            return vocabulary
        return Vocabulary([*vocabulary, ClassEntry(self.background[0], self.background[1:])], "--background")

    def legend(self, vocabulary: Vocabulary) -> Vocabulary:
        """The classes of the result: the user's, and "other" after them if anything may be rejected.

        Raises:
            InputError: the user has a class "other" already.
        """
        if not self.rejects:
            return vocabulary
        return Vocabulary([*vocabulary, ClassEntry(OTHER, color=_GREY)], "vocabulary with rejection")

    def __call__(self, scores: torch.Tensor, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(T or T + 1, H, W) scores of :meth:`scored` -> (H, W) labels, T for "other", and (H, W) scores in 0..1."""
        best, labels = scores.max(dim=0)
        if self.threshold:
            labels = torch.where(best < self.threshold, classes, labels)
        return labels, best
