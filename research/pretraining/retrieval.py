"""Retrieval between images and their captions."""

from __future__ import annotations

import torch
from torch import Tensor


def recall_at(images: Tensor, texts: Tensor, owners: Tensor, count: int) -> tuple[float, float]:
    """Recall among the ``count`` best answers, in per cent.

    A caption is answered if its image is among the best images, an image if one of its captions is among the best
    captions. A caption that also describes other images still has one right image only, as in the literature.

    Args:
        images: (N, D) L2-normalised.
        texts: (M, D) L2-normalised.
        owners: (M,) index of the image that each text describes.
        count: number of answers.

    Returns:
        the share of texts whose image is found, and the share of images for which a text is found.
    """
    cosine = texts @ images.T
    found_images = cosine.topk(min(count, len(images)), dim=1).indices
    found_texts = cosine.T.topk(min(count, len(texts)), dim=1).indices
    of_texts = (found_images == owners[:, None]).any(dim=1)
    of_images = (owners[found_texts] == torch.arange(len(images), device=owners.device)[:, None]).any(dim=1)
    return 100 * float(of_texts.float().mean()), 100 * float(of_images.float().mean())
