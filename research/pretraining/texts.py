"""The texts of pre-training: captions, and scene names in templates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from research.pretraining.manifests import Record
from sgovss.modeling.open_clip_models import ClipModel, Tokenizer

EVALUATION_TEMPLATES = ("an aerial photo of {}.", "a satellite image of {}.", "a remote sensing photo of {}.")
TRAINING_TEMPLATES = (*EVALUATION_TEMPLATES, "{}", "there is {} here.", "an overhead view of {}.", "a RS photo of {}.")
PADDING = 0
"""The token that fills up short texts."""
CAPTION_FRACTION = 0.7
"""Probability that an image with a scene name gets a caption. Otherwise it gets the scene name in a template."""


@torch.no_grad()
def embed_texts(model: ClipModel, tokenizer: Tokenizer, texts: Sequence[str], batch: int = 256) -> Tensor:
    """Embed N texts: (N, D) float32, L2-normalised.

    The tokens of a batch are cut after the longest text, because the text encoder takes as long for the padding as for
    the text.
    """
    tokens = tokenizer(list(texts))
    lengths = (tokens != PADDING).sum(dim=1)
    order = lengths.argsort()
    parts = [model.encode_text(tokens[rows, : lengths[rows].max()], normalize=True) for rows in order.split(batch)]
    return torch.cat(parts)[order.argsort()].float()


def embed_classes(
    model: ClipModel, tokenizer: Tokenizer, classes: Iterable[Sequence[str]], templates: Sequence[str]
) -> Tensor:
    """Embed T classes, each a list of names: (T, D), the mean over names and templates, L2-normalised."""
    rows = []
    for names in classes:
        texts = [template.format(name) for name in names for template in templates]
        rows.append(embed_texts(model, tokenizer, texts).mean(0))
    return F.normalize(torch.stack(rows), dim=-1)


class TextTable:
    """The possible texts of each image, with their embeddings.

    Args:
        records: captions and scenes of the images.
        model, tokenizer: the open_clip model with its frozen text encoder.

    Attributes:
        texts: all distinct texts.
        embeddings: (N, D) float32, L2-normalised.
    """

    def __init__(self, records: Sequence[Record], model: ClipModel, tokenizer: Tokenizer) -> None:
        named = [[template.format(record.scene) for template in TRAINING_TEMPLATES] for record in records]
        named = [texts if record.scene else [] for texts, record in zip(named, records, strict=True)]
        captions = [list(record.captions) for record in records]
        self.texts = list(dict.fromkeys(text for group in (*captions, *named) for text in group))
        row_of = {text: row for row, text in enumerate(self.texts)}
        self._captions = [[row_of[text] for text in group] for group in captions]
        self._names = [[row_of[text] for text in group] for group in named]
        self.embeddings = embed_texts(model, tokenizer, self.texts)

    def draw(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one text for each image.

        Args:
            chosen: (B,) indices of images.
            generator: source of randomness.

        Returns:
            (B,) int64 rows of :attr:`embeddings`.
        """
        rows = []
        for index, say, pick in zip(
            chosen.tolist(), *torch.rand(2, len(chosen), generator=generator).tolist(), strict=True
        ):
            group = self._captions[index] if say < CAPTION_FRACTION or not self._names[index] else self._names[index]
            rows.append(group[int(pick * len(group))])
        return torch.tensor(rows)
