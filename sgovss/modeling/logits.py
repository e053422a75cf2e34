"""From the logits of names to the scores of classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from sgovss.modeling.chunks import chunk_size, map_chunks
from sgovss.vocabulary import Vocabulary


def best_word(logits: torch.Tensor, owners: torch.Tensor, classes: int) -> torch.Tensor:
    """Maximum over the names and synonyms of each class.

    Args:
        logits: (B, N, h, w).
        owners: (N,) int64, the class of each name or synonym.
        classes: number of classes T.

    Returns:
        (B, T, h, w).
    """
    index = owners.view(1, -1, 1, 1).expand_as(logits)
    lowest = logits.new_full((logits.shape[0], classes, *logits.shape[-2:]), float("-inf"))
    return lowest.scatter_reduce(1, index, logits, reduce="amax")


def with_offsets(logits: torch.Tensor, vocabulary: Vocabulary) -> torch.Tensor:
    """Add the offsets of the classes of a vocabulary to logits (B, T, ...)."""
    offsets = [entry.offset for entry in vocabulary]
    if not any(offsets):
        return logits
    return logits + logits.new_tensor(offsets).view(-1, *[1] * (logits.ndim - 2))


def with_score_offsets(scores: torch.Tensor, vocabulary: Vocabulary) -> torch.Tensor:
    """Add the offsets of the classes of a vocabulary to scores (B, T, ...) in 0..1: to their logits."""
    if not any(entry.offset for entry in vocabulary):
        return scores
    return with_offsets(scores.logit(), vocabulary).sigmoid()


def scores_of(logits: torch.Tensor, padded_size: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
    """Enlarge the logits of images and map them to scores.

    Args:
        logits: (B, T, h, w) of the padded images.
        padded_size: height and width of the padded images in pixels.
        size: height H and width W of the images in pixels.

    Returns:
        (B, T, H, W) float32 in 0..1, without the padding.
    """

    def enlarge(part: torch.Tensor) -> tuple[torch.Tensor]:
        part = F.interpolate(part.float(), size=padded_size, mode="bilinear", align_corners=False)
        return (part.sigmoid_()[..., : size[0], : size[1]],)

    # In chunks also because torch's interpolation on CUDA is limited to 2**31 elements.
    pixels = logits.shape[0] * padded_size[0] * padded_size[1]
    return map_chunks(enlarge, chunk_size(logits.shape[1], pixels, logits.device), logits)[0]
