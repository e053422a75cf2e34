"""Contrastive loss with soft targets, for a frozen text encoder."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def contrastive_loss(images: Tensor, texts: Tensor, temperature: float) -> Tensor:
    """Symmetric contrastive loss between the images and texts of a batch.

    Many captions of a batch have the same meaning. The target of an image is therefore a distribution over all texts,
    weighted by their similarity to its own text: ``softmax(text . text / temperature)``.

    Args:
        images: (B, D) image embeddings, not normalised.
        texts: (B, D) L2-normalised embeddings of their texts.
        temperature: temperature of logits and targets.

    Returns:
        the mean of the cross-entropies of both directions, a scalar.
    """
    targets = (texts @ texts.T / temperature).softmax(dim=-1)
    logits = F.normalize(images, dim=-1) @ texts.T / temperature
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
