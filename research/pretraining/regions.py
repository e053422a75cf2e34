"""Contrastive training on labelled regions: of synthetic images, which have exact masks, and of real ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from research.pretraining.banepa import cut_windows, read_halves
from research.pretraining.crops import coarsen, draw_crops, finish, sample
from research.pretraining.manifests import decode, to_tensor
from research.pretraining.objective import contrastive_loss, rest_loss
from research.pretraining.pool import to_device
from research.pretraining.texts import TRAINING_TEMPLATES, embed_texts
from sgovss.errors import InputError
from sgovss.modeling.open_clip_models import ClipModel, Tokenizer
from sgovss.synthetic import WIDE_VOCABULARY
from sgovss.synthetic.classes import Id

STRIDE = 32
SMALLEST_REGION = 1.0
"""Area of the smallest region, in pixels of the dense map. Embeddings of smaller ones would depend mostly on their
surroundings."""

REST = 254
"""Value of a mask: something else than the named classes of the image, which one is unknown. 255 is unknown."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images of one size with masks.

    Attributes:
        images: (N, 3, H, H) uint8 RGB.
        masks: (N, 1, H, H) uint8, ids of ``WIDE_VOCABULARY``, 254 or 255.
    """

    images: Tensor
    masks: Tensor


def read_synthetic(folders: Sequence[Path]) -> Labelled:
    """Read folders of :func:`sgovss.synthetic.write_images`.

    Raises:
        InputError: there are no images, a mask is missing, or the sizes differ.
    """
    images, masks = [], []
    for folder in folders:
        paths = sorted((folder / "images").glob("*.png"))
        if not paths:
            raise InputError(f"{folder}: no images/*.png; make some with python -m sgovss.synthetic --output {folder}")
        images += [decode(path) for path in paths]
        masks += [decode(folder / "labels_id" / path.name, cv2.IMREAD_UNCHANGED) for path in paths]
    if len(sizes := {array.shape[:2] for array in (*images, *masks)}) > 1:
        raise InputError(f"{folders[-1]}: images and masks of {len(sizes)} sizes; make them with one --size")
    return Labelled(to_tensor(images), torch.from_numpy(np.stack(masks))[:, None])


def read_banepa(data: Path) -> Labelled:
    """Cut the upper half of Banepa's orthophoto into windows: buildings, and the rest.

    Raises:
        InputError: the orthophoto is missing.
    """
    images, masks = cut_windows(*read_halves(data)[0])
    values = np.full(256, 255, np.uint8)
    values[:2] = REST, Id.BUILDING
    return Labelled(to_tensor(images), torch.from_numpy(values[masks])[:, None])


class Regions:
    """Labelled images whose regions are contrasted with the names of their classes.

    Args:
        sets: images with masks.
        counts: the number of images that a step draws of each set.
        model, tokenizer: the open_clip model with its frozen text encoder.
        smallest: smallest side of a crop, as a fraction of the image's.
        coarsest: see :func:`~research.pretraining.crops.coarsen`.
    """

    def __init__(
        self,
        sets: Sequence[Labelled],
        counts: Sequence[int],
        model: ClipModel,
        tokenizer: Tokenizer,
        smallest: float,
        coarsest: float = 1.0,
    ) -> None:
        self.sets = list(zip(sets, counts, strict=True))
        self.smallest = smallest
        self.coarsest = coarsest
        names = [(index, name) for index, entry in enumerate(WIDE_VOCABULARY) for name in entry.names]
        texts = [template.format(name) for _, name in names for template in TRAINING_TEMPLATES]
        self._texts = embed_texts(model, tokenizer, texts)
        owners = torch.tensor([index for index, _ in names]).repeat_interleave(len(TRAINING_TEMPLATES))
        self._rows = [torch.nonzero(owners == index)[:, 0] for index in range(len(WIDE_VOCABULARY))]

    def loss(
        self,
        encode: Callable[[Tensor], Tensor],
        size: int,
        temperature: float,
        generator: torch.Generator,
        device: torch.device,
    ) -> Tensor:
        """Compute the contrastive loss between all regions of random images and one name of the class of each region.

        In images with a rest, :func:`~research.pretraining.objective.rest_loss` is added.

        Args:
            encode: (B, 3, size, size) normalised -> dense map (B, D, h, w).
            size: side of the views in pixels.
            temperature: temperature of the loss.
            generator: source of randomness.
            device: where to compute.

        Returns:
            a scalar.
        """
        views, coverage, rest = self.draw(size, generator, device)
        dense = encode(views)
        regions, classes, owners = pool_regions(dense, coverage)
        picked = [self._rows[index] for index in classes.tolist()]
        rows = [group[torch.randint(len(group), (1,), generator=generator)] for group in picked]
        texts = self._texts[torch.cat(rows)].to(device)
        loss = contrastive_loss(regions, texts, temperature)
        others, _, places = pool_regions(dense, rest)
        beside = torch.isin(owners, places)
        if beside.any():
            loss = loss + rest_loss(regions[beside], texts[beside], others, temperature)
        return loss

    def draw(self, size: int, generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Draw random views.

        Returns:
            views (B, 3, size, size); (B, T, size / 32, size / 32), the fraction of each pixel of the dense map that
            each class covers; and (B, 1, size / 32, size / 32), the fraction that is the rest.
        """
        views, masks = [], []
        for labelled, count in self.sets:
            chosen = torch.randint(len(labelled.images), (count,), generator=generator)
            crops = draw_crops(count, self.smallest, generator).to(device)
            masks.append(sample(to_device(labelled.masks[chosen], device), crops, size, mode="nearest"))
            views.append(sample(to_device(labelled.images[chosen], device), crops, size))
        mask = torch.cat(masks)[:, 0].long()
        known = F.one_hot(mask.clamp(max=len(WIDE_VOCABULARY)), len(WIDE_VOCABULARY) + 1)[..., :-1]
        coverage = F.avg_pool2d(known.permute(0, 3, 1, 2).float(), STRIDE)
        rest = F.avg_pool2d((mask[:, None] == REST).float(), STRIDE)
        return finish(coarsen(torch.cat(views), self.coarsest, generator), generator), coverage, rest


def pool_regions(dense: Tensor, coverage: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Embed every region that is large enough: the mean over the dense map, weighted by the squared coverage.

    Args:
        dense: (B, D, h, w) dense map.
        coverage: (B, T, h, w), the fraction of each pixel of the dense map that each class covers.

    Returns:
        (R, D) embeddings, (R,) class indices and (R,) indices of the images.
    """
    image, index = torch.nonzero(coverage.sum(dim=(2, 3)) >= SMALLEST_REGION, as_tuple=True)
    weights = coverage[image, index].square()
    weights = weights / weights.sum(dim=(1, 2), keepdim=True)
    return torch.einsum("rdhw,rhw->rd", dense[image], weights), index, image
