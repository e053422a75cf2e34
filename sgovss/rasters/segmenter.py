"""Scores of a whole scene from those of its windows, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from rasterio.windows import Window

from sgovss.rasters.grid import Chunk, WindowGrid
from sgovss.rasters.source import RasterSource

Corner = tuple[int, int]
"""(top, left) of a window."""

ScoreWindows = Callable[[Sequence[Corner], Callable[[Sequence[Corner]], torch.Tensor]], torch.Tensor]
"""Corners of windows, and what reads windows as (B, 3, h, w) uint8 -> their scores (B, T, h, w) in 0..1."""

AreaMask = Callable[[Window], np.ndarray]
"""A window -> (height, width) bool: which pixels are asked for."""


@dataclass(frozen=True)
class SceneSegmenter:
    """Blends the scores of overlapping windows over a scene.

    Memory holds the scores of one row of windows in one strip of the grid, whatever the scene's size.

    Args:
        source: the raster.
        grid: its windows.
        classes: T.
        score: what segments windows.
        scale: pixels of the model's view for one pixel of the scene.
        batch: windows scored at once.
        area: the pixels asked for, beside those with data; None for all.
    """

    source: RasterSource
    grid: WindowGrid
    classes: int
    score: ScoreWindows
    scale: float = 1.0
    batch: int = 1
    area: AreaMask | None = None

    def run(self, strip: int, first: int = 0) -> Iterator[tuple[Chunk, torch.Tensor, np.ndarray]]:
        """Chunks of a strip from row ``first`` of its windows on.

        Yields:
            the chunk, its (T, h, w) float32 scores in 0..1 (zero where no window was asked for), and its (h, w) bool
            mask of the pixels that hold data and are asked for.
        """
        chunks = self.grid.chunks(strip)
        height, _ = self.grid.shape
        begin = self.grid.first_row_for(first)
        sums = torch.zeros(self.classes, height, chunks[0].size[1])
        for chunk in chunks[begin:]:
            self._add_row(sums, chunk)
            rows = chunk.size[0]
            if chunk.row >= first:
                yield chunk, self._normalised(sums[:, :rows], chunk), self._mask(_window(chunk))
            # The rows that the next windows reach into move up.
            kept = sums[:, rows:].clone()
            sums.zero_()[:, : kept.shape[1]] = kept

    def _add_row(self, sums: torch.Tensor, chunk: Chunk) -> None:
        """Add the scores of the row of windows that begins with a chunk."""
        height, width = self.grid.shape
        wanted = [
            left for left in self.grid.lefts_of(chunk) if self._mask(Window(left, chunk.top, width, height)).any()
        ]
        across, down = (torch.from_numpy(weights) for weights in (self.grid.weights[1], self.grid.weights[0]))
        for start in range(0, len(wanted), self.batch):
            lefts = wanted[start : start + self.batch]
            corners = [(chunk.top, left) for left in lefts]
            for left, scores in zip(lefts, self._scores(corners), strict=True):
                begin, end = max(left, chunk.left), min(left + width, chunk.right)
                inside = slice(begin - left, end - left)
                weighted = scores[..., inside] * down[:, None] * across[inside]
                sums[..., begin - chunk.left : end - chunk.left] += weighted

    def _scores(self, corners: Sequence[Corner]) -> torch.Tensor:
        """(B, T, height, width) scores of windows in the scene's own pixels."""
        height, width = self.grid.shape
        seen = tuple(max(1, round(side * self.scale)) for side in (height, width))

        def read(asked: Sequence[Corner]) -> torch.Tensor:
            images = [self.source.read(Window(left, top, width, height), seen) for top, left in asked]
            return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)

        scores = self.score(corners, read).float().cpu()
        if seen == (height, width):
            return scores
        return F.interpolate(scores, size=(height, width), mode="bilinear", align_corners=False)

    def _normalised(self, sums: torch.Tensor, chunk: Chunk) -> torch.Tensor:
        down = torch.from_numpy(self.grid.totals[0][chunk.top : chunk.bottom])
        across = torch.from_numpy(self.grid.totals[1][chunk.left : chunk.right])
        return sums / (down[:, None] * across)

    def _mask(self, window: Window) -> np.ndarray:
        mask = self.source.valid(window)
        return mask if self.area is None else mask & self.area(window)


def _window(chunk: Chunk) -> Window:
    return Window(chunk.left, chunk.top, chunk.right - chunk.left, chunk.bottom - chunk.top)
