"""Seed ranges of the splits of a synthetic dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def overlapping_splits(splits: Mapping[str, tuple[int, int]]) -> Iterator[tuple[str, str, int]]:
    """Find splits that share seeds, and so would share images.

    Args:
        splits: split name -> (first seed, number of images).

    Yields:
        for each pair of splits that overlap: the earlier one, the later one, and the first seed they share.
    """
    earlier: dict[str, range] = {}
    for name, (first, count) in splits.items():
        seeds = range(first, first + count)
        for other, taken in earlier.items():
            shared = max(seeds.start, taken.start)
            if shared < min(seeds.stop, taken.stop):
                yield other, name, shared
        earlier[name] = seeds
