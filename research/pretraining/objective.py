"""Contrastive losses for a frozen text encoder."""

from __future__ import annotations

import torch
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


def rest_loss(regions: Tensor, texts: Tensor, rest: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding, for a text, its own region among regions that certainly show something else.

    Args:
        regions: (R, D) embeddings of regions, not normalised.
        texts: (R, D) L2-normalised embeddings of the names of their classes.
        rest: (Q, D) embeddings of regions of none of these classes, not normalised.
        temperature: temperature of the logits.

    Returns:
        a scalar.
    """
    own = (F.normalize(regions, dim=-1) * texts).sum(dim=-1, keepdim=True)
    others = texts @ F.normalize(rest, dim=-1).T
    logits = torch.cat([own, others], dim=1) / temperature
    return (logits.logsumexp(dim=1) - logits[:, 0]).mean()
