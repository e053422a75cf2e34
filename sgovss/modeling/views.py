"""Views for testing: the whole image, sliding windows, mirror images and scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode

from sgovss.config_rules import check_stride
from sgovss.tiling import starts, total_weights

Score = Callable[[torch.Tensor], torch.Tensor]
"""Images (B, 3, H, W) in 0..255 -> scores (B, T, H, W)."""

View = Callable[[Score, torch.Tensor], torch.Tensor]
"""A scoring function and one image (3, H, W) -> its scores (T, H, W)."""


@dataclass(frozen=True)
class WholeImage:
    """The image in one piece, at its own size."""

    def __call__(self, score: Score, image: torch.Tensor) -> torch.Tensor:
        return score(image[None])[0]


@dataclass(frozen=True)
class SlidingWindow:
    """The mean score of overlapping windows, optionally averaged with a global view.

    Working size 640, window 384, stride 256 and global view 384 are the protocol of CAT-Seg and OVRS.

    Args:
        window: side of the windows in pixels.
        stride: pixels from one window to the next, at most ``window``.
        working_size: side of the square to which the image is resized first; 0 keeps its size.
        global_view: side of the square to which the image is resized for the global view; 0 for none.
        batch: windows scored at once.

    Raises:
        InputError: the stride is not in 1..window.
    """

    window: int
    stride: int
    working_size: int = 0
    global_view: int = 0
    batch: int = 4

    def __post_init__(self) -> None:
        check_stride("TEST.SLIDING_WINDOW", self.window, self.stride)

    def __call__(self, score: Score, image: torch.Tensor) -> torch.Tensor:
        size = image.shape[-2:]
        work = _resize(image, (self.working_size,) * 2) if self.working_size else image.float()
        scores = self._windows(score, work)
        if self.global_view:
            whole = score(_resize(image, (self.global_view,) * 2)[None])[0]
            scores = (scores + _resize(whole, work.shape[-2:])) / 2
        return _resize(scores, size)

    def _windows(self, score: Score, image: torch.Tensor) -> torch.Tensor:
        sides = image.shape[-2:]
        tops, lefts = (starts(side, self.window, self.stride) for side in sides)
        corners = [(top, left) for top in tops for left in lefts]
        sums: torch.Tensor | None = None
        for first in range(0, len(corners), self.batch):
            part = corners[first : first + self.batch]
            crops = torch.stack([image[:, y : y + self.window, x : x + self.window] for y, x in part])
            for (top, left), scores in zip(part, score(crops), strict=True):
                if sums is None:
                    sums = scores.new_zeros(len(scores), *sides)
                add_window(sums, scores, top, left)
        assert sums is not None
        equal = np.ones(self.window, np.float32)
        totals = [total_weights(side, firsts, equal[:side]) for side, firsts in zip(sides, (tops, lefts), strict=True)]
        return weighted_mean(sums, totals[0], totals[1])


@dataclass(frozen=True)
class Augmented:
    """The mean of a view over scales and mirror images.

    Args:
        view: the view.
        sizes: lengths of the shorter side in pixels; empty keeps the size.
        flip: whether to add the mirror image at each scale.
    """

    view: View
    sizes: Sequence[int]
    flip: bool

    def __call__(self, score: Score, image: torch.Tensor) -> torch.Tensor:
        size = image.shape[-2:]
        results = []
        for shorter in self.sizes or (min(size),):
            factor = shorter / min(size)
            scaled = _resize(image, tuple(max(1, round(side * factor)) for side in size))
            results.append(_resize(self.view(score, scaled), size))
            if self.flip:
                results.append(_resize(self.view(score, scaled.flip(-1)).flip(-1), size))
        return torch.stack(results).mean(dim=0)


def build_view(cfg: CfgNode) -> View:
    """Build the view that TEST.SLIDING_WINDOW and TEST.AUG of the config describe."""
    node = cfg.TEST.SLIDING_WINDOW
    view: View = WholeImage()
    if node.ENABLED:
        view = SlidingWindow(node.WINDOW, node.STRIDE, node.WORKING_SIZE, node.GLOBAL_VIEW)
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
        scores: (T, h, w) of the window. Columns that lie outside of the sums are left out.
        top, left: position of the window in the sums; ``left`` may be negative.
        weights: (h,) and (w,) of the window's rows and columns; None for 1.
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


def _resize(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """(C, H, W) -> (C, *size), bilinear, with antialiasing when shrinking."""
    x = x.float()
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x[None], size=tuple(size), mode="bilinear", align_corners=False, antialias=True)[0]
