"""How an image is looked at when testing: whole, in sliding windows, flipped and scaled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode

from sgovss.errors import InputError
from sgovss.tiling import windows

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
    """Overlapping windows, their scores averaged; optionally averaged once more with a global view.

    With working_size 640, window 384, stride 256 and global_view 384 this is the protocol of
    CAT-Seg and OVRS.

    Args:
        window: side of the windows in pixels.
        stride: distance between them, at most ``window``.
        working_size: side of the square the image is first resized to; 0 keeps its size.
        global_view: side of the square the whole image is seen at beside the windows; 0 for none.
        batch: windows scored at once.
    """

    window: int
    stride: int
    working_size: int = 0
    global_view: int = 0
    batch: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.stride <= self.window:
            raise InputError(
                f"TEST.SLIDING_WINDOW: the stride ({self.stride}) must be from 1 to the window ({self.window})"
            )

    def __call__(self, score: Score, image: torch.Tensor) -> torch.Tensor:
        size = image.shape[-2:]
        work = _resize(image, (self.working_size,) * 2) if self.working_size else image.float()
        scores = self._windows(score, work)
        if self.global_view:
            whole = score(_resize(image, (self.global_view,) * 2)[None])[0]
            scores = (scores + _resize(whole, work.shape[-2:])) / 2
        return _resize(scores, size)

    def _windows(self, score: Score, image: torch.Tensor) -> torch.Tensor:
        height, width = image.shape[-2:]
        corners = [(top, left) for top, _, left, _ in windows(height, width, self.window, self.stride)]
        total, count = None, image.new_zeros(height, width)
        for first in range(0, len(corners), self.batch):
            part = corners[first : first + self.batch]
            crops = torch.stack([image[:, y : y + self.window, x : x + self.window] for y, x in part])
            for (y, x), result in zip(part, score(crops), strict=True):
                if total is None:
                    total = result.new_zeros(len(result), height, width)
                total[:, y : y + self.window, x : x + self.window] += result
                count[y : y + self.window, x : x + self.window] += 1
        return total / count


@dataclass(frozen=True)
class Augmented:
    """Average of a view over scales of the shorter side and a mirror image.

    Args:
        view: what is averaged.
        sizes: lengths of the shorter side in pixels; empty keeps the size.
        flip: also the mirror image.
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
    """The view that the config's TEST.SLIDING_WINDOW and TEST.AUG describe."""
    node = cfg.TEST.SLIDING_WINDOW
    view: View = WholeImage()
    if node.ENABLED:
        view = SlidingWindow(node.WINDOW, node.STRIDE, node.WORKING_SIZE, node.GLOBAL_VIEW)
    if cfg.TEST.AUG.ENABLED:
        view = Augmented(view, tuple(cfg.TEST.AUG.MIN_SIZES), cfg.TEST.AUG.FLIP)
    return view


def _resize(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """(C, H, W) -> (C, *size), bilinear and antialiased when shrinking."""
    x = x.float()
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x[None], size=tuple(size), mode="bilinear", align_corners=False, antialias=True)[0]
