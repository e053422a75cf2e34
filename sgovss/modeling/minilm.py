"""The text encoder of the embedded model: MiniLM, a BERT of six layers, with its tokenizer.

It has the tensors and the results of open_clip's ``HFTextEncoder``. That one imports transformers, which takes longer
than importing PyTorch and segmenting a photograph together.
"""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class MiniLMTokenizer:
    """Texts -> (N, context_length) int64, cut off or padded. Texts are cleaned as open_clip cleans them.

    Args:
        folder: with ``tokenizer.json``, of the library tokenizers.
        context_length: tokens of a text, with the first and the last one.
    """

    def __init__(self, folder: Path, context_length: int) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(context_length)
        self._tokenizer.enable_padding(length=context_length)

    def __call__(self, texts: list[str]) -> torch.Tensor:
        """Texts -> (N, context_length) int64."""
        return torch.tensor([each.ids for each in self._tokenizer.encode_batch([_clean(text) for text in texts])])


def _clean(text: str) -> str:
    import ftfy

    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())


class MiniLM(nn.Module):
    """Tokens (N, L) int64 -> embeddings (N, D), the mean over the tokens that are no padding; not normalised.

    The weights of its embeddings are not initialised.

    Args:
        folder: with ``config.json``, of transformers.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        configuration = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.padding: int = configuration["pad_token_id"]
        layers = nn.ModuleList(_Layer(configuration) for _ in range(configuration["num_hidden_layers"]))
        self.transformer = nn.ModuleDict(
            {"embeddings": _Embeddings(configuration), "encoder": nn.ModuleDict({"layer": layers})}
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (N, L) int64 -> embeddings (N, D)."""
        counted = tokens != self.padding
        features = self.transformer["embeddings"](tokens)
        for layer in self.transformer.get_submodule("encoder.layer").children():
            features = layer(features, counted)
        weights = counted[..., None].to(features.dtype)
        return (features * weights).sum(dim=1) / weights.sum(dim=1)


def _table(rows: int, width: int) -> nn.Embedding:
    """A table without initial values. On the "meta" device, drawing them would import a part of PyTorch's compiler."""
    return nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)


class _Embeddings(nn.Module):
    def __init__(self, configuration: dict[str, Any]) -> None:
        super().__init__()
        width = configuration["hidden_size"]
        self.word_embeddings = _table(configuration["vocab_size"], width)
        self.position_embeddings = _table(configuration["max_position_embeddings"], width)
        self.token_type_embeddings = _table(configuration["type_vocab_size"], width)
        self.LayerNorm = nn.LayerNorm(width, eps=configuration["layer_norm_eps"])

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        positions = self.position_embeddings.weight[: tokens.shape[1]]
        return self.LayerNorm(self.word_embeddings(tokens) + self.token_type_embeddings.weight[0] + positions)


class _Layer(nn.Module):
    def __init__(self, configuration: dict[str, Any]) -> None:
        super().__init__()
        width, inner = configuration["hidden_size"], configuration["intermediate_size"]
        self.heads: int = configuration["num_attention_heads"]
        projections = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
        self.attention = nn.ModuleDict({"self": projections, "output": _Residual(width, configuration)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner), "activation": GELUActivation()})
        self.output = _Residual(inner, configuration)

    def forward(self, features: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
        """Features (N, L, D), and which tokens are no padding (N, L) bool -> features (N, L, D)."""
        query, key, value = (
            projection(features).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in self.attention.get_submodule("self").children()
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=counted[:, None, None, :])
        features = self.attention["output"](mixed.transpose(1, 2).flatten(-2), features)
        wide = self.intermediate["activation"](self.intermediate["dense"](features))
        return self.output(wide, features)


class GELUActivation(nn.Module):
    """GELU under the names that transformers gives it. They are part of the fingerprints in checkpoints."""

    def __init__(self) -> None:
        super().__init__()
        self.act = F.gelu

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Any shape -> the same."""
        return self.act(features)


class _Residual(nn.Module):
    def __init__(self, inputs: int, configuration: dict[str, Any]) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, configuration["hidden_size"])
        self.LayerNorm = nn.LayerNorm(configuration["hidden_size"], eps=configuration["layer_norm_eps"])

    def forward(self, features: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        return self.LayerNorm(self.dense(features) + before)
