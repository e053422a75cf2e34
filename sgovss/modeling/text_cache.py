"""Text embeddings kept on disk: a vocabulary is encoded once on a machine, not once a run."""

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

    A file's name is a digest of all that the embeddings depend on, so nothing in the folder can be out of date, and it
    may be emptied at any time. What cannot be read is encoded again; what cannot be written is only not kept.

    Args:
        folder: where the files lie; created when there is something to keep.
        clip: the text encoder, with the weights it will have.
    """

    def __init__(self, folder: Path, clip: nn.Module) -> None:
        self.folder = folder
        # Layers without weights, as the activation, stand in the print-out alone.
        self.encoder = f"{clip} {fingerprint(clip)}"

    @classmethod
    def default(cls, clip: nn.Module) -> TextCache:
        """The cache in the user's folder for such files."""
        return cls(cache_folder() / "text", clip)

    def load(self, tokens: torch.Tensor) -> torch.Tensor | None:
        """Embeddings (N, D) float32 of what was kept under these tokens (int64, any shape); None if nothing was."""
        path = self._path(tokens)
        try:
            return load_file(path)[_KEY] if path.is_file() else None
        except (SafetensorError, KeyError, OSError) as error:
            logger.warning("%s: cannot be read (%s); the words are encoded again", path, error)
            return None

    def save(self, tokens: torch.Tensor, embeddings: torch.Tensor) -> None:
        """Keep embeddings (N, D) under these tokens."""
        try:
            with atomic_path(self._path(tokens)) as temporary:
                save_file({_KEY: embeddings.cpu().contiguous()}, temporary)
        except (InputError, OSError, SafetensorError) as error:
            logger.warning("text embeddings are not kept for the next run: %s", error)

    def _path(self, tokens: torch.Tensor) -> Path:
        digest = hashlib.sha256(f"{self.encoder} {tuple(tokens.shape)}".encode())
        digest.update(tokens.cpu().contiguous().numpy())
        return self.folder / f"{digest.hexdigest()}.safetensors"
