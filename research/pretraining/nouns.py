"""Nouns of captions, compared with locations of the image."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from research.pretraining.manifests import RSICD_SCENES, UCM_SCENES, Record
from research.pretraining.texts import EVALUATION_TEMPLATES, embed_classes
from sgovss.modeling.open_clip_models import ClipModel, Tokenizer
from sgovss.synthetic import WIDE_VOCABULARY

_OTHERS = (
    "plane", "terminal", "highway", "path", "bridge", "railway", "train", "sand", "rock", "mountain", "ocean", "wave",
    "lawn", "bush", "plant", "playground", "football field", "basketball court", "stadium", "church", "plaza", "dock",
    "factory", "workshop", "villa", "container", "parking lot", "crosswalk", "roundabout", "island", "lake", "stream",
)  # fmt: skip

SHARPNESS = 0.1
"""Temperature of the soft maximum over locations."""


def _singular(noun: str) -> str:
    return noun[:-1] if noun.endswith("s") and not noun.endswith("ss") else noun


def _nouns() -> tuple[str, ...]:
    classes = [name for entry in WIDE_VOCABULARY for name in entry.names]
    scenes = (*UCM_SCENES.values(), *RSICD_SCENES.values())
    return tuple(dict.fromkeys(_singular(noun) for noun in (*classes, *scenes, *_OTHERS)))


NOUNS = _nouns()
"""Names of classes and of scenes, and other things that captions mention; singular."""

_PATTERN = re.compile(rf"\b({'|'.join(sorted(map(re.escape, NOUNS), key=len, reverse=True))})(?:es|s)?\b")


def find_nouns(captions: Sequence[str]) -> set[int]:
    """Indices of the :data:`NOUNS` in captions. Of nouns within each other the longest counts."""
    return {NOUNS.index(found) for caption in captions for found in _PATTERN.findall(caption.lower())}


class NounTable:
    """The nouns in the captions of each image, and their embeddings.

    Args:
        records: captions of the images.
        model, tokenizer: the open_clip model with its frozen text encoder.

    Attributes:
        present: (N, K) bool, the nouns of each image.
        embeddings: (K, D) float32, L2-normalised.
    """

    def __init__(self, records: Sequence[Record], model: ClipModel, tokenizer: Tokenizer) -> None:
        self.present = torch.zeros(len(records), len(NOUNS), dtype=torch.bool)
        for row, record in zip(self.present, records, strict=True):
            row[sorted(find_nouns(record.captions))] = True
        self.embeddings = embed_classes(model, tokenizer, [[noun] for noun in NOUNS], EVALUATION_TEMPLATES)

    def loss(self, maps: Tensor, chosen: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
        """Compare the locations of images with one noun of each image's captions.

        Args:
            maps: (B, D, h, w) dense maps of the images, not normalised.
            chosen: (B,) indices of the images.
            temperature: temperature of the loss.
            generator: source of randomness.

        Returns:
            :func:`noun_loss` of the images that have a noun; 0 if fewer than two have one.
        """
        present = self.present[chosen]
        named = torch.nonzero(present.any(dim=1))[:, 0]
        if len(named) < 2:
            return maps.sum() * 0
        present = present[named]
        picked = torch.multinomial(present.float(), 1, generator=generator)[:, 0]
        device = maps.device
        return noun_loss(
            maps[named.to(device)], present.to(device), picked.to(device), self.embeddings.to(device), temperature
        )


def noun_loss(maps: Tensor, present: Tensor, picked: Tensor, nouns: Tensor, temperature: float) -> Tensor:
    """Contrastive loss between nouns and the locations that resemble them most.

    The similarity of an image and a noun is a soft maximum over the locations. The target is a distribution, because
    captions of other images have the same noun or a similar one: it grows with the largest similarity between the noun
    and the nouns of the image's captions.

    Args:
        maps: (B, D, h, w), not normalised.
        present: (B, K) bool, all nouns of each image.
        picked: (B,) one noun of each image.
        nouns: (K, D) L2-normalised.
        temperature: temperature of logits and targets.

    Returns:
        the mean of the cross-entropies of both directions, a scalar.
    """
    texts = nouns[picked]
    logits = soft_maximum(torch.einsum("idl,jd->ijl", F.normalize(maps.flatten(2), dim=1), texts)) / temperature
    alike = (nouns @ texts.T).expand(len(maps), -1, -1).masked_fill(~present[..., None], -1)
    alike = alike.amax(dim=1) / temperature
    rows, columns = alike.softmax(dim=1), alike.T.softmax(dim=1)
    return (F.cross_entropy(logits, rows) + F.cross_entropy(logits.T, columns)) / 2


def soft_maximum(values: Tensor) -> Tensor:
    """Soft maximum over the last axis; it lies between the mean and the maximum."""
    scaled = values / SHARPNESS
    return SHARPNESS * (scaled.logsumexp(dim=-1) - torch.tensor(float(values.shape[-1])).log())
