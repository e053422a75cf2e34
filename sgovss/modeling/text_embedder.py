"""The frozen CLIP text encoder, run once per vocabulary."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from torch import nn

from sgovss.modeling.clip_models import Tokenizer, create_tokenizer, load_clip
from sgovss.modeling.templates import template_set
from sgovss.vocabulary import Vocabulary

_BATCH = 256


class TextEmbeddings(NamedTuple):
    """What a vocabulary becomes.

    embeddings: (N, D) float32, L2-normalised; one row per word, synonyms included.
    owners: (N,) int64; the class each word stands for, ascending.
    """

    embeddings: torch.Tensor
    owners: torch.Tensor


class TextEmbedder(nn.Module):
    """Embeds class names with prompt templates, averaged per name.

    Args:
        clip: an open_clip model; its image tower is dropped here.
        tokenizer: its tokenizer.
        templates: prompts with ``{}`` for the name.
        remembered: how many vocabularies to keep.
    """

    @configurable
    def __init__(
        self, *, clip: nn.Module, tokenizer: Tokenizer, templates: tuple[str, ...], remembered: int = 16
    ) -> None:
        super().__init__()
        clip.visual = None
        self.clip = clip.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.templates = templates
        self.remembered = remembered
        self._cache: OrderedDict[Vocabulary, TextEmbeddings] = OrderedDict()

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        return {
            "clip": load_clip(cfg.MODEL.CLIP.NAME, cfg.MODEL.CLIP.WEIGHTS, cfg.MODEL.CLIP.ACTIVATION),
            "tokenizer": create_tokenizer(cfg.MODEL.CLIP.NAME),
            "templates": template_set(cfg.MODEL.CLIP.TEMPLATES),
        }

    def train(self, mode: bool = True) -> TextEmbedder:
        """Frozen: stays in inference mode whatever is asked."""
        return super().train(False)

    def forward(self, vocabulary: Vocabulary) -> TextEmbeddings:
        """Embeddings of every word of the vocabulary; encoded once, then remembered."""
        if vocabulary not in self._cache:
            self._cache[vocabulary] = self._embed(vocabulary)
            if len(self._cache) > self.remembered:
                self._cache.popitem(last=False)
        self._cache.move_to_end(vocabulary)
        return self._cache[vocabulary]

    @torch.no_grad()
    def _embed(self, vocabulary: Vocabulary) -> TextEmbeddings:
        words = [word for entry in vocabulary for word in entry.names]
        owners = [index for index, entry in enumerate(vocabulary) for _ in entry.names]
        prompts = [template.format(word) for word in words for template in self.templates]
        device = next(self.clip.parameters()).device
        with torch.autocast(device.type, enabled=False):
            parts = [
                self.clip.encode_text(self.tokenizer(prompts[start : start + _BATCH]).to(device), normalize=True)
                for start in range(0, len(prompts), _BATCH)
            ]
        per_word = torch.cat(parts).float().unflatten(0, (len(words), len(self.templates))).mean(dim=1)
        return TextEmbeddings(F.normalize(per_word, dim=-1), torch.tensor(owners, device=device))

    def _apply(self, fn, recurse: bool = True):
        """Moving the module moves its weights; remembered embeddings would stay behind, so forget them."""
        self._cache.clear()
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        self._cache.clear()
        super()._load_from_state_dict(*args, **kwargs)
