"""The cache of encoded windows: what was put in is found again, and what is damaged counts as absent."""

from __future__ import annotations

import pytest
import torch
from safetensors import SafetensorError

from sgovss.modeling.meta_arch import EncodedImages
from sgovss.rasters import features
from sgovss.rasters.features import FeatureCache

CORNER, VIEW = (64, 0), "as it is"


def encoded(number: float = 1.0) -> EncodedImages:
    levels = {"dense": torch.full((1, 4, 3, 2), number), "middle": torch.arange(6.0).view(1, 2, 3, 1)}
    return EncodedImages(levels, (96, 64), (90, 61))


@pytest.fixture
def cache(tmp_path) -> FeatureCache:
    cache = FeatureCache(tmp_path, {"scene": "a", "size": [1, 2]})
    cache.put(CORNER, VIEW, encoded())
    return cache


def test_an_encoding_is_found_by_its_corner_and_view(cache, tmp_path):
    cache.put((0, 64), VIEW, encoded(2.0))
    found = FeatureCache(tmp_path, {"size": [1, 2], "scene": "a"}).get(CORNER, VIEW)
    assert (found.padded_size, found.size) == ((96, 64), (90, 61))
    assert found.levels.keys() == {"dense", "middle"}
    assert all(torch.equal(found.levels[name], level) for name, level in encoded().levels.items())
    assert cache.get((0, 64), VIEW).levels["dense"].eq(2).all()
    assert cache.get((0, 0), VIEW) is None and cache.get(CORNER, "flipped") is None
    assert FeatureCache(tmp_path, {"scene": "a", "size": [1, 3]}).get(CORNER, VIEW) is None


@pytest.mark.parametrize("content", [b"", b"cut off", None], ids=["empty", "damaged", "without sizes"])
def test_a_damaged_encoding_is_absent_and_removed(cache, content):
    (file,) = cache.folder.iterdir()
    if content is None:
        features.save_file({"dense": torch.zeros(1)}, file)
    else:
        file.write_bytes(content)
    assert cache.get(CORNER, VIEW) is None and not file.exists()
    cache.put(CORNER, VIEW, encoded())
    assert cache.get(CORNER, VIEW) is not None


def test_another_process_may_remove_a_damaged_encoding_first(cache, monkeypatch):
    def load(path):
        path.unlink()
        raise SafetensorError("damaged")

    monkeypatch.setattr(features, "load_file", load)
    assert cache.get(CORNER, VIEW) is None
