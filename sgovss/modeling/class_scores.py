"""Scores of an image, computed for a chunk of classes at a time, so that memory need not hold those of all classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from detectron2.utils.memory import retry_if_cuda_oom

from sgovss.modeling.chunks import chunk_size


@dataclass(frozen=True)
class ClassScores:
    """Scores (T, H, W) of one image. What is kept are the logits, which are usually smaller than the image.

    Attributes:
        classes: number of classes T.
        size: (height, width) of the scores in pixels.
        compute: a slice of t classes -> their scores (t, H, W) in 0..1, float32. They do not depend on other classes.
        pixels: number of pixels of the largest map that ``compute`` makes for a class.
        device: the device that ``compute`` runs on.
    """

    classes: int
    size: tuple[int, int]
    compute: Callable[[slice], torch.Tensor]
    pixels: int
    device: torch.device

    @classmethod
    def of(cls, scores: torch.Tensor) -> ClassScores:
        """Wrap scores (T, H, W) that are computed already."""
        height, width = scores.shape[-2:]
        return cls(len(scores), (height, width), scores.__getitem__, height * width, scores.device)

    def then(self, change: Callable[[torch.Tensor], torch.Tensor], size: tuple[int, int]) -> ClassScores:
        """The scores after a change: scores (t, H, W) -> (t, *size) for any number t of classes."""
        pixels = max(self.pixels, size[0] * size[1])
        return replace(self, size=size, compute=lambda part: change(self.compute(part)), pixels=pixels)

    def resized(self, size: Sequence[int], antialias: bool = False) -> ClassScores:
        """The scores at another (height, width); see :func:`resize`."""
        height, width = size
        return self.then(lambda scores: resize(scores, (height, width), antialias), (height, width))

    @torch.no_grad()
    def all(self) -> torch.Tensor:
        """The scores of all classes, (T, H, W) float32; on the CPU if the memory of the CUDA device is too small."""
        return retry_if_cuda_oom(self._joined)(torch.empty(0, device=self.device))

    @torch.no_grad()
    def best(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The best class of each pixel, without the scores of all classes in memory.

        Returns:
            (H, W) int64 ids, the first of equally good classes, as ``argmax`` of all scores gives them; (H, W) float32
            scores of these classes.
        """
        chunks = self.chunks()
        best, labels = next(chunks)[1].max(dim=0)
        for part, scores in chunks:
            score, label = scores.max(dim=0)
            better = score > best
            best = torch.where(better, score, best)
            labels = torch.where(better, label + part.start, labels)
        return labels, best

    def chunks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Compute the scores in chunks of classes that fit into memory: their slice, and their scores (t, H, W)."""
        size = chunk_size(self.classes, self.pixels, self.device)
        for first in range(0, self.classes, size):
            part = slice(first, first + size)
            yield part, retry_if_cuda_oom(self.compute)(part)

    def _joined(self, like: torch.Tensor) -> torch.Tensor:
        """All scores, on the device of ``like``."""
        whole = torch.empty(self.classes, *self.size, device=like.device)
        for part, scores in self.chunks():
            whole[part] = scores
        return whole


def mean_scores(several: Sequence[ClassScores]) -> ClassScores:
    """The mean of scores of the same classes and size."""

    def compute(part: slice) -> torch.Tensor:
        total = several[0].compute(part)
        for each in several[1:]:
            total = total + each.compute(part)
        return total / len(several)

    return replace(several[0], compute=compute, pixels=max(each.pixels for each in several))


def resize(x: torch.Tensor, size: tuple[int, int], antialias: bool) -> torch.Tensor:
    """(C, H, W) -> (C, *size) float32, bilinear. ``antialias`` matters for shrinking only."""
    x = x.float()
    if tuple(x.shape[-2:]) == size:
        return x
    return F.interpolate(x[None], size=size, mode="bilinear", align_corners=False, antialias=antialias)[0]
