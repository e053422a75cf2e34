"""Images that are encoded once and scored with many vocabularies."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from sgovss.data.labels import read_rgb
from sgovss.evaluation import metrics
from sgovss.inference.encoded import encode_windows, score_windows
from sgovss.inference.predictor import Predictor
from sgovss.modeling.class_scores import ClassScores
from sgovss.modeling.meta_arch import EncodedImages
from sgovss.rasters.features import FeatureCache
from sgovss.view_set import Orientation
from sgovss.vocabulary import Vocabulary
from sgovss.word_choice.candidates import Candidates
from sgovss.word_choice.grid import Grid, cells_of_truth
from sgovss.word_choice.material import Sample

_CELLS = 150_000  # of all images together; more make the search slower, and hardly more exact
_PIXELS_OF_CELL = 4  # along a side, at least; a model's maps are no finer
_LEAST = 1e-6  # keeps the logit of a score of 0 or 1 finite


class ScoredImage:
    """An image, encoded at its first use, as :class:`Predictor` sees it.

    Args:
        predictor: the model.
        sample: the image and its labels.
        cache: folder that keeps the encodings; None to keep them in memory.
    """

    def __init__(self, predictor: Predictor, sample: Sample, cache: Path | None = None) -> None:
        self.sample = sample
        self._predictor = predictor
        self._cache = cache
        self._matrices: dict[Vocabulary, np.ndarray] = {}

    def scores(self, vocabulary: Vocabulary) -> ClassScores:
        """Scores (T, H, W), equal to those of the predictor."""
        return score_windows(self._predictor.model, self._predictor.view, self._image(), self._encoded(), vocabulary)

    def labels(self, vocabulary: Vocabulary) -> np.ndarray:
        """(H, W) int64 class ids, equal to those of the predictor."""
        return self.scores(vocabulary).best()[0].cpu().numpy()

    def matrix(self, vocabulary: Vocabulary) -> np.ndarray:
        """(T + 1, T + 1) int64: the confusion matrix of the image; kept for the next call."""
        if vocabulary not in self._matrices:
            classes = len(vocabulary)
            self._matrices[vocabulary] = metrics.confusion_matrix(self.labels(vocabulary), self.truth, classes)
        return self._matrices[vocabulary]

    def turned(self, vocabulary: Vocabulary, orientation: Orientation) -> torch.Tensor:
        """(T, H, W) logits of the image in another orientation, turned back."""
        model, view = self._predictor.model, self._predictor.view
        scores = model.score_image(orientation.apply(self._image()), vocabulary, view)
        return orientation.undo(_logits(scores.all()))

    @property
    def truth(self) -> np.ndarray:
        """(H, W) integer class ids; the number of classes for pixels without a class."""
        assert self.sample.truth is not None
        return self.sample.truth()

    def grid(self, candidates: Candidates, cells: int) -> Grid:
        """The logits of all words, and the labels, on a grid of about so many cells."""
        scores = self.scores(candidates.single)
        height, width = scores.size
        side = max(_PIXELS_OF_CELL, (height * width / cells) ** 0.5)
        size = max(1, round(height / side)), max(1, round(width / side))
        maps = _logits(scores.resized(size, antialias=True).all())
        classes = len(candidates.before)
        truth = np.zeros((classes, size[0] * size[1]), np.float32)
        if self.sample.truth is not None:
            truth = cells_of_truth(self.truth, classes, size)
        return Grid(maps.flatten(1).numpy(), truth)

    def _image(self) -> torch.Tensor:
        pixels = read_rgb(self.sample.path)
        return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C")).to(self._predictor.model.device)

    def _encoded(self) -> Sequence[EncodedImages] | Iterator[EncodedImages]:
        return self._in_memory if self._cache is None else self._on_disk(self._cache)

    @functools.cached_property
    def _in_memory(self) -> list[EncodedImages]:
        return encode_windows(self._predictor.model, self._predictor.view, self._image())

    def _on_disk(self, folder: Path) -> Iterator[EncodedImages]:
        """Read the encodings one by one; encode the image if one is missing."""
        content = hashlib.blake2b(self.sample.path.read_bytes(), digest_size=16).hexdigest()
        settings = {"image": content, "model": self._predictor.fingerprint, "view": str(self._predictor.view)}
        cache, device = FeatureCache(folder, settings), self._predictor.model.device
        if cache.get((0, 0), "native") is None:
            encoded = encode_windows(self._predictor.model, self._predictor.view, self._image())
            # The last one first: if there is a first one, there are all.
            for number, each in reversed([*enumerate(encoded)]):
                cache.put((number, 0), "native", each)
        number = 0
        while (found := cache.get((number, 0), "native")) is not None:
            yield found._replace(levels={name: level.to(device) for name, level in found.levels.items()})
            number += 1


def _logits(scores: torch.Tensor) -> torch.Tensor:
    """Scores in 0..1 -> finite logits, on the CPU."""
    return scores.cpu().clamp(_LEAST, 1 - _LEAST).logit()


def cells_each(images: int) -> int:
    """Cells of the grid of one of several images."""
    return max(1, _CELLS // images)
