"""A cache of encoded windows on disk. A scene is encoded once and can be segmented with several vocabularies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sgovss.files import atomic_path
from sgovss.modeling.meta_arch import SGOVSS, EncodedImages
from sgovss.modeling.views import mean_maps
from sgovss.view_set import ViewSet
from sgovss.vocabulary import Vocabulary


class FeatureCache:
    """A folder of encoded windows of one scene.

    Args:
        folder: holds the caches of any number of scenes.
        settings: everything that the features depend on: scene, view and encoder. Must be JSON.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=12).hexdigest()
        self.folder = folder / digest

    def get(self, corner: tuple[int, int], view: str) -> EncodedImages | None:
        """Read the encoding of a window.

        Args:
            corner: (top, left) of the window in pixels of the model.
            view: name of the view, see :attr:`sgovss.view_set.ViewSet.names`.

        Returns:
            the encoded window, on the CPU; None if there is none or it is damaged.
        """
        path = self._path(corner, view)
        try:
            tensors = load_file(path)
            sizes = tensors.pop("sizes").tolist()
        except FileNotFoundError:
            return None
        except (SafetensorError, KeyError):
            path.unlink(missing_ok=True)
            return None
        return EncodedImages(tensors, tuple(sizes[:2]), tuple(sizes[2:]))

    def put(self, corner: tuple[int, int], view: str, encoded: EncodedImages) -> None:
        """Write the encoding of one window in one view."""
        tensors = {name: level.cpu().contiguous() for name, level in encoded.levels.items()}
        with atomic_path(self._path(corner, view)) as partial:
            save_file({**tensors, "sizes": torch.tensor([*encoded.padded_size, *encoded.size])}, partial)

    def _path(self, corner: tuple[int, int], view: str) -> Path:
        return self.folder / f"{corner[0]}_{corner[1]}_{view}.safetensors"


class CachedScores:
    """Scores windows, and keeps their encodings.

    Args:
        model: the model.
        vocabulary: the classes.
        cache: where the encodings are kept.
        views: orientations and scales whose scores are averaged.
    """

    def __init__(self, model: SGOVSS, vocabulary: Vocabulary, cache: FeatureCache, views: ViewSet) -> None:
        self._model, self._vocabulary, self._cache, self._views = model, vocabulary, cache, views

    def __call__(self, corners: Sequence[tuple[int, int]], images: torch.Tensor) -> torch.Tensor:
        """Corners (top, left) of B windows and their pixels (B, 3, H, W) -> score maps (B, T, h, w)."""
        names = iter(self._views.names)  # in the order in which mean_maps goes through the views
        return mean_maps(
            lambda seen: self._score(corners, next(names), seen), images, self._views, self._model.size_divisibility
        )

    def _score(self, corners: Sequence[tuple[int, int]], view: str, images: torch.Tensor) -> torch.Tensor:
        device = self._model.device
        found = [self._cache.get(corner, view) for corner in corners]
        missing = [i for i, encoded in enumerate(found) if encoded is None]
        if missing:
            encoded = self._model.encode(images[missing].to(device))
            for number, i in enumerate(missing):
                one = {name: level[number : number + 1] for name, level in encoded.levels.items()}
                found[i] = encoded._replace(levels=one)
                self._cache.put(corners[i], view, encoded._replace(levels=one))
        all_found = [each for each in found if each is not None]
        levels = {name: torch.cat([each.levels[name].to(device) for each in all_found]) for name in all_found[0].levels}
        return self._model.maps_of(all_found[0]._replace(levels=levels), self._vocabulary)
