"""A cache of encoded windows on disk. A scene is encoded once and can be segmented with several vocabularies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sgovss.files import atomic_path
from sgovss.modeling.meta_arch import EncodedImages


class FeatureCache:
    """A folder of encoded windows of one scene.

    Args:
        folder: holds the caches of any number of scenes.
        settings: everything that the features depend on: scene, view and encoder. Must be JSON.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=12).hexdigest()
        self.folder = folder / digest

    def get(self, corner: tuple[int, int], encode: Callable[[], EncodedImages]) -> EncodedImages:
        """Read the encoding of a window from disk; if there is none or it is damaged, encode the window and write it.

        Args:
            corner: (top, left) of the window in pixels.
            encode: encodes the window.

        Returns:
            the encoded window; on the CPU if it was read from disk.
        """
        path = self.folder / f"{corner[0]}_{corner[1]}.safetensors"
        if path.is_file():
            try:
                tensors = load_file(path)
                sizes = tensors.pop("sizes").tolist()
                return EncodedImages(tensors, tuple(sizes[:2]), tuple(sizes[2:]))
            except (SafetensorError, KeyError):
                path.unlink()
        encoded = encode()
        tensors = {name: level.cpu().contiguous() for name, level in encoded.levels.items()}
        with atomic_path(path) as partial:
            save_file({**tensors, "sizes": torch.tensor([*encoded.padded_size, *encoded.size])}, partial)
        return encoded
