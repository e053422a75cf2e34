"""Training images of several sizes, from which views are cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from research.pretraining.crops import sample
from research.pretraining.manifests import SIDE, resize_square, to_tensor

NATIVE_BELOW = 200
"""Images with a smaller side are kept at their size; larger ones become 256 x 256."""

LARGEST_MAGNIFICATION = 1.5
"""A view is never enlarged more than this. Images of 150 px are cut at 128 to 150 px for views of 192 px."""


class ImagePool:
    """Images in memory, in groups of one size.

    Args:
        images: (H, W, 3) uint8 RGB.

    Attributes:
        sides: (N,) float, side of each image in pixels.
    """

    def __init__(self, images: Sequence[np.ndarray]) -> None:
        short = [min(image.shape[:2]) for image in images]
        sides = [SIDE if side >= NATIVE_BELOW else side for side in short]
        self.sides = torch.tensor(sides, dtype=torch.float32)
        self._groups: dict[int, Tensor] = {}
        self._rows = torch.zeros(len(images), dtype=torch.long)
        for side in set(sides):
            members = [index for index, each in enumerate(sides) if each == side]
            self._groups[side] = to_tensor([resize_square(images[index], side) for index in members])
            self._rows[members] = torch.arange(len(members))

    def __len__(self) -> int:
        return len(self.sides)

    def smallest(self, chosen: Tensor, fraction: float, size: int) -> Tensor:
        """Smallest side of a crop of each image for views of ``size`` pixels, (B,), as a fraction of the image's.

        It is ``fraction``, or more if the view would be enlarged too much.
        """
        return (size / LARGEST_MAGNIFICATION / self.sides[chosen]).clamp(fraction, 1.0)

    def views(self, chosen: Tensor, crops: Tensor, size: int, device: torch.device) -> Tensor:
        """Cut crops (B, 2, 3) out of the chosen images: (B, 3, size, size) float32 on the device, 0..255."""
        result = torch.empty(len(chosen), 3, size, size, device=device)
        for side, images in self._groups.items():
            members = torch.nonzero(self.sides[chosen] == side)[:, 0]
            if len(members):
                part = to_device(images[self._rows[chosen[members]]], device)
                result[members.to(device)] = sample(part, crops[members].to(device), size)
        return result


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device; to a GPU through pinned memory, so that the copy does not wait."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
