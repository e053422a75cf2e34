"""Text embeddings of vocabularies from the frozen CLIP text encoder."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from torch import nn

from sgovss.errors import InputError
from sgovss.modeling.clip_models import ClipModel, Tokenizer, create_tokenizer
from sgovss.modeling.templates import TEMPLATES
from sgovss.modeling.text_cache import TextCache
from sgovss.vocabulary import Vocabulary

_BATCH = 256
_UNKNOWN = "\U00013000"  # a hieroglyph: only tokenizers that work with bytes know it


class TextEmbeddings(NamedTuple):
    """Text embeddings of a vocabulary.

    Attributes:
        embeddings: (N, D) float32, L2-normalised; one for each name and synonym in use.
        owners: (N,) int64, the index of the class of each embedding, ascending.
    """

    embeddings: torch.Tensor
    owners: torch.Tensor


class TextEmbedder(nn.Module):
    """Embed class names, and their synonyms, as the average over prompt templates.

    Args:
        clip: an open_clip model; its image tower is removed in place.
        tokenizer: its tokenizer.
        templates: prompts with ``{}`` for the name.
        synonyms: whether to embed the synonyms too, or only the first name of each class.
        remembered: number of vocabularies whose embeddings stay in memory.
        keep: whether to cache embeddings on disk too.
    """

    @configurable
    def __init__(
        self,
        *,
        clip: ClipModel,
        tokenizer: Tokenizer,
        templates: tuple[str, ...],
        synonyms: bool = True,
        remembered: int = 16,
        keep: bool = False,
    ) -> None:
        super().__init__()
        clip.visual = None
        self.clip = clip.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.templates = templates
        self.synonyms = synonyms
        self.remembered = remembered
        self.keep = keep
        self._on_disk: TextCache | None = None
        self._cache: OrderedDict[Vocabulary, TextEmbeddings] = OrderedDict()

    @classmethod
    def from_config(cls, cfg: CfgNode, clip: ClipModel) -> dict:
        return {
            "clip": clip,
            "tokenizer": create_tokenizer(cfg.MODEL.CLIP.NAME),
            "templates": TEMPLATES[cfg.MODEL.CLIP.TEMPLATES],
            "synonyms": cfg.MODEL.CLIP.SYNONYMS,
            "keep": cfg.MODEL.CLIP.KEEP_TEXT,
        }

    def train(self, mode: bool = True) -> TextEmbedder:
        """Keep inference mode, since the text encoder is frozen."""
        return super().train(False)

    def forward(self, vocabulary: Vocabulary) -> TextEmbeddings:
        """Embeddings of the class names and synonyms of a vocabulary; they are kept for the next call.

        Raises:
            InputError: a name is unknown to the tokenizer, too long, or has the same tokens as one of another class.
        """
        if vocabulary not in self._cache:
            self._cache[vocabulary] = self._embed(vocabulary)
            if len(self._cache) > self.remembered:
                self._cache.popitem(last=False)
        self._cache.move_to_end(vocabulary)
        return self._cache[vocabulary]

    @torch.no_grad()
    def _embed(self, vocabulary: Vocabulary) -> TextEmbeddings:
        used = [entry.names if self.synonyms else entry.names[:1] for entry in vocabulary]
        names = [name for each in used for name in each]
        owners = [index for index, each in enumerate(used) for _ in each]
        self._check(names, owners)
        tokens = self.tokenizer([template.format(name) for name in names for template in self.templates])
        tokens = tokens.unflatten(0, (len(names), len(self.templates)))
        device = next(self.clip.parameters()).device
        embeddings = self._kept(tokens) if self.keep else self._encode(tokens)
        return TextEmbeddings(embeddings.to(device), torch.tensor(owners, device=device))

    def _kept(self, tokens: torch.Tensor) -> torch.Tensor:
        """As :meth:`_encode`, but read from the cache on disk, or write to it."""
        if self._on_disk is None:
            self._on_disk = TextCache.default(self.clip)
        embeddings = self._on_disk.load(tokens)
        if embeddings is None:
            embeddings = self._encode(tokens)
            self._on_disk.save(tokens, embeddings)
        return embeddings

    def _encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (N, templates, context length) -> embeddings (N, D): the mean over templates, normalised."""
        device = next(self.clip.parameters()).device
        with torch.autocast(device.type, enabled=False):
            parts = [
                self.clip.encode_text(part.to(device), normalize=True) for part in tokens.flatten(0, 1).split(_BATCH)
            ]
        return F.normalize(torch.cat(parts).float().unflatten(0, tokens.shape[:2]).mean(dim=1), dim=-1)

    def _check(self, names: list[str], owners: list[int]) -> None:
        """Refuse names that the tokenizer would cut off, replace by its unknown token, or encode like another class."""
        asked = [self.templates[0].format(name) for name in (*names, _UNKNOWN, "")]
        *rows, unknown, empty = map(tuple, self.tokenizer(asked).tolist())
        owner_of = {unknown: -1}
        for row, name, owner in zip(rows, names, owners, strict=True):
            if row[-1] != empty[-1]:
                raise InputError(
                    f"'{name[:40]}…' is too long for the text encoder, which reads {len(row)} tokens; shorten it"
                )
            other = owner_of.setdefault(row, owner)
            if other == -1:
                raise InputError(f"'{name}' is unknown to the text encoder; use another name")
            if other != owner:
                same = names[owners.index(other)]
                raise InputError(f"'{name}' and '{same}' are the same to the text encoder; rename one of them")

    def _apply(self, fn, recurse: bool = True):
        """Drop the embeddings in memory when the weights are moved, since they would stay on the old device."""
        self._forget()
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        self._forget()
        super()._load_from_state_dict(*args, **kwargs)

    def _forget(self) -> None:
        self._cache.clear()
        self._on_disk = None
