"""Cache of text embeddings on disk, so that later runs do not encode the same vocabulary again."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from sgovss.errors import InputError
from sgovss.files import atomic_path
from sgovss.fingerprint import fingerprint
from sgovss.paths import cache_folder

logger = logging.getLogger(__name__)

_KEY = "embeddings"


class TextCache:
    """One file of embeddings for each text encoder and list of prompts.

    The name of a file is a digest of everything that the embeddings depend on, so a file is never out of date. The
    folder may be emptied at any time. Files that cannot be read or written cause a warning, not an error.

    Args:
        folder: the folder of the files; created with the first one.
        clip: the text encoder with its final weights.
    """

    def __init__(self, folder: Path, clip: nn.Module) -> None:
        self.folder = folder
        # Layers without weights only occur in the string.
        self.encoder = f"{clip} {fingerprint(clip)}"

    @classmethod
    def default(cls, clip: nn.Module) -> TextCache:
        """The cache below the user's cache folder."""
        return cls(cache_folder() / "text", clip)

    def load(self, tokens: torch.Tensor) -> torch.Tensor | None:
        """Embeddings (N, D) float32 of tokens (int64, any shape), or None if they are not in the cache."""
        path = self._path(tokens)
        try:
            return load_file(path)[_KEY] if path.is_file() else None
        except (SafetensorError, KeyError, OSError) as error:
            logger.warning("%s: cannot be read (%s); the class names are encoded again", path, error)
            return None

    def save(self, tokens: torch.Tensor, embeddings: torch.Tensor) -> None:
        """Write embeddings (N, D) of tokens (int64, any shape)."""
        try:
            with atomic_path(self._path(tokens)) as temporary:
                save_file({_KEY: embeddings.cpu().contiguous()}, temporary)
        except (InputError, OSError, SafetensorError) as error:
            logger.warning("text embeddings are not kept for the next run: %s", error)

    def _path(self, tokens: torch.Tensor) -> Path:
        digest = hashlib.sha256(f"{self.encoder} {tuple(tokens.shape)}".encode())
        digest.update(tokens.cpu().contiguous().numpy().tobytes())
        return self.folder / f"{digest.hexdigest()}.safetensors"
