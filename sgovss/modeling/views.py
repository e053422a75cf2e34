"""Ways to score an image at inference: as a whole, in sliding windows, mirrored, at several scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from detectron2.config import CfgNode

from sgovss.config_rules import check_stride
from sgovss.modeling.class_scores import ClassScores, mean_scores, resize
from sgovss.tiling import starts, total_weights

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

    Raises:
        InputError: the stride is not in 1..window.
    """

    window: int
    stride: int
    working_size: int = 0
    global_view: int = 0
    batch: int = 4
    antialias: bool = True

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
        equal = np.ones(self.window, np.float32)
        down, across = total_weights(height, tops, equal[:height]), total_weights(width, lefts, equal[:width])

        def compute(classes: slice) -> torch.Tensor:
            sums: torch.Tensor | None = None
            for window, (top, left) in zip(windows, corners, strict=True):
                scores = window.compute(classes)
                if sums is None:
                    sums = scores.new_zeros(len(scores), height, width)
                add_window(sums, scores, top, left)
            assert sums is not None
            return weighted_mean(sums, down, across)

        pixels = max(height * width, windows[0].pixels)
        return replace(windows[0], size=(height, width), compute=compute, pixels=pixels)


@dataclass(frozen=True)
class Augmented:
    """The mean of the scores at several scales, with and without mirroring.

    Args:
        view: how each scaled image is scored.
        sizes: lengths of the shorter side in pixels; empty keeps the size.
        flip: whether to add the mirror image at each scale.
    """

    view: View
    sizes: Sequence[int]
    flip: bool

    def __call__(self, score: Score, image: torch.Tensor) -> ClassScores:
        size = image.shape[-2:]
        results = []
        for shorter in self.sizes or (min(size),):
            factor = shorter / min(size)
            height, width = (max(1, round(side * factor)) for side in size)
            scaled = resize(image, (height, width), antialias=True)
            results.append(self.view(score, scaled).resized(size, antialias=True))
            if self.flip:
                mirrored = self.view(score, scaled.flip(-1)).then(lambda scores: scores.flip(-1), (height, width))
                results.append(mirrored.resized(size, antialias=True))
        return mean_scores(results)


def build_view(cfg: CfgNode) -> View:
    """Build the view that TEST.SLIDING_WINDOW and TEST.AUG of the config describe."""
    node = cfg.TEST.SLIDING_WINDOW
    view: View = WholeImage()
    if node.ENABLED:
        view = SlidingWindow(node.WINDOW, node.STRIDE, node.WORKING_SIZE, node.GLOBAL_VIEW, antialias=node.ANTIALIAS)
    if cfg.TEST.AUG.ENABLED:
        view = Augmented(view, tuple(cfg.TEST.AUG.MIN_SIZES), cfg.TEST.AUG.FLIP)
    return view


def add_window(
    sums: torch.Tensor,
    scores: torch.Tensor,
    top: int,
    left: int,
    weights: tuple[np.ndarray, np.ndarray] | None = None,
) -> None:
    """Add the scores of a window to weighted sums, in place.

    Args:
        sums: (T, H, W).
        scores: (T, h, w), those of the window. Columns outside the sums are left out.
        top, left: position of the window in the sums; ``left`` may be negative.
        weights: (h,) weights of the window's rows and (w,) of its columns; None for equal weights of 1.
    """
    width = scores.shape[-1]
    begin, end = max(left, 0), min(left + width, sums.shape[-1])
    inside = slice(begin - left, end - left)
    scores = scores[..., inside]
    if weights is not None:
        down, across = (torch.from_numpy(part).to(scores.device) for part in weights)
        scores = scores * down[:, None] * across[inside]
    sums[..., top : top + scores.shape[-2], begin:end] += scores


def weighted_mean(sums: torch.Tensor, down: np.ndarray, across: np.ndarray) -> torch.Tensor:
    """Divide weighted sums (T, H, W) by the total weights of their rows (H,) and columns (W,).

    See :func:`sgovss.tiling.total_weights`.
    """
    rows, columns = (torch.from_numpy(part).to(sums.device) for part in (down, across))
    return sums / (rows[:, None] * columns)
