"""Blend the scores of overlapping windows into the scores of a scene, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from rasterio.windows import Window

from sgovss.modeling.views import add_window, weighted_mean
from sgovss.rasters.grid import Chunk, WindowGrid
from sgovss.rasters.source import RasterSource

Corner = tuple[int, int]
"""(top, left) of a window."""

ReadWindows = Callable[[Sequence[Corner]], torch.Tensor]
"""Corners of B windows -> their pixels (B, 3, h, w) uint8."""

ScoreWindows = Callable[[Sequence[Corner], ReadWindows], torch.Tensor]
"""Corners of B windows and the function that reads windows -> scores (B, T, h, w) in 0..1."""

AreaMask = Callable[[Window], np.ndarray]
"""A window -> (height, width) bool: the pixels inside the area of interest."""


@dataclass(frozen=True)
class WindowBlender:
    """Blends the scores of overlapping windows over a scene.

    Memory holds the scores of one row of windows in one strip of the grid, whatever the size of the scene.

    Args:
        source: the raster.
        grid: its windows.
        classes: T.
        score: scores windows.
        scale: side of a window in pixels as the model sees it, divided by its side in the scene.
        batch: number of windows scored at once.
        area: the area of interest; None for the whole scene.
    """

    source: RasterSource
    grid: WindowGrid
    classes: int
    score: ScoreWindows
    scale: float = 1.0
    batch: int = 1
    area: AreaMask | None = None

    def run(self, strip: int, first: int = 0) -> Iterator[tuple[Chunk, torch.Tensor, np.ndarray]]:
        """Blend the chunks of a strip, starting at its row of windows number ``first``.

        Yields:
            the chunk; its (T, h, w) float32 scores in 0..1, zero where no window was scored; an (h, w) bool mask, true
            for pixels that have data and are inside the area of interest.
        """
        chunks = self.grid.chunks(strip)
        height, _ = self.grid.shape
        begin = self.grid.first_row_for(first)
        sums = torch.zeros(self.classes, height, chunks[0].size[1])
        for chunk in chunks[begin:]:
            self._add_row(sums, chunk)
            rows = chunk.size[0]
            if chunk.row >= first:
                down, across = self.grid.totals
                totals = down[chunk.top : chunk.bottom], across[chunk.left : chunk.right]
                yield chunk, weighted_mean(sums[:, :rows], *totals), self._mask(_window(chunk))
            # Keep the rows that the next windows overlap. They become the first rows.
            kept = sums[:, rows:].clone()
            sums.zero_()[:, : kept.shape[1]] = kept

    def _add_row(self, sums: torch.Tensor, chunk: Chunk) -> None:
        """Add the scores of the row of windows that begins at the top of a chunk."""
        height, width = self.grid.shape
        wanted = [
            left for left in self.grid.lefts_of(chunk) if self._mask(Window(left, chunk.top, width, height)).any()
        ]
        for start in range(0, len(wanted), self.batch):
            lefts = wanted[start : start + self.batch]
            for left, scores in zip(lefts, self._scores([(chunk.top, left) for left in lefts]), strict=True):
                add_window(sums, scores, 0, left - chunk.left, self.grid.weights)

    def _scores(self, corners: Sequence[Corner]) -> torch.Tensor:
        """Return the (B, T, height, width) scores of windows at the resolution of the scene."""
        height, width = self.grid.shape
        size = max(1, round(height * self.scale)), max(1, round(width * self.scale))

        def read(asked: Sequence[Corner]) -> torch.Tensor:
            images = [self.source.read(Window(left, top, width, height), size) for top, left in asked]
            return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)

        scores = self.score(corners, read).float().cpu()
        if size == (height, width):
            return scores
        return F.interpolate(scores, size=(height, width), mode="bilinear", align_corners=False)

    def _mask(self, window: Window) -> np.ndarray:
        mask = self.source.valid(window)
        return mask if self.area is None else mask & self.area(window)


def _window(chunk: Chunk) -> Window:
    return Window(chunk.left, chunk.top, chunk.right - chunk.left, chunk.bottom - chunk.top)
