"""Locked-text contrastive training with soft targets."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def contrastive_loss(images: Tensor, texts: Tensor, temperature: float) -> Tensor:
    """How well images find their texts among those of the batch, and texts their images.

    Many captions of a batch say the same in other words, so what an image should answer is not its own text alone but
    all texts in proportion to their likeness: ``softmax(text . text / temperature)``.

    Args:
        images: (B, D) image embeddings, not normalised.
        texts: (B, D) L2-normalised embeddings of the texts drawn for them.
        temperature: of answers and targets.

    Returns:
        the scalar mean of both directions' cross-entropies.
    """
    targets = (texts @ texts.T / temperature).softmax(dim=-1)
    logits = F.normalize(images, dim=-1) @ texts.T / temperature
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
