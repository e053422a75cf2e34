"""Weighted sums of the score maps of overlapping windows, on the grid of the maps and on the device of the model."""

from __future__ import annotations

import torch

from sgovss.rasters.grid import Axis


class ScoreSums:
    """Sums of score maps over a rectangle of cells, of which memory holds only the rows that are not finished.

    Args:
        down, across: the axes of the scene.
        rows: first and last row of cells of the rectangle; the last is not included.
        columns: the same for columns.
        classes: T.
        height: number of rows of cells held in memory.
        device: of the maps.
    """

    def __init__(
        self,
        down: Axis,
        across: Axis,
        rows: tuple[int, int],
        columns: tuple[int, int],
        classes: int,
        height: int,
        device: torch.device,
    ) -> None:
        self._down, self._across = down, across
        self._top, self._bottom = rows
        self._left, self._right = columns
        self._sums = torch.zeros(classes, height, self._right - self._left, device=device)
        self._weights, self._totals = (
            [torch.from_numpy(values).to(device) for values in (getattr(down, name), getattr(across, name))]
            for name in ("weights", "totals")
        )

    def add(self, maps: torch.Tensor, row: int, column: int) -> None:
        """Add the map (T, h, w) of the window in some row and column of windows. Cells outside are left out."""
        top = self._down.in_cells(self._down.starts[row]) - self._top
        left = self._across.in_cells(self._across.starts[column]) - self._left
        inside, cells = _overlap(top, maps.shape[1], self._bottom - self._top)
        beside, columns = _overlap(left, maps.shape[2], self._right - self._left)
        down, across = self._weights
        part = maps[:, inside, beside].float() * down[inside, None] * across[beside]
        self._sums[:, cells, columns] += part

    def mean(self, begin: int, end: int) -> torch.Tensor:
        """Blended scores (T, end - begin, columns) of finished rows of cells, ``begin`` to ``end - 1``."""
        down, across = self._totals
        totals = down[begin:end, None] * across[self._left : self._right]
        return self._sums[:, begin - self._top : end - self._top] / totals

    def drop(self, before: int) -> None:
        """Forget the rows of cells before ``before``."""
        finished = before - self._top
        if finished <= 0:
            return
        kept = self._sums[:, finished:].clone()
        self._sums.zero_()[:, : kept.shape[1]] = kept
        self._top = before


def _overlap(start: int, length: int, limit: int) -> tuple[slice, slice]:
    """The part of ``length`` cells from ``start`` on that lies in 0..limit, as a slice of the part and of the whole."""
    begin, end = max(start, 0), max(min(start + length, limit), max(start, 0))
    return slice(begin - start, end - start), slice(begin, end)
