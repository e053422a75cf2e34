"""The pre-training loop, its checkpoints and its resumption."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from research.pretraining.crops import draw_crops, finish, mosaics, sample
from research.pretraining.image_encoder import dense_map
from research.pretraining.objective import contrastive_loss
from research.pretraining.regions import STRIDE, Regions
from research.pretraining.texts import TextTable
from sgovss.errors import InputError
from sgovss.files import atomic_path

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """Settings of a run. A checkpoint can only be resumed with the same settings.

    A step shows ``batch`` single images or, in a fraction ``mosaic_fraction`` of the steps, ``mosaic_batch`` mosaics of
    2 x 2 images. The text of each image in a mosaic is compared with the quarter of the dense map that shows the image,
    so that the dense map stays local. ``smallest`` and ``smallest_tile`` are the smallest sides of crops of single
    images and of tiles, as fractions of the image's side. ``synthetic`` is the number of synthetic images per step. The
    learning rates are the peaks of a one-cycle schedule with AdamW.
    """

    steps: int
    batch: int
    size: int
    seed: int
    mosaic_fraction: float = 0.5
    mosaic_batch: int = 48
    smallest: float = 0.7
    smallest_tile: float = 0.375
    synthetic: int = 12
    synthetic_weight: float = 0.3
    trunk_lr: float = 2e-4
    projection_lr: float = 2e-3
    weight_decay: float = 0.01
    temperature: float = 0.05
    warm_up: float = 0.15


class Pretraining:
    """Trains an image encoder with a frozen text encoder.

    Args:
        visual: open_clip's ``TimmModel`` with ImageNet weights.
        images: (N, 3, 256, 256) uint8 RGB.
        texts: the possible texts of each of the N images.
        regions: synthetic images with masks; None trains on images alone.
        recipe: the settings.
    """

    def __init__(
        self, visual: nn.Module, images: Tensor, texts: TextTable, regions: Regions | None, recipe: Recipe
    ) -> None:
        self.visual = visual.to(memory_format=torch.channels_last)
        self.images = images
        self.texts = texts
        self.regions = regions
        self.recipe = recipe
        rates = [recipe.trunk_lr, recipe.projection_lr]
        groups = [{"params": list(part.parameters())} for part in (visual.trunk, visual.head)]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.trunk_lr, weight_decay=recipe.weight_decay)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=rates, total_steps=recipe.steps, pct_start=recipe.warm_up
        )
        self.step = 0

    def run(self, checkpoint: Path, every: int) -> None:
        """Train from the current step to the last; save a checkpoint every ``every`` steps and at the end."""
        self.visual.train()
        started, first = time.monotonic(), self.step
        while self.step < self.recipe.steps:
            loss = self._train_step()
            self.step += 1
            last = self.step == self.recipe.steps
            if self.step % 10 == 0 or last:
                pace = (time.monotonic() - started) / (self.step - first)
                left = pace * (self.recipe.steps - self.step) / 60
                report = "step %d/%d loss %.4f (%.2f s a step, %.0f min left)"
                logger.info(report, self.step, self.recipe.steps, loss, pace, left)
            if self.step % every == 0 or last:
                self.save(checkpoint)

    def _train_step(self) -> float:
        # One generator per step, so that a resumed run draws the same numbers as an uninterrupted one.
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)
        loss = self._caption_loss(generator)
        recipe = self.recipe
        if self.regions is not None:
            extra = self.regions.loss(self.visual, recipe.synthetic, recipe.size, recipe.temperature, generator)
            loss = loss + recipe.synthetic_weight * extra
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.item()

    def _caption_loss(self, generator: torch.Generator) -> Tensor:
        recipe = self.recipe
        in_mosaics = torch.rand((), generator=generator).item() < recipe.mosaic_fraction
        side = 2 if in_mosaics else 1
        count = recipe.mosaic_batch * side**2 if in_mosaics else recipe.batch
        chosen = torch.randint(len(self.images), (count,), generator=generator)
        texts = self.texts.embeddings[self.texts.draw(chosen, generator)]
        crops = draw_crops(count, recipe.smallest_tile if in_mosaics else recipe.smallest, generator)
        tiles = finish(sample(self.images[chosen], crops, recipe.size // side), generator)
        dense = dense_map(self.visual, mosaics(tiles, side))
        # The head is linear, so the mean over the dense map of a tile is the embedding of the tile.
        embedded = F.avg_pool2d(dense, recipe.size // side // STRIDE).permute(0, 2, 3, 1).flatten(0, 2)
        return contrastive_loss(embedded, texts, recipe.temperature)

    def save(self, path: Path) -> None:
        """Write the whole training state, atomically."""
        state = {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "visual": self.visual.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        with atomic_path(path) as temporary:
            torch.save(state, temporary)

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint with the same settings.

        Raises:
            InputError: the checkpoint is damaged or has other settings.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError) as error:
            raise InputError(f"{path}: cannot read this checkpoint ({error}); remove it to start again") from error
        if state["recipe"] != asdict(self.recipe):
            raise InputError(f"{path}: made with {state['recipe']}; give the same settings or another --output")
        self.visual.load_state_dict(state["visual"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step = state["step"]
