"""The best class of each pixel, the next best, and how far the first is ahead."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sgovss.modeling.class_scores import ClassScores

_LEAST = 1e-6  # keeps the odds of a score of 1 finite


@dataclass(frozen=True, eq=False)
class Ranking:
    """The two best classes of each pixel of an image.

    The share of a class is its odds s / (1 - s), for a score s, divided by the sum of the odds of all classes. Shares
    add up to 1, so they compare the classes with each other, also where all scores are low.

    Attributes:
        labels: (H, W) int64, the best class; the first of equally good ones.
        runners_up: (H, W) int64, the next best class; equal to ``labels`` if there is only one class.
        scores: (H, W) float32 in 0..1, the score of the best class.
        leads: (H, W) float32 in 0..1, the share of the best class minus that of the next; 1 if there is only one.
    """

    labels: torch.Tensor
    runners_up: torch.Tensor
    scores: torch.Tensor
    leads: torch.Tensor

    def cpu(self) -> Ranking:
        """A copy in the memory of the CPU."""
        return Ranking(self.labels.cpu(), self.runners_up.cpu(), self.scores.cpu(), self.leads.cpu())


@torch.no_grad()
def rank(scores: ClassScores) -> Ranking:
    """Rank the classes of each pixel, without the scores of all classes in memory."""
    top = torch.full((2, *scores.size), -1.0, device=scores.device)
    ids = torch.zeros((2, *scores.size), dtype=torch.int64, device=scores.device)
    total = torch.zeros(scores.size, device=scores.device)
    for part, found in scores.chunks():
        found = found.to(top.device)
        total += _odds(found).sum(dim=0)
        top, ids = _best_two(torch.cat([top, found]), ids, part.start)
    if scores.classes == 1:
        return Ranking(ids[0], ids[0], top[0], torch.ones_like(top[0]))
    best, second = _odds(top)
    return Ranking(ids[0], ids[1], top[0], (best - second) / total)


def rank_others(scores: torch.Tensor, labels: torch.Tensor) -> Ranking:
    """Rank the classes where the best is known already, for scores that are rounded, so that several may be equal.

    Args:
        scores: (T, H, W) in 0..1.
        labels: (H, W) int64, the best class.
    """
    best = scores.gather(0, labels[None])[0]
    if len(scores) == 1:
        return Ranking(labels, labels, best, torch.ones_like(best))
    second, runners_up = scores.scatter(0, labels[None], -1.0).max(dim=0)
    leads = (_odds(best) - _odds(second)).clamp(min=0) / _odds(scores).sum(dim=0)
    return Ranking(labels, runners_up, best, leads)


def _best_two(scores: torch.Tensor, ids: torch.Tensor, start: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose the two best of each pixel.

    Args:
        scores: (2 + t, H, W), the two best so far and those of classes ``start`` to ``start + t - 1``; overwritten.
        ids: (2, H, W), the classes of the first two.
        start: the class of the third.

    Returns:
        (2, H, W) scores; (2, H, W) classes.
    """
    values, classes = [], []
    for _ in range(2):
        value, place = scores.max(dim=0)
        values.append(value)
        classes.append(torch.where(place < 2, ids.gather(0, place.clamp(max=1)[None])[0], place - 2 + start))
        scores.scatter_(0, place[None], -2.0)
    return torch.stack(values), torch.stack(classes)


def _odds(scores: torch.Tensor) -> torch.Tensor:
    return scores.clamp(min=_LEAST) / (1 - scores).clamp(min=_LEAST)
