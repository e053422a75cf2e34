"""Segment one image into different sets of classes. The image is encoded once; new classes need only the head."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from sgovss.errors import InputError
from sgovss.inference.encoded import encode_windows, score_windows
from sgovss.inference.memory import classes_at_once
from sgovss.inference.predictor import Predictor
from sgovss.inference.ranking import Ranking, rank
from sgovss.inference.rejection import Rejection
from sgovss.inference.segmentation import Segmentation
from sgovss.modeling.class_scores import ClassScores
from sgovss.modeling.meta_arch import EncodedImages
from sgovss.modeling.views import build_views
from sgovss.vocabulary import Vocabulary, Words


@dataclass(frozen=True)
class KeptImage:
    """An image and its encoding.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, as given.
        seen: (3, H, W) uint8, the image as the model sees it: shrunk if it is large.
        encoded: the encodings of its windows, in the order in which the view asks for them; empty if each set of
            classes encodes them again.
    """

    pixels: np.ndarray
    seen: torch.Tensor
    encoded: list[EncodedImages]


class InteractiveSegmenter:
    """Segments images interactively: it keeps the encodings of the last images.

    Several threads may call it. A lock lets only one of them use the model at a time.

    Args:
        predictor: the model.
        longest: longest side in pixels of the images that the model sees; larger ones are shrunk, see :meth:`shrinks`.
        kept: number of images to keep.
        lock: held while the model is in use; give one to share the model with others.
    """

    def __init__(
        self, predictor: Predictor, longest: int = 1024, kept: int = 4, lock: threading.Lock | None = None
    ) -> None:
        self._model, self._view = predictor.model, predictor.view
        self._keeps = len(build_views(predictor.cfg)) == 1  # those of many views would fill the memory
        self._longest = longest
        self._kept = kept
        self._images: OrderedDict[str, KeptImage] = OrderedDict()
        self._lock = lock or threading.Lock()

    @torch.no_grad()
    def add(self, pixels: np.ndarray) -> str:
        """Encode an image unless it is kept already.

        Args:
            pixels: (H, W, 3) uint8 RGB.

        Returns:
            the name of the image for :meth:`segment` and :meth:`image`.
        """
        name = hashlib.blake2b(pixels.tobytes() + str(pixels.shape).encode(), digest_size=8).hexdigest()
        with self._lock:
            if name not in self._images:
                seen = torch.from_numpy(np.array(self._shrunk(pixels))).permute(2, 0, 1).to(self._model.device)
                self._images[name] = KeptImage(pixels, seen, self._encoded(seen))
                if len(self._images) > self._kept:
                    self._images.popitem(last=False)
            self._images.move_to_end(name)
        return name

    def image(self, name: str) -> np.ndarray:
        """Return the pixels of a kept image, (H, W, 3) uint8 RGB.

        Raises:
            InputError: the image is no longer kept.
        """
        return self._find(name).pixels

    @torch.no_grad()
    def segment(self, name: str, vocabulary: Words, rejection: Rejection) -> Segmentation:
        """Segment a kept image.

        Args:
            name: returned by :meth:`add`.
            vocabulary: the classes, in any form that :meth:`Vocabulary.of` takes.
            rejection: rule for labelling pixels as "other".

        Returns:
            labels and scores of the size of the image as given.

        Raises:
            InputError: the image is no longer kept, or the classes are wrong or too many.
        """
        kept, vocabulary = self._find(name), rejection.classes(vocabulary)
        legend = rejection.legend(vocabulary)
        with self._lock:
            found, score = self._scores(kept, rejection.scored(vocabulary)).best()
        labels, best = rejection.reject(found, score, len(vocabulary)).cpu().numpy(), score.cpu().numpy()
        size = kept.pixels.shape[1::-1]
        if labels.shape != kept.pixels.shape[:2]:
            labels = cv2.resize(labels.astype(np.int32), size, interpolation=cv2.INTER_NEAREST).astype(np.int64)
            best = cv2.resize(best, size, interpolation=cv2.INTER_LINEAR)
        return Segmentation(labels, legend, best, image=kept.pixels)

    @torch.no_grad()
    def rank(self, name: str, scored: Vocabulary) -> Ranking:
        """Rank the classes at each pixel of a kept image, at the size that the model sees, on the CPU.

        Raises:
            InputError: the image is no longer kept, or the classes are too many.
        """
        kept = self._find(name)
        with self._lock:
            return rank(self._scores(kept, scored)).cpu()

    def shrinks(self, pixels: np.ndarray) -> bool:
        """Whether an image (H, W, 3) is so large that the model sees it shrunk."""
        return max(pixels.shape[:2]) > self._longest

    def _encoded(self, seen: torch.Tensor) -> list[EncodedImages]:
        """Encode the windows of an image (3, H, W) in the order of the view."""
        return encode_windows(self._model, self._view, seen) if self._keeps else []

    def _scores(self, kept: KeptImage, scored: Vocabulary) -> ClassScores:
        height, width = kept.seen.shape[-2:]
        if len(scored) > (most := classes_at_once((height, width))):
            raise InputError(f"classes: {len(scored)} are too many for this page; give at most {most}")
        if not kept.encoded:
            return self._model.score_image(kept.seen, scored, self._view)
        return score_windows(self._model, self._view, kept.seen, kept.encoded, scored)

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
