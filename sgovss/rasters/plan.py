"""The plan of a scene: everything that its units of work depend on, as JSON for other processes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from sgovss.rasters.grid import PIECE, TILE, Axis
from sgovss.rasters.units import Box, Unit, UnitGrid

_TALLEST = 8  # bands of a rectangle in a run of several processes: an eighth more windows than in one


class Step(NamedTuple):
    """One row of windows of a pass, and what is finished after it.

    Attributes:
        row: number of the row of windows.
        batches: numbers of the windows of the row, in the batches in which they are scored.
        pieces: first rows of the pieces (up to 128 rows of pixels over all strips) that are finished then.
        bands: the units of each band that is finished then.
    """

    row: int
    batches: list[list[int]]
    pieces: list[int]
    bands: list[list[Unit]]


@dataclass(frozen=True)
class ScenePlan:
    """How a scene is divided and segmented. It can be pickled, and written as JSON.

    Args:
        path: the raster, by the name that GDAL opens.
        target: folder and beginning of the names of the outputs.
        bands: 1-based numbers of the bands in use.
        stretch: (low, high) of each band; None for data that are not stretched.
        no_data: what is left out of the raster; see :class:`sgovss.rasters.no_data.NoData`, as JSON.
        fit_gcps: whether its control points or RPCs are replaced by an affine transform.
        down, across: the axes of the scene.
        units: its units of work.
        batch: number of windows scored at once.
        strips: number of strips side by side for which the scores fit into memory.
        smallest: regions of fewer pixels are merged into a neighbour.
        gsd: metres per pixel down and across; None if not known.
        settings: everything that the finished units depend on, as JSON.
    """

    path: str
    target: str
    bands: tuple[int, int, int]
    stretch: list[tuple[float, float]] | None
    no_data: Mapping[str, Any]
    fit_gcps: bool
    down: Axis
    across: Axis
    units: UnitGrid
    batch: int
    strips: int
    smallest: int
    gsd: tuple[float, float] | None
    settings: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The plan as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ScenePlan:
        """The inverse of :meth:`as_json`, also after a round through text."""
        axes = {name: Axis(**content[name]) for name in ("down", "across")}
        red, green, blue = content["bands"]
        stretch, gsd = content["stretch"], content["gsd"]
        return cls(
            **{
                **content,
                **axes,
                "units": UnitGrid(**content["units"]),
                "bands": (red, green, blue),
                "stretch": None if stretch is None else [(low, high) for low, high in stretch],
                "gsd": None if gsd is None else (gsd[0], gsd[1]),
            }
        )

    def box(self, units: list[Unit]) -> Box:
        """The pixels of a rectangle of units, given band by band."""
        first, last = self.units.box(units[0]), self.units.box(units[-1])
        return Box(first.top, last.bottom, first.left, last.right)

    def serial_order(self, units: Collection[Unit]) -> Iterator[list[Unit]]:
        """Divide units into the rectangles that one process segments one after the other."""
        return self.units.passes(units, self.strips)

    def parallel_order(self, units: Collection[Unit], workers: int, tallest: int = _TALLEST) -> Iterator[list[Unit]]:
        """Divide units into rectangles that several processes segment at the same time.

        Each border between rectangles costs about one more row of windows, so there are as few as keep the processes
        busy, and few enough rows in each that a process that is lost has not done much in vain.

        Args:
            units: any of the units.
            workers: number of processes for this scene.
            tallest: most bands of a rectangle.
        """
        bands, strips = -(-self.units.height // self.units.rows), -(-self.units.width // self.units.columns)
        workers = math.ceil(workers / math.ceil(strips / self.strips))
        count = workers * math.ceil(bands / (workers * tallest))
        tallest = math.ceil(bands / min(count, bands))
        widest = math.ceil(strips / math.ceil(workers / bands))
        return self.units.passes(units, min(self.strips, widest), tallest)

    def steps(self, units: list[Unit]) -> Iterator[Step]:
        """The rows of windows of a rectangle of units, from top to bottom.

        Which windows are scored together depends on their position in the scene only. Units therefore get the same
        scores whether they are filled alone or with others.
        """
        box = self.box(units)
        down, across = self.down, self.across
        columns = across.windows_over(*across.cells_of(box.left, box.right))
        first, last = columns[0] // self.batch, columns[-1] // self.batch
        count = len(across.starts)
        batches = [[*range(i * self.batch, min((i + 1) * self.batch, count))] for i in range(first, last + 1)]
        rows = down.windows_over(*down.cells_of(box.top, box.bottom))
        pieces = [*range(box.top, box.bottom, PIECE)]
        for row in rows:
            final = math.inf if row == rows[-1] else down.in_cells(down.starts[row + 1])
            ready = [top for top in pieces if down.cells_of(top, min(top + PIECE, box.bottom))[1] <= final]
            pieces = pieces[len(ready) :]
            ends = {min(top + PIECE, box.bottom) for top in ready}
            bands = sorted({unit.band for unit in units if self.units.box(unit).bottom in ends})
            yield Step(row, batches, ready, [[unit for unit in units if unit.band == band] for band in bands])


def plan_units(down: Axis, across: Axis, classes: int, megabytes: int, probabilities: bool) -> tuple[UnitGrid, int]:
    """Choose the size of the units.

    Args:
        down, across: the axes of the scene.
        classes: T.
        megabytes: memory for the scores of unfinished windows.
        probabilities: whether the scores of all classes are written.

    Returns:
        the units, at most 512 x 2048 pixels; how many of them fit into memory side by side.
    """
    tallest = down.window_cells + math.ceil(PIECE * down.scale * down.cells / down.step) + 2
    of_a_column = 4 * classes * tallest * across.scale * across.cells / across.step
    if probabilities:
        of_a_column += classes * TILE
    fitting = max(TILE, int(megabytes * 2**20 / of_a_column) // TILE * TILE)
    columns = min(fitting, 4 * TILE)
    return UnitGrid(down.pixels, across.pixels, TILE, columns), fitting // columns
