"""An image that is encoded once and scored with any number of vocabularies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from sgovss.modeling.class_scores import ClassScores
from sgovss.modeling.meta_arch import SGOVSS, EncodedImages
from sgovss.modeling.views import View
from sgovss.vocabulary import Vocabulary


@torch.no_grad()
def encode_windows(model: SGOVSS, view: View, image: torch.Tensor) -> list[EncodedImages]:
    """Encode what a view sees of an image (3, H, W) in 0..255, such as its windows, in the order of the view."""
    encoded: list[EncodedImages] = []

    def encode(images: torch.Tensor) -> list[ClassScores]:
        encoded.append(model.encode(images.to(model.device)))
        return [ClassScores.of(each[:1]) for each in images]  # the view does not look at the scores yet

    view(encode, image)
    return encoded


@torch.no_grad()
def score_windows(
    model: SGOVSS, view: View, image: torch.Tensor, encoded: Iterable[EncodedImages], vocabulary: Vocabulary
) -> ClassScores:
    """Score an image (3, H, W) of which :func:`encode_windows` gave the encodings; equal to ``model.score_image``."""
    following: Iterator[EncodedImages] = iter(encoded)
    return view(lambda _: model.class_scores(next(following), vocabulary), image)
