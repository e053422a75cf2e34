"""One image, many words: the image is encoded once, words can be changed as fast as a head runs."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from sgovss.errors import InputError
from sgovss.inference.files import classes_at_once
from sgovss.inference.predictor import Predictor
from sgovss.inference.rejection import Rejection
from sgovss.modeling.meta_arch import EncodedImages
from sgovss.vocabulary import Vocabulary


@dataclass(frozen=True)
class KeptImage:
    """An image and what the encoder made of it.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, as it was given.
        encoded: of the image, shrunk where it is large.
    """

    pixels: np.ndarray
    encoded: EncodedImages


@dataclass(frozen=True)
class Answer:
    """An image in words.

    Attributes:
        labels: (H, W) int64 at the image's size, positions in the legend.
        scores: (H, W) float32 in 0..1 of the best class, also where that was rejected.
        legend: the classes.
    """

    labels: np.ndarray
    scores: np.ndarray
    legend: Vocabulary


class InteractiveSegmenter:
    """Keeps the last images encoded. May be called from several threads; the model runs for one at a time.

    Args:
        predictor: the model.
        longest: longest side in pixels at which the model sees an image; larger ones are shrunk.
        kept: number of images to keep.
    """

    def __init__(self, predictor: Predictor, longest: int = 1024, kept: int = 4) -> None:
        self._model = predictor.model
        self._longest = longest
        self._kept = kept
        self._images: OrderedDict[str, KeptImage] = OrderedDict()
        self._lock = threading.Lock()

    @torch.no_grad()
    def add(self, pixels: np.ndarray) -> str:
        """Encode an image, (H, W, 3) uint8 RGB, unless it is kept already; returns the name to ask for it by."""
        name = hashlib.blake2b(pixels.tobytes() + str(pixels.shape).encode(), digest_size=8).hexdigest()
        with self._lock:
            if name not in self._images:
                tensor = torch.from_numpy(self._shrunk(pixels)).permute(2, 0, 1)[None].to(self._model.device)
                self._images[name] = KeptImage(pixels, self._model.encode(tensor))
                if len(self._images) > self._kept:
                    self._images.popitem(last=False)
            self._images.move_to_end(name)
        return name

    def image(self, name: str) -> np.ndarray:
        """The pixels of a kept image.

        Raises:
            InputError: it is kept no longer.
        """
        return self._find(name).pixels

    @torch.no_grad()
    def ask(self, name: str, vocabulary: Vocabulary, rejection: Rejection) -> Answer:
        """Segment a kept image into words.

        Raises:
            InputError: the image is kept no longer, or the words are wrong.
        """
        kept = self._find(name)
        scored, legend = rejection.scored(vocabulary), rejection.legend(vocabulary)
        if len(scored) > (most := classes_at_once(kept.encoded.size)):
            raise InputError(f"words: {len(scored)} classes are too many to answer at once; give at most {most}")
        with self._lock:
            scores = self._model.classify(kept.encoded, scored)[0]
        labels, best = (part.cpu().numpy() for part in rejection(scores, len(vocabulary)))
        size = kept.pixels.shape[1::-1]
        if labels.shape != kept.pixels.shape[:2]:
            labels = cv2.resize(labels.astype(np.int32), size, interpolation=cv2.INTER_NEAREST).astype(np.int64)
            best = cv2.resize(best, size, interpolation=cv2.INTER_LINEAR)
        return Answer(labels, best, legend)

    def _find(self, name: str) -> KeptImage:
        with self._lock:
            if name not in self._images:
                raise InputError("the image is no longer in memory; drop it again")
            return self._images[name]

    def _shrunk(self, pixels: np.ndarray) -> np.ndarray:
        factor = self._longest / max(pixels.shape[:2])
        if factor >= 1:
            return pixels
        size = [max(1, round(side * factor)) for side in pixels.shape[1::-1]]
        return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
