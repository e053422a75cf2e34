"""The best class of each pixel, interpolated from score maps on a coarser grid, without the scores of all classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

_MOST_SCORES = {"cpu": 2**20, "cuda": 2**27}
"""Scores (pixels times classes) interpolated at once: what fits into a processor's cache, or keeps a GPU busy."""


def best_classes(maps: torch.Tensor, down: torch.Tensor, across: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Interpolate score maps and choose the best class of each pixel.

    Args:
        maps: (T, r, c) float32 scores in 0..1, T less than 2²⁴.
        down: (h, r) float32 weights of the rows of cells for each row of pixels; not negative, each row sums up to 1.
        across: (w, c) float32, the same for columns.

    Returns:
        (h, w) int64 ids, the first of equally good classes; (h, w) float32 scores of these classes.
    """
    candidates = _candidates(maps)
    best = labels = None
    for part in candidates.split(_chunk(down, across)):
        scores = _interpolated(maps[part], down, across)
        top = scores.amax(dim=0)
        # Faster than max(dim=0), which finds the positions one by one.
        ranks = torch.arange(len(part), 0, -1, dtype=scores.dtype, device=maps.device)[:, None, None]
        first = len(part) - scores.eq_(top).mul_(ranks).amax(dim=0).long()
        found = part[first]
        if best is None or labels is None:
            best, labels = top, found
        else:
            labels = torch.where(top > best, found, labels)
            best = torch.maximum(top, best)
    assert best is not None and labels is not None  # there is at least one class
    return labels, best


def percents(maps: torch.Tensor, down: torch.Tensor, across: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Interpolate score maps, some classes at a time; see :func:`best_classes`.

    Yields:
        the classes; their (t, h, w) uint8 scores in percent.
    """
    size = _chunk(down, across)
    for first in range(0, len(maps), size):
        part = slice(first, first + size)
        yield part, to_percent(_interpolated(maps[part], down, across))


def to_percent(scores: torch.Tensor) -> torch.Tensor:
    """Scores in 0..1 -> uint8 percents."""
    return (scores * 100).round().to(torch.uint8)


def _candidates(maps: torch.Tensor) -> torch.Tensor:
    """Find the classes that can be the best at some pixel: (t,) int64 ids.

    Between four cells, the interpolated scores of a class are between the smallest and the largest of its four values.
    A class is left out if its largest value is everywhere below the smallest value of another class.
    """
    everything = torch.arange(len(maps), device=maps.device)
    if maps.device.type != "cpu":
        return everything  # the number of candidates would have to be waited for
    largest, smallest = _of_four(maps, torch.maximum), _of_four(maps, torch.minimum)
    return everything[(largest >= smallest.amax(dim=0)).flatten(1).any(dim=1)]


def _of_four(maps: torch.Tensor, choose: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """The largest or smallest of each four cells that are neighbours: (T, r, c) -> (T, r - 1, c - 1), at least 1."""
    for axis in (1, 2):
        count = maps.shape[axis] - 1
        if count:
            maps = choose(maps.narrow(axis, 0, count), maps.narrow(axis, 1, count))
    return maps


def _interpolated(maps: torch.Tensor, down: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
    return down @ (maps @ across.T)


def _chunk(down: torch.Tensor, across: torch.Tensor) -> int:
    """Number of classes to interpolate at once."""
    most = _MOST_SCORES.get(down.device.type, _MOST_SCORES["cpu"])
    return max(1, most // (len(down) * len(across)))
