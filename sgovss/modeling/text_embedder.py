"""The frozen CLIP text encoder, run once per vocabulary."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from torch import nn

from sgovss.errors import InputError
from sgovss.modeling.clip_models import Tokenizer, create_tokenizer
from sgovss.modeling.templates import template_set
from sgovss.modeling.text_cache import TextCache
from sgovss.vocabulary import Vocabulary

_BATCH = 256
_UNKNOWN = "\U00013000"  # a hieroglyph: tokenizers that work with words know none, those that work with bytes know all


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
        remembered: how many vocabularies to keep in memory.
        keep: whether to keep embeddings on disk too, for the next run.
    """

    @configurable
    def __init__(
        self,
        *,
        clip: nn.Module,
        tokenizer: Tokenizer,
        templates: tuple[str, ...],
        remembered: int = 16,
        keep: bool = False,
    ) -> None:
        super().__init__()
        clip.visual = None
        self.clip = clip.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.templates = templates
        self.remembered = remembered
        self.keep = keep
        self._on_disk: TextCache | None = None
        self._cache: OrderedDict[Vocabulary, TextEmbeddings] = OrderedDict()

    @classmethod
    def from_config(cls, cfg: CfgNode, clip: nn.Module) -> dict:
        return {
            "clip": clip,
            "tokenizer": create_tokenizer(cfg.MODEL.CLIP.NAME),
            "templates": template_set(cfg.MODEL.CLIP.TEMPLATES),
            "keep": cfg.MODEL.CLIP.KEEP_TEXT,
        }

    def train(self, mode: bool = True) -> TextEmbedder:
        """Frozen: stays in inference mode whatever is asked."""
        return super().train(False)

    def forward(self, vocabulary: Vocabulary) -> TextEmbeddings:
        """Embeddings of every word of the vocabulary; encoded once, then remembered.

        Raises:
            InputError: a word that the tokenizer does not know, cuts off, or takes for one of another class.
        """
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
        self._check(words, owners)
        tokens = self.tokenizer([template.format(word) for word in words for template in self.templates])
        tokens = tokens.unflatten(0, (len(words), len(self.templates)))
        device = next(self.clip.parameters()).device
        embeddings = self._kept(tokens) if self.keep else self._encode(tokens)
        return TextEmbeddings(embeddings.to(device), torch.tensor(owners, device=device))

    def _kept(self, tokens: torch.Tensor) -> torch.Tensor:
        """As :meth:`_encode`, from an earlier run if there was one."""
        if self._on_disk is None:
            self._on_disk = TextCache.default(self.clip)
        embeddings = self._on_disk.load(tokens)
        if embeddings is None:
            embeddings = self._encode(tokens)
            self._on_disk.save(tokens, embeddings)
        return embeddings

    def _encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """Prompts of each word, (N, templates, context length) -> (N, D), the mean over templates, normalised."""
        device = next(self.clip.parameters()).device
        with torch.autocast(device.type, enabled=False):
            parts = [
                self.clip.encode_text(part.to(device), normalize=True) for part in tokens.flatten(0, 1).split(_BATCH)
            ]
        return F.normalize(torch.cat(parts).float().unflatten(0, tokens.shape[:2]).mean(dim=1), dim=-1)

    def _check(self, words: list[str], owners: list[int]) -> None:
        """What the tokenizer loses of a word, nobody would see in the result."""
        asked = [self.templates[0].format(word) for word in (*words, _UNKNOWN, "")]
        *rows, unknown, empty = map(tuple, self.tokenizer(asked).tolist())
        owner_of = {unknown: -1}
        for row, word, owner in zip(rows, words, owners, strict=True):
            if row[-1] != empty[-1]:
                raise InputError(f"'{word[:40]}…' is too long for the text encoder, which reads {len(row)} tokens")
            other = owner_of.setdefault(row, owner)
            if other == -1:
                raise InputError(f"'{word}' is unknown to the text encoder; say it in other words")
            if other != owner:
                same = words[owners.index(other)]
                raise InputError(f"'{word}' and '{same}' are the same to the text encoder; say one in other words")

    def _apply(self, fn, recurse: bool = True):
        """Moving the module moves its weights; remembered embeddings would stay behind, so forget them."""
        self._forget()
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        self._forget()
        super()._load_from_state_dict(*args, **kwargs)

    def _forget(self) -> None:
        self._cache.clear()
        self._on_disk = None
