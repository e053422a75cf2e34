"""Cache of text embeddings on disk, so that later runs need no text encoder for the same class names."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sgovss.errors import InputError
from sgovss.files import atomic_path
from sgovss.paths import cache_folder

logger = logging.getLogger(__name__)

_KEY = "embeddings"
_DIGEST = "sha256"
LARGEST = 64 * 2**20
"""Bytes that the files may take together; those that were not used for the longest time are removed."""


class TextCache:
    """One file of embeddings for each text encoder, list of names and set of templates.

    The name of a file is a digest of everything that the embeddings depend on, so a file is never out of date. The
    files hold numbers only, no class names. The folder may be emptied at any time, and several processes may use it.
    Files that cannot be read or written cause a warning, not an error.

    Args:
        folder: the folder of the files; created with the first one.
        encoder: a text that identifies the text encoder with its weights and its tokenizer.
        largest: bytes that the files may take together.
    """

    def __init__(self, folder: Path, encoder: str, largest: int = LARGEST) -> None:
        self.folder = folder
        self.encoder = encoder
        self.largest = largest

    @classmethod
    def default(cls, encoder: str) -> TextCache:
        """The cache below the user's cache folder."""
        return cls(cache_folder() / "text", encoder)

    def load(self, names: Sequence[Sequence[str]], templates: Sequence[str]) -> torch.Tensor | None:
        """Embeddings (N, D) float32 of the N names and synonyms of some classes, or None if they are not in the cache.

        Args:
            names: the name and the synonyms of each class.
            templates: prompts with ``{}`` for the name.
        """
        path = self._path(names, templates)
        try:
            with safe_open(path, "pt") as file:
                embeddings, known = file.get_tensor(_KEY), (file.metadata() or {}).get(_DIGEST)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (SafetensorError, OSError) as error:
            _warn(path, error)
            return None
        if known != _digest(embeddings) or len(embeddings) != sum(map(len, names)):
            _warn(path, "its content is damaged")
            return None
        with contextlib.suppress(OSError):  # the time only decides which files are removed
            os.utime(path)
        return embeddings

    def save(self, names: Sequence[Sequence[str]], templates: Sequence[str], embeddings: torch.Tensor) -> None:
        """Write embeddings (N, D); the other arguments are those of :meth:`load`."""
        embeddings = embeddings.cpu().contiguous()
        try:
            with atomic_path(self._path(names, templates)) as temporary:
                save_file({_KEY: embeddings}, temporary, metadata={_DIGEST: _digest(embeddings)})
            self._trim()
        except (InputError, OSError, SafetensorError) as error:
            logger.warning("text embeddings are not kept for the next run: %s", error)

    def _trim(self) -> None:
        """Remove the files that were not used for the longest time, until the others are within the limit."""
        files = []
        for path in self.folder.glob("[!.]*.safetensors"):
            try:
                files.append((path.stat(), path))
            except FileNotFoundError:  # another process removed it
                continue
        files.sort(key=lambda file: file[0].st_mtime_ns)
        total = sum(stat.st_size for stat, _ in files)
        for stat, path in files[:-1]:
            if total <= self.largest:
                return
            path.unlink(missing_ok=True)
            total -= stat.st_size

    def _path(self, names: Sequence[Sequence[str]], templates: Sequence[str]) -> Path:
        content = json.dumps([self.encoder, list(templates), [list(each) for each in names]])
        return self.folder / f"{hashlib.sha256(content.encode()).hexdigest()}.safetensors"


def _digest(embeddings: torch.Tensor) -> str:
    return hashlib.sha256(embeddings.contiguous().view(-1).view(torch.uint8).numpy().data).hexdigest()


def _warn(path: Path, why: Any) -> None:
    logger.warning("%s: cannot be read (%s); the class names are encoded again", path, why)
