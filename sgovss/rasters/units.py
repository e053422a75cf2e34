"""Parts of a scene that can be segmented on their own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Unit(NamedTuple):
    """A unit of work: the part of a scene in one strip and one band of rows.

    Attributes:
        strip: number of the strip, from the left.
        band: number of the band of rows, from the top.
    """

    strip: int
    band: int


class Box(NamedTuple):
    """A rectangle in pixels of the scene; bottom and right are not included."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.bottom - self.top, self.right - self.left


@dataclass(frozen=True)
class UnitGrid:
    """The units of a scene: rectangles of whole tiles, so that each tile of an output belongs to one unit.

    Args:
        height, width: of the scene in pixels.
        rows, columns: of a unit in pixels, multiples of the side of a tile.
    """

    height: int
    width: int
    rows: int
    columns: int

    def all(self) -> Iterator[Unit]:
        """All units, band by band."""
        for band in range(-(-self.height // self.rows)):
            for strip in range(-(-self.width // self.columns)):
                yield Unit(strip, band)

    def box(self, unit: Unit) -> Box:
        """The pixels of a unit."""
        top, left = unit.band * self.rows, unit.strip * self.columns
        return Box(top, min(top + self.rows, self.height), left, min(left + self.columns, self.width))

    def passes(self, units: Collection[Unit], strips: int, bands: int | None = None) -> Iterator[list[Unit]]:
        """Divide units into rectangles, each of which is segmented from top to bottom without encoding a window twice.

        Args:
            units: any of the units.
            strips: largest number of strips side by side, at least 1.
            bands: largest number of bands of a rectangle; None for any.

        Yields:
            the units of a rectangle, band by band.
        """
        wanted = defaultdict(set)
        for strip, band in units:
            wanted[strip].add(band)
        for group in _alike(dict(wanted), strips):
            for part in _runs(sorted(wanted[group[0]]), bands):
                yield [Unit(strip, band) for band in part for strip in group]


def _alike(wanted: dict[int, set[int]], most: int) -> Iterator[list[int]]:
    """Group neighbouring strips of which the same bands are wanted."""
    group: list[int] = []
    for strip in sorted(wanted):
        if group and (len(group) == most or strip != group[-1] + 1 or wanted[strip] != wanted[group[0]]):
            yield group
            group = []
        group.append(strip)
    if group:
        yield group


def _runs(bands: list[int], most: int | None) -> Iterator[list[int]]:
    """Divide rising numbers into runs without a gap, each of at most ``most`` numbers."""
    run: list[int] = []
    for band in bands:
        if run and (band != run[-1] + 1 or len(run) == most):
            yield run
            run = []
        run.append(band)
    if run:
        yield run
