"""Rejection of pixels that belong to none of the classes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch

from sgovss.errors import InputError
from sgovss.vocabulary import ClassEntry, Vocabulary, Words
from sgovss.words.files import looks_like_file
from sgovss.words.lists import seems_several
from sgovss.words.names import unquoted

OTHER = "other"
_GREY = (150, 150, 150)


@dataclass(frozen=True)
class Rejection:
    """Rule for labelling pixels as "other".

    A pixel is rejected if its best score is below the threshold, or if a background name has its best score.

    Args:
        threshold: score in 0..1; 0 rejects nothing.
        background: names for the background, such as ``("background", "ground")``.

    Raises:
        InputError: the threshold is not in 0..1.
    """

    threshold: float = 0.0
    background: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise InputError(f"--threshold: {self.threshold:g} is not from 0 to 1; give a score in this range")

    @classmethod
    def parse(cls, threshold: float, background: str | None) -> Rejection:
        """Parse the background names as a user types them: ``"background|ground"``, or nothing.

        Commas and the other separators of class names separate them too.

        Raises:
            InputError: the threshold is not in 0..1, or a name is wrong.
        """
        text = (background or "").strip(" |")
        if not text:
            return cls(threshold)
        if looks_like_file(file := unquoted(text)):
            raise InputError(
                f"--background: '{file}' is the name of a file, and --background takes words; write them, as in "
                "'ground|bare soil'"
            )
        names = Vocabulary.from_string(text, "--background")
        return cls(threshold, tuple(name for entry in names for name in entry.names))

    @property
    def rejects(self) -> bool:
        """Whether any pixel can be rejected."""
        return bool(self.threshold or self.background)

    def notes(self, vocabulary: Vocabulary) -> list[str]:
        """Lines for the user: about how the names were read, and about a map that will have one class only."""
        notes = list(vocabulary.notes)
        if len(vocabulary) == 1:
            name = vocabulary.names[0]
            if not self.rejects:
                notes.append(
                    f"one class, '{name}': every pixel will be it; commas separate classes, as in 'building, road', "
                    "and a background or a threshold rejects pixels"
                )
            elif seems_several(name):
                notes.append(f"one class, '{name}'; commas separate classes, as in 'building, road'")
        return notes

    def classes(self, words: Words, stacklevel: int = 4) -> Vocabulary:
        """Return the vocabulary of what Python code gives, see :meth:`Vocabulary.of`.

        Args:
            words: the classes.
            stacklevel: of the warnings, see :func:`warnings.warn`; 4 for the caller of the caller of the caller.

        Raises:
            InputError: the words are wrong.

        Warns:
            UserWarning: the words may have been read in another way than meant, see :meth:`notes`. A
                :class:`Vocabulary` gives no warning.
        """
        vocabulary = Vocabulary.of(words)
        if vocabulary is not words:
            for note in self.notes(vocabulary):
                warnings.warn(note, stacklevel=stacklevel)
        return vocabulary

    def scored(self, vocabulary: Vocabulary) -> Vocabulary:
        """Return the classes to score: the user's, followed by one class of all background names.

        Raises:
            InputError: a background name is one of the user's.
        """
        if not self.background:
            return vocabulary
        return Vocabulary([*vocabulary, ClassEntry(self.background[0], self.background[1:])], "--background")

    def legend(self, vocabulary: Vocabulary) -> Vocabulary:
        """Return the classes of the result: the user's, followed by "other" if pixels can be rejected.

        Raises:
            InputError: the user has a class "other" already.
        """
        if not self.rejects:
            return vocabulary
        return Vocabulary([*vocabulary, ClassEntry(OTHER, color=_GREY)], "vocabulary with rejection")

    def __call__(self, scores: torch.Tensor, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Choose the class of each pixel.

        Args:
            scores: (T or T + 1, H, W) of the classes of :meth:`scored`, in 0..1.
            classes: T, the number of the user's classes.

        Returns:
            (H, W) int64 labels, T for "other"; (H, W) best score of each pixel, also of rejected ones.
        """
        best, labels = scores.max(dim=0)
        return self.reject(labels, best, classes), best

    def reject(self, labels: torch.Tensor, best: torch.Tensor, classes: int) -> torch.Tensor:
        """Label the pixels whose best score is below the threshold as "other".

        Args:
            labels: (H, W) int64 ids of the best classes of :meth:`scored`; T, the background, is "other" too.
            best: (H, W) their scores, in 0..1.
            classes: T, the number of the user's classes.

        Returns:
            (H, W) int64 labels, T for "other".
        """
        return torch.where(best < self.threshold, classes, labels) if self.threshold else labels


NOTHING_REJECTED = Rejection()
"""Every pixel gets one of the user's classes."""
