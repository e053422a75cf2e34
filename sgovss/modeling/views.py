"""Ways to score an image at inference: as a whole, in sliding windows, in several orientations and scales."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode

from sgovss.config_rules import check_stride
from sgovss.modeling.class_scores import ClassScores, mean_scores, resize
from sgovss.tiling import hann, starts, total_weights
from sgovss.view_set import ViewSet, parse_views

Score = Callable[[torch.Tensor], Sequence[ClassScores]]
"""Images (B, 3, H, W) in 0..255 -> the scores of each."""

View = Callable[[Score, torch.Tensor], ClassScores]
"""A scoring function and one image (3, H, W) -> its scores at the same size."""


@dataclass(frozen=True)
class WholeImage:
    """The image in one piece, at its own size."""

    def __call__(self, score: Score, image: torch.Tensor) -> ClassScores:
        return score(image[None])[0]


@dataclass(frozen=True)
class SlidingWindow:
    """The mean score of overlapping windows, optionally averaged with a global view.

    Working size 640, window 384, stride 256 and global view 384 are the protocol of CAT-Seg and OVRS.

    Args:
        window: side of the windows in pixels.
        stride: distance between the starts of neighbouring windows in pixels, at most ``window``.
        working_size: side of the square to which the image is resized first; 0 keeps its size.
        global_view: side of the square to which the image is resized for the global view; 0 for none.
        batch: windows scored at once.
        antialias: whether image and scores are antialiased where they are shrunk. CAT-Seg and methods based on it do
            not.
        tapered: whether pixels count less towards the border of a window, so that no seam is seen.

    Raises:
        InputError: the stride is not in 1..window.
    """

    window: int
    stride: int
    working_size: int = 0
    global_view: int = 0
    batch: int = 4
    antialias: bool = True
    tapered: bool = False

    def __post_init__(self) -> None:
        check_stride("TEST.SLIDING_WINDOW", self.window, self.stride)

    def __call__(self, score: Score, image: torch.Tensor) -> ClassScores:
        work = self._resized(image, self.working_size) if self.working_size else image.float()
        scores = self._windows(score, work)
        if self.global_view:
            whole = score(self._resized(image, self.global_view)[None])[0]
            scores = mean_scores([scores, whole.resized(work.shape[-2:], self.antialias)])
        return scores.resized(image.shape[-2:], self.antialias)

    def _resized(self, image: torch.Tensor, side: int) -> torch.Tensor:
        return resize(image, (side, side), self.antialias)

    def _windows(self, score: Score, image: torch.Tensor) -> ClassScores:
        height, width = image.shape[-2:]
        tops, lefts = (starts(side, self.window, self.stride) for side in (height, width))
        corners = [(top, left) for top in tops for left in lefts]
        windows: list[ClassScores] = []
        for first in range(0, len(corners), self.batch):
            part = corners[first : first + self.batch]
            windows += score(torch.stack([image[:, y : y + self.window, x : x + self.window] for y, x in part]))
        if len(windows) == 1:
            return windows[0]
        beside = hann(self.window) if self.tapered else np.ones(self.window, np.float32)
        rows, columns = beside[:height], beside[:width]
        weights = torch.from_numpy(rows[:, None] * columns).to(image.device) if self.tapered else None
        down, across = total_weights(height, tops, rows), total_weights(width, lefts, columns)

        def compute(classes: slice) -> torch.Tensor:
            sums: torch.Tensor | None = None
            for window, (top, left) in zip(windows, corners, strict=True):
                scores = window.compute(classes)
                if sums is None:
                    sums = scores.new_zeros(len(scores), height, width)
                add_window(sums, scores if weights is None else scores * weights, top, left)
            assert sums is not None
            return weighted_mean(sums, down, across)

        pixels = max(height * width, windows[0].pixels)
        return replace(windows[0], size=(height, width), compute=compute, pixels=pixels)


@dataclass(frozen=True)
class Padded:
    """A view of an image whose sides are first made a multiple of a number of pixels, by repeating the border.

    Args:
        view: the view of the larger image.
        multiple: number of pixels.
    """

    view: View
    multiple: int

    def __call__(self, score: Score, image: torch.Tensor) -> ClassScores:
        height, width = image.shape[-2:]
        beyond = (0, -width % self.multiple, 0, -height % self.multiple)
        padded = F.pad(image[None].float(), beyond, mode="replicate")[0]
        return self.view(score, padded).then(lambda scores: scores[..., :height, :width], (height, width))


@dataclass(frozen=True)
class Within:
    """A view of each image that another view scores, such as several orientations of each window.

    Args:
        outer: the view of the image.
        inner: the view of what ``outer`` scores.
    """

    outer: View
    inner: View

    def __call__(self, score: Score, image: torch.Tensor) -> ClassScores:
        return self.outer(lambda images: [self.inner(score, each) for each in images], image)


@dataclass(frozen=True)
class Augmented:
    """The mean of the scores in several orientations and at several scales.

    Args:
        view: how each image is scored.
        views: the orientations and scales.
        sizes: lengths of the shorter side in pixels, instead of the scales; empty to use the scales.
    """

    view: View
    views: ViewSet
    sizes: Sequence[int] = ()

    def __call__(self, score: Score, image: torch.Tensor) -> ClassScores:
        size = image.shape[-2:]
        results = []
        for factor in [side / min(size) for side in self.sizes] or self.views.scales:
            height, width = (max(1, round(side * factor)) for side in size)
            scaled = resize(image, (height, width), antialias=True)
            for orientation in self.views.orientations:
                seen = self.view(score, orientation.apply(scaled)).then(orientation.undo, (height, width))
                results.append(seen.resized(size, antialias=True))
        return mean_scores(results)


ScoreMaps = Callable[[torch.Tensor], torch.Tensor]
"""Images (B, 3, H, W) in 0..255 -> score maps (B, T, h, w) that cover the images, at any stride."""


@torch.no_grad()
def mean_maps(score: ScoreMaps, images: torch.Tensor, views: ViewSet, multiple: int = 1) -> torch.Tensor:
    """The mean of score maps over views, in the frame of the images.

    Memory does not grow with the number of views.

    Args:
        score: scores a batch in one view.
        images: (B, 3, H, W) in 0..255.
        views: orientations and scales.
        multiple: what the sides of scaled images are rounded to; the stride of the image encoder, so that it need not
            pad them.

    Returns:
        (B, T, h, w) at the resolution that ``score`` has for the unscaled images.
    """
    sides = images.shape[-2:]
    total: torch.Tensor | None = None
    for scale in views.scales:
        scaled = images if scale == 1 else _resized_batch(images, [_rounded(side * scale, multiple) for side in sides])
        for orientation in views.orientations:
            maps = orientation.undo(score(orientation.apply(scaled))).float()
            grid = [round(a * b / c) for a, b, c in zip(maps.shape[-2:], sides, scaled.shape[-2:], strict=True)]
            maps = _resized_batch(maps, grid if total is None else list(total.shape[-2:]))
            total = maps if total is None else total.add_(maps)
    assert total is not None
    return total / len(views)


def _resized_batch(x: torch.Tensor, size: list[int]) -> torch.Tensor:
    if list(x.shape[-2:]) == size:
        return x
    return F.interpolate(x.float(), size=size, mode="bilinear", align_corners=False, antialias=True)


def _rounded(side: float, multiple: int) -> int:
    return max(1, round(side / multiple)) * multiple


def build_views(cfg: CfgNode) -> ViewSet:
    """The orientations and scales of TEST.VIEWS."""
    return parse_views(cfg.TEST.VIEWS)


def build_native_view(cfg: CfgNode, step: int, cells: int) -> View:
    """Build the view of a photograph: at its own size, in the windows of TEST.SCENE and the views of TEST.VIEWS.

    The windows are those that a raster without georeference gets; see :class:`sgovss.rasters.grid.Axis`.

    Args:
        cfg: the config.
        step, cells: ``size_divisibility`` and ``map_cells`` of the model.
    """
    node, views = cfg.TEST.SCENE, build_views(cfg)
    window, stride = -(-node.WINDOW // step) * step, max(step, node.STRIDE // step * step)
    windows = Padded(SlidingWindow(window, stride, batch=1, tapered=True), step // math.gcd(step, cells))
    return windows if views == ViewSet() else Within(windows, Augmented(WholeImage(), views))


def build_view(cfg: CfgNode) -> View:
    """Build the view of an evaluation: TEST.SLIDING_WINDOW, and TEST.VIEWS or TEST.AUG of the config describe it."""
    node = cfg.TEST.SLIDING_WINDOW
    view: View = WholeImage()
    if node.ENABLED:
        view = SlidingWindow(node.WINDOW, node.STRIDE, node.WORKING_SIZE, node.GLOBAL_VIEW, antialias=node.ANTIALIAS)
    if cfg.TEST.AUG.ENABLED:
        return Augmented(view, ViewSet(mirror=cfg.TEST.AUG.FLIP), tuple(cfg.TEST.AUG.MIN_SIZES))
    views = build_views(cfg)
    return view if views == ViewSet() else Augmented(view, views)


def add_window(sums: torch.Tensor, scores: torch.Tensor, top: int, left: int) -> None:
    """Add the scores (T, h, w) of a window, whose first pixel is (top, left), to sums (T, H, W), in place."""
    height, width = scores.shape[-2:]
    sums[..., top : top + height, left : left + width] += scores


def weighted_mean(sums: torch.Tensor, down: np.ndarray, across: np.ndarray) -> torch.Tensor:
    """Divide weighted sums (T, H, W) by the total weights of their rows (H,) and columns (W,).

    See :func:`sgovss.tiling.total_weights`.
    """
    rows, columns = (torch.from_numpy(part).to(sums.device) for part in (down, across))
    return sums / (rows[:, None] * columns)
