"""Fill units of a scene: read windows ahead, score them in batches, blend, and choose the class of each pixel."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, cast

import numpy as np
import torch
from rasterio.windows import Window

from sgovss.inference.rejection import Rejection
from sgovss.label_ids import id_dtype, no_class_id
from sgovss.rasters.blending import ScoreSums
from sgovss.rasters.geotiff import NO_PERCENT, window_of
from sgovss.rasters.grid import PIECE, TILE
from sgovss.rasters.partial import UnitPixels
from sgovss.rasters.picture import picture_factor, read_part
from sgovss.rasters.plan import ScenePlan, Step
from sgovss.rasters.segment_sums import merge_sums, sum_scores
from sgovss.rasters.segments import OUTSIDE, Segments
from sgovss.rasters.source import RasterSource
from sgovss.rasters.threads import read_ahead
from sgovss.rasters.units import Box, Unit
from sgovss.rasters.upsampling import best_classes, percents, to_percent

AreaMask = Callable[[Window], np.ndarray]
"""A window -> (height, width) bool: the pixels inside the area of interest."""

ScoreWindows = Callable[[Sequence[tuple[int, int]], torch.Tensor], torch.Tensor]
"""Corners (top, left) of B windows in pixels of the model, and their pixels (B, 3, H, W) uint8 -> score maps
(B, T, h, w) in 0..1 on the device of the model."""

_BATCHES_AHEAD = 3


class _Batch(NamedTuple):
    """Windows of one row that have data.

    Attributes:
        columns: their numbers; may be empty.
        images: (B, 3, H, W) uint8.
    """

    columns: list[int]
    images: torch.Tensor


class _Piece(NamedTuple):
    """Up to 128 rows of pixels over all strips of a pass.

    Attributes:
        sums: of the segments of each tile, with the first column of the tile in the scene; empty without segments.
    """

    labels: np.ndarray
    confidence: np.ndarray | None
    probabilities: np.ndarray | None
    sums: list[tuple[int, np.ndarray]]


@dataclass(frozen=True)
class UnitFiller:
    """Computes the pixels of units.

    Args:
        plan: the plan of the scene.
        source: the raster, which other threads open again.
        area: the area of interest; None for the whole scene.
        score: scores windows.
        device: the device of their scores.
        scored: number of classes with scores.
        classes: number of the user's classes.
        rejection: rule for labelling pixels as "other".
        confidence, probabilities: whether these are wanted.
        threads: number of threads that read.
        segments: segments whose scores are summed; None for none. Pixels outside of them get no class.
    """

    plan: ScenePlan
    source: RasterSource
    area: AreaMask | None
    score: ScoreWindows
    device: torch.device
    scored: int
    classes: int
    rejection: Rejection
    confidence: bool
    probabilities: bool
    threads: int = 1
    segments: Segments | None = None

    @property
    def label_dtype(self) -> np.dtype:
        """The data type of the labels; memory holds those of a whole band of rows."""
        return np.dtype(id_dtype(self._labels))

    @property
    def _labels(self) -> int:
        """Number of classes of the labels, with "other" if there is one."""
        return self.classes + self.rejection.rejects

    @torch.no_grad()
    def __call__(self, units: list[Unit]) -> Generator[list[tuple[Unit, UnitPixels]], None, None]:
        """Fill a rectangle of units.

        Args:
            units: in the order of :meth:`UnitGrid.passes`.

        Yields:
            the units of one band of rows with their pixels, from top to bottom.
        """
        steps, box = [*self._by_band(units)], self.plan.box(units)
        with closing(read_ahead(self._reads(steps, box), self.source, self.threads, _BATCHES_AHEAD)) as reads:
            rows = _Rows(self, box)
            pieces: list[_Piece] = []
            for step, bands in steps:
                for _ in step.batches:
                    rows.add(step.row, cast(_Batch, next(reads)))
                for tops, band in bands:
                    pieces += [rows.piece(top, cast(np.ndarray | None, next(reads))) for top in tops]
                    if band:
                        done, pieces = _joined(pieces), []
                        yield [(unit, self._cut(done, unit, band, *cast(tuple, next(reads)))) for unit in band]

    def _by_band(self, units: list[Unit]) -> Iterator[tuple[Step, list[tuple[list[int], list[Unit]]]]]:
        """Divide the pieces of each step among the bands that are finished after it; the last band may be none yet.

        Where a scene is shrunk for the model, a step finishes many bands. Memory holds the pieces of one of them.
        """
        held = 0
        for step in self.plan.steps(units):
            tops, bands = deque(step.pieces), []
            for band in step.bands:
                count = math.ceil(self.plan.box(band).size[0] / PIECE) - held
                bands.append(([tops.popleft() for _ in range(count)], band))
                held = 0
            held += len(tops)
            yield step, [*bands, ([*tops], [])]

    def _reads(
        self, steps: Sequence[tuple[Step, list[tuple[list[int], list[Unit]]]]], box: Box
    ) -> Iterator[Callable[[RasterSource], object]]:
        """What is read, in the order in which it is needed."""
        for step, bands in steps:
            for columns in step.batches:
                yield partial(self._read_batch, row=step.row, columns=columns)
            for tops, band in bands:
                for top in tops:
                    yield partial(self._read_segments, box=Box(top, min(top + PIECE, box.bottom), box.left, box.right))
                for unit in band:
                    yield partial(self._read_unit, unit=unit)

    def _read_batch(self, source: RasterSource, row: int, columns: Sequence[int]) -> _Batch:
        """Read the windows of a batch that have data inside the area of interest."""
        down, across = self.plan.down, self.plan.across
        found, images = [], []
        for column in columns:
            top, height, rows = down.extent(down.starts[row])
            left, width, inside = across.extent(across.starts[column])
            window = Window(left, top, width, height)
            if self.area is not None and not self.area(_outer(window, source)).any():
                continue
            pixels, valid = source.read(window, (rows, inside))
            if valid.any():
                # The model repeats the border where an image is not a multiple of its step; so does this.
                beyond = ((0, down.window - rows), (0, across.window - inside), (0, 0))
                images.append(np.pad(pixels, beyond, mode="edge").transpose(2, 0, 1))
                found.append(column)
        return _Batch(found, torch.from_numpy(np.stack(images)) if images else torch.empty(0))

    def _read_segments(self, source: RasterSource, box: Box) -> np.ndarray | None:
        """Read the segments of the pixels of a box that have data; None if there are no segments at all."""
        if self.segments is None:
            return None
        return np.where(self._valid(source, box), self.segments(window_of(box)), OUTSIDE)

    def _read_unit(self, source: RasterSource, unit: Unit) -> tuple[np.ndarray, np.ndarray]:
        """Read which pixels of a unit get a class, and its part of the overview picture."""
        box = self.plan.units.box(unit)
        valid = self._valid(source, box)
        if self.segments is not None:
            valid &= self.segments(window_of(box)) != OUTSIDE
        return valid, read_part(source, box, picture_factor(source.height, source.width))

    def _valid(self, source: RasterSource, box: Box) -> np.ndarray:
        """Read which pixels of a box have data and are inside the area of interest: (h, w) bool."""
        valid = source.valid(window_of(box))
        return valid if self.area is None else valid & self.area(window_of(box))

    def _cut(self, done: _Piece, unit: Unit, band: list[Unit], valid: np.ndarray, picture: np.ndarray) -> UnitPixels:
        """Cut a unit out of the pixels of a band."""
        box, whole = self.plan.units.box(unit), self.plan.box(band)
        columns = slice(box.left - whole.left, box.right - whole.left)

        def masked(pixels: np.ndarray | None, value: int) -> np.ndarray | None:
            return None if pixels is None else np.where(valid, pixels[..., columns], pixels.dtype.type(value))

        labels = masked(done.labels, no_class_id(self._labels))
        assert labels is not None
        confidence, scores = (masked(each, NO_PERCENT) for each in (done.confidence, done.probabilities))
        sums = merge_sums([part for left, part in done.sums if box.left <= left < box.right]) if done.sums else None
        return UnitPixels(labels, confidence, scores, picture, sums)


class _Rows:
    """The rows of cells of a pass that are not finished, and the pixels that are interpolated from them."""

    def __init__(self, filler: UnitFiller, box: Box) -> None:
        self._filler, self._box = filler, box
        self._down, self._across = filler.plan.down, filler.plan.across
        self._columns = self._across.cells_of(box.left, box.right)
        self._sums: ScoreSums | None = None
        self._tiles: list[tuple[int, int, int, torch.Tensor]] = []

    def add(self, row: int, batch: _Batch) -> None:
        """Score the windows of a batch and add their maps."""
        if not batch.columns:
            return
        corners = [(self._down.starts[row], self._across.starts[column]) for column in batch.columns]
        maps = self._filler.score(corners, batch.images)
        sums = self._sums or self._begin()
        for column, each in zip(batch.columns, maps, strict=True):
            sums.add(each, row, column)

    def piece(self, top: int, segments: np.ndarray | None) -> _Piece:
        """Interpolate the rows of pixels from ``top`` on, whose cells are finished.

        Args:
            top: first row in the scene.
            segments: of these pixels; None if there are none.
        """
        bottom = min(top + PIECE, self._box.bottom)
        sums = self._sums or self._begin()
        begin, end = self._down.cells_of(top, bottom)
        scores = sums.mean(begin, end)
        rows = torch.from_numpy(self._down.interpolation(top, bottom)).to(scores.device)
        tiles = [
            self._tile(scores[:, :, begin:end], rows, columns, left, segments)
            for left, begin, end, columns in self._tiles
        ]
        if bottom < self._box.bottom:
            sums.drop(self._down.cells_of(bottom, self._box.bottom)[0])
        return _joined(tiles, axis=-1)

    def _tile(
        self, scores: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, left: int, segments: np.ndarray | None
    ) -> _Piece:
        filler = self._filler
        labels, best = best_classes(scores, rows, columns)
        labels = filler.rejection.reject(labels, best, filler.classes)
        every = None
        if filler.probabilities:
            every = np.concatenate([part.cpu().numpy() for _, part in percents(scores, rows, columns)])
        confidence = to_percent(best).cpu().numpy() if filler.confidence else None
        sums = []
        if segments is not None:
            beside = left - self._box.left
            here = segments[:, beside : beside + len(columns)]
            sums.append((left, sum_scores(scores.cpu().numpy(), rows.cpu().numpy(), columns.cpu().numpy(), here)))
        return _Piece(labels.cpu().numpy().astype(filler.label_dtype), confidence, every, sums)

    def _begin(self) -> ScoreSums:
        down, across, box, device = self._down, self._across, self._box, self._filler.device
        rows = down.cells_of(box.top, box.bottom)
        tallest = max(end - begin for begin, end in (down.cells_of(top, min(top + PIECE, box.bottom))
                                                    for top in range(box.top, box.bottom, PIECE)))  # fmt: skip
        height = down.window_cells + tallest  # a window begins within the first piece that is not finished, or above it
        self._sums = ScoreSums(down, across, rows, self._columns, self._filler.scored, height, device)
        self._tiles = []
        for left in range(box.left, box.right, TILE):
            right = min(left + TILE, box.right)
            begin, end = (cell - self._columns[0] for cell in across.cells_of(left, right))
            self._tiles.append((left, begin, end, torch.from_numpy(across.interpolation(left, right)).to(device)))
        return self._sums


def _joined(pieces: Sequence[_Piece], axis: int = -2) -> _Piece:
    def join(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
        return None if parts[0] is None else np.concatenate(cast(list[np.ndarray], parts), axis=axis)

    labels, confidence, probabilities = (join(parts) for parts in zip(*(piece[:3] for piece in pieces), strict=True))
    assert labels is not None
    return _Piece(labels, confidence, probabilities, [part for piece in pieces for part in piece.sums])


def _outer(window: Window, source: RasterSource) -> Window:
    """The whole pixels that a window touches."""
    top, left = math.floor(window.row_off), math.floor(window.col_off)
    bottom = min(math.ceil(window.row_off + window.height), source.height)
    right = min(math.ceil(window.col_off + window.width), source.width)
    return Window(left, top, right - left, bottom - top)
