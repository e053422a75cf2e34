"""Ratio of two gradients at the image encoder: how strong the compensation is, compared with the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

COMPENSATION = "loss_gc"
"""Start of the names of the compensation's losses."""

_SMALLEST = 1e-20  # keeps the ratio finite


def gradient_ratio(losses: Mapping[str, torch.Tensor], parameters: Sequence[nn.Parameter]) -> torch.Tensor | None:
    """Norm of the compensation's gradient, divided by that of the other losses. The losses can be derived again.

    Args:
        losses: scalar losses of one batch, by name.
        parameters: those of the image encoder.

    Returns:
        A scalar; None if nothing is compensated or no parameter is trained. It is very large if the other losses have
        no gradient, as in a batch without labels.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    guided = [loss for name, loss in losses.items() if name.startswith(COMPENSATION)]
    taught = [loss for name, loss in losses.items() if not name.startswith(COMPENSATION)]
    if not (trained and guided and taught):
        return None
    norms = []
    for part in (guided, taught):
        total = torch.stack(part).sum()
        gradients = torch.autograd.grad(total, trained, retain_graph=True, allow_unused=True)
        norms.append(torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm())
    return norms[0] / norms[1].clamp_min(_SMALLEST)
