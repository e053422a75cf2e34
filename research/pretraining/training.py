"""The pre-training loop: steps, checkpoints, resume."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from research.pretraining.crops import draw_crops, finish, mosaics, sample
from research.pretraining.image_tower import dense_map
from research.pretraining.objective import contrastive_loss
from research.pretraining.regions import STRIDE, Regions
from research.pretraining.texts import TextTable
from sgovss.errors import InputError
from sgovss.files import atomic_path

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """What decides a run's outcome; a checkpoint only continues the recipe it was made with.

    A step shows ``batch`` images one by one, or, in ``mosaic_share`` of the steps, mosaics of 2 x 2 images, each of
    which answers for its own quarter of the dense map: that teaches the map to stay local. ``smallest`` and
    ``smallest_tile`` are the smallest sides of crops, as shares of an image's. The learning rates are peaks of a
    one-cycle schedule with AdamW.
    """

    steps: int
    batch: int
    size: int
    seed: int
    mosaic_share: float = 0.5
    mosaic_batch: int = 48
    smallest: float = 0.7
    smallest_tile: float = 0.375
    scenes: int = 12
    scene_weight: float = 0.3
    tower_lr: float = 2e-4
    projection_lr: float = 2e-3
    weight_decay: float = 0.01
    temperature: float = 0.05
    warm_up: float = 0.15


class Pretraining:
    """Trains an image tower against frozen texts.

    Args:
        visual: open_clip's ``TimmModel``, started from ImageNet.
        images: (N, 3, 256, 256) uint8 RGB.
        texts: what may be said of each of the N images.
        regions: generated scenes with masks, or None to train on images alone.
        recipe: see :class:`Recipe`.
    """

    def __init__(
        self, visual: nn.Module, images: Tensor, texts: TextTable, regions: Regions | None, recipe: Recipe
    ) -> None:
        self.visual = visual.to(memory_format=torch.channels_last)
        self.images = images
        self.texts = texts
        self.regions = regions
        self.recipe = recipe
        rates = [recipe.tower_lr, recipe.projection_lr]
        groups = [{"params": list(part.parameters())} for part in (visual.trunk, visual.head)]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.tower_lr, weight_decay=recipe.weight_decay)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=rates, total_steps=recipe.steps, pct_start=recipe.warm_up
        )
        self.step = 0

    def run(self, checkpoint: Path, every: int) -> None:
        """Train from the current step to the last, saving a checkpoint every so many steps and at the end."""
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
        # One generator a step: a resumed run draws what the uninterrupted one would have drawn.
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)
        loss = self._caption_loss(generator)
        recipe = self.recipe
        if self.regions is not None:
            scenes = self.regions.loss(self.visual, recipe.scenes, recipe.size, recipe.temperature, generator)
            loss = loss + recipe.scene_weight * scenes
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.item()

    def _caption_loss(self, generator: torch.Generator) -> Tensor:
        recipe = self.recipe
        in_mosaics = torch.rand((), generator=generator).item() < recipe.mosaic_share
        side = 2 if in_mosaics else 1
        count = recipe.mosaic_batch * side**2 if in_mosaics else recipe.batch
        chosen = torch.randint(len(self.images), (count,), generator=generator)
        texts = self.texts.embeddings[self.texts.draw(chosen, generator)]
        crops = draw_crops(count, recipe.smallest_tile if in_mosaics else recipe.smallest, generator)
        tiles = finish(sample(self.images[chosen], crops, recipe.size // side), generator)
        dense = dense_map(self.visual, mosaics(tiles, side))
        # The head is linear: the mean of a tile's cells is the embedding of the tile.
        answers = F.avg_pool2d(dense, recipe.size // side // STRIDE).permute(0, 2, 3, 1).flatten(0, 2)
        return contrastive_loss(answers, texts, recipe.temperature)

    def save(self, path: Path) -> None:
        """Write the whole state, atomically."""
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
        """Continue from a checkpoint of the same recipe.

        Raises:
            InputError: the checkpoint is damaged or was made with another recipe.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError) as error:
            raise InputError(f"{path}: cannot read this checkpoint ({error}); remove it to start anew") from error
        if state["recipe"] != asdict(self.recipe):
            raise InputError(f"{path}: made with {state['recipe']}; give the same settings or another --output")
        self.visual.load_state_dict(state["visual"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step = state["step"]
