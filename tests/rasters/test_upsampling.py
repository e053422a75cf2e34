"""The best class of each pixel, compared with the scores of all classes."""

from __future__ import annotations

import pytest
import torch

from sgovss.rasters import upsampling
from sgovss.rasters.grid import Axis


@pytest.mark.parametrize(("classes", "peaks"), [(1, 1.0), (7, 1.0), (40, 8.0), (300, 30.0)])
@pytest.mark.parametrize("size", [(1, 1), (9, 5), (34, 130)])
def test_labels_and_scores_are_those_of_all_classes(classes, peaks, size, monkeypatch):
    monkeypatch.setitem(upsampling._MOST_SCORES, "cpu", 16 * size[0] * size[1] * 16)  # several chunks
    maps = torch.rand(classes, *size, generator=torch.Generator().manual_seed(classes)) ** peaks
    pairs = [(Axis.plan(4 * side, 1.0, 32, 32, 32, 8), side) for side in size]
    down, across = (torch.from_numpy(axis.interpolation(0, axis.pixels))[:, :side] for axis, side in pairs)
    down, across = (weights / weights.sum(dim=1, keepdim=True) for weights in (down, across))
    everything = torch.einsum("hr,trc,wc->thw", down, maps, across)
    labels, best = upsampling.best_classes(maps, down, across)
    torch.testing.assert_close(best, everything.amax(dim=0))
    chosen = everything.gather(0, labels[None])[0]
    torch.testing.assert_close(chosen, best)
    parts = [*upsampling.percents(maps, down, across)]
    assert (torch.cat([part for _, part in parts]).float() - everything * 100).abs().max() <= 0.51


def test_the_first_of_equal_classes_is_chosen():
    maps = torch.tensor([0.2, 0.7, 0.7, 0.1]).view(4, 1, 1).expand(4, 3, 3)
    weights = torch.eye(3)
    assert (upsampling.best_classes(maps, weights, weights)[0] == 1).all()
