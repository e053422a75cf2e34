"""Contrastive training on the regions of synthetic images, which have exact masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from research.pretraining.crops import draw_crops, finish, sample
from research.pretraining.image_encoder import dense_map
from research.pretraining.manifests import decode
from research.pretraining.objective import contrastive_loss
from research.pretraining.texts import TRAINING_TEMPLATES, embed_texts
from sgovss.errors import InputError
from sgovss.modeling.open_clip_models import Tokenizer
from sgovss.synthetic import SYNTHETIC_VOCABULARY

STRIDE = 32
SMALLEST_REGION = 1.0
"""Area of the smallest region, in pixels of the dense map. Embeddings of smaller ones would depend mostly on their
surroundings."""


class Regions:
    """Synthetic images whose regions are contrasted with the names of their classes.

    Args:
        folders: written by :func:`sgovss.synthetic.write_images`, all images of one size.
        model, tokenizer: the open_clip model with its frozen text encoder.
        smallest: smallest side of a crop, as a fraction of the image's.

    Raises:
        InputError: there are no images, a mask is missing, or the sizes differ.
    """

    def __init__(self, folders: Sequence[Path], model: nn.Module, tokenizer: Tokenizer, smallest: float) -> None:
        images, masks = [], []
        for folder in folders:
            paths = sorted((folder / "images").glob("*.png"))
            if not paths:
                raise InputError(
                    f"{folder}: no images/*.png; make some with python -m sgovss.synthetic --output {folder}"
                )
            images += [decode(path) for path in paths]
            masks += [decode(folder / "labels_id" / path.name, cv2.IMREAD_UNCHANGED) for path in paths]
        if len(sizes := {array.shape[:2] for array in (*images, *masks)}) > 1:
            raise InputError(f"{folders[-1]}: images and masks of {len(sizes)} sizes; make them with one --size")
        self.images = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
        self.masks = torch.from_numpy(np.stack(masks))[:, None]
        self.smallest = smallest
        names = [(index, name) for index, entry in enumerate(SYNTHETIC_VOCABULARY) for name in entry.names]
        texts = [template.format(name) for _, name in names for template in TRAINING_TEMPLATES]
        self._texts = embed_texts(model, tokenizer, texts)
        owners = torch.tensor([index for index, _ in names]).repeat_interleave(len(TRAINING_TEMPLATES))
        self._rows = [torch.nonzero(owners == index)[:, 0] for index in range(len(SYNTHETIC_VOCABULARY))]

    def loss(self, visual: nn.Module, count: int, size: int, temperature: float, generator: torch.Generator) -> Tensor:
        """Compute the contrastive loss between all regions of random images and one name of the class of each region.

        Args:
            visual: the image encoder.
            count: number of images.
            size: side of the views in pixels.
            temperature: temperature of the loss.
            generator: source of randomness.

        Returns:
            a scalar.
        """
        views, coverage = self.draw(count, size, generator)
        regions, classes = pool_regions(dense_map(visual, views), coverage)
        picked = [self._rows[index] for index in classes.tolist()]
        rows = [group[torch.randint(len(group), (1,), generator=generator)] for group in picked]
        return contrastive_loss(regions, self._texts[torch.cat(rows)], temperature)

    def draw(self, count: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw random views.

        Returns:
            views (B, 3, size, size); and (B, T, size / 32, size / 32), the fraction of each pixel of the dense map that
            each class covers.
        """
        chosen = torch.randint(len(self.images), (count,), generator=generator)
        crops = draw_crops(count, self.smallest, generator)
        masks = sample(self.masks[chosen], crops, size, mode="nearest")[:, 0].long()
        known = F.one_hot(masks.clamp(max=len(SYNTHETIC_VOCABULARY)), len(SYNTHETIC_VOCABULARY) + 1)[..., :-1]
        coverage = F.avg_pool2d(known.permute(0, 3, 1, 2).float(), STRIDE)
        return finish(sample(self.images[chosen], crops, size), generator), coverage


def pool_regions(dense: Tensor, coverage: Tensor) -> tuple[Tensor, Tensor]:
    """Embed every region that is large enough: the mean over the dense map, weighted by the squared coverage.

    Args:
        dense: (B, D, h, w) dense map.
        coverage: (B, T, h, w), the fraction of each pixel of the dense map that each class covers.

    Returns:
        (R, D) embeddings and (R,) class indices.
    """
    image, index = torch.nonzero(coverage.sum(dim=(2, 3)) >= SMALLEST_REGION, as_tuple=True)
    weights = coverage[image, index].square()
    weights = weights / weights.sum(dim=(1, 2), keepdim=True)
    return torch.einsum("rdhw,rhw->rd", dense[image], weights), index
