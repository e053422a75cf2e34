"""The pre-training loop, its checkpoints and its resumption."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from open_clip.timm_model import TimmModel
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from research.pretraining.crops import coarsen, draw_crops, finish, mosaics, split_mosaics
from research.pretraining.image_encoder import dense_map
from research.pretraining.nouns import NounTable
from research.pretraining.objective import contrastive_loss
from research.pretraining.pool import ImagePool
from research.pretraining.regions import Regions
from research.pretraining.texts import TextTable
from sgovss.errors import InputError
from sgovss.files import atomic_path

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """Settings of a run. A checkpoint can only be resumed with the same settings.

    A step shows ``batch`` single images or, in a fraction ``mosaic_fraction`` of the steps, ``mosaic_tiles`` images
    in mosaics of k x k, with one of the ``mosaic_sides`` as k. The text of each image in a mosaic is compared with
    the part of the dense map that shows the image, so that the dense map stays local. ``smallest`` and
    ``smallest_tile`` are the smallest sides of crops of single images and of tiles, as fractions of the image's side.
    Half of the views look as if their ground sample distance were up to ``coarsest`` times larger.
    ``synthetic_count`` and ``real_count`` are the numbers of synthetic and of real labelled images per step;
    ``noun_weight`` is the weight of the loss of the captions' nouns. The learning rates are the peaks of a one-cycle
    schedule with AdamW. The result is the average of the weights along the run, which forgets with the factor
    ``average`` at each step, or the last ones if this is 0. ``bfloat16`` computes the image encoder in that
    precision.
    """

    steps: int
    batch: int
    size: int
    seed: int
    tower: str = "lite0"
    mosaic_fraction: float = 0.5
    mosaic_sides: tuple[int, ...] = (2,)
    mosaic_tiles: int = 192
    smallest: float = 0.7
    smallest_tile: float = 0.375
    coarsest: float = 1.0
    synthetic_count: int = 12
    real_count: int = 0
    region_weight: float = 0.3
    noun_weight: float = 0.0
    average: float = 0.0
    trunk_lr: float = 2e-4
    projection_lr: float = 2e-3
    weight_decay: float = 0.01
    temperature: float = 0.05
    warm_up: float = 0.15
    bfloat16: bool = False


class Pretraining:
    """Trains an image encoder with a frozen text encoder.

    Args:
        visual: open_clip's ``TimmModel`` with ImageNet weights.
        images: the N images.
        texts: the possible texts of each of the N images.
        nouns: the nouns of the captions of each of the N images; None trains without them.
        regions: images with masks; None trains without them.
        recipe: the settings.
        device: where to compute. Images and texts stay in memory.
    """

    def __init__(
        self,
        visual: TimmModel,
        images: ImagePool,
        texts: TextTable,
        nouns: NounTable | None,
        regions: Regions | None,
        recipe: Recipe,
        device: torch.device,
    ) -> None:
        self.visual = visual.to(device=device, memory_format=torch.channels_last)
        self.images = images
        self.texts = texts
        self.nouns = nouns
        self.regions = regions
        self.recipe = recipe
        self.device = device
        self.average = AveragedModel(visual, avg_fn=self._blend, use_buffers=True)
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

    @property
    def result(self) -> nn.Module:
        """The trained image encoder."""
        return self.average.module if self.recipe.average else self.visual

    def _blend(self, average: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        """The new average. Its memory is short at first, so that the weights of the start are soon forgotten."""
        keep = min(self.recipe.average, (1 + int(steps)) / (10 + int(steps)))
        return average + (1 - keep) * (current - average)

    def _encode(self, views: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bfloat16):
            return dense_map(self.visual, views).float()

    def _train_step(self) -> float:
        # One generator per step, so that a resumed run draws the same numbers as an uninterrupted one.
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)
        loss = self._caption_loss(generator)
        recipe = self.recipe
        if self.regions is not None:
            extra = self.regions.loss(self._encode, recipe.size, recipe.temperature, generator, self.device)
            loss = loss + recipe.region_weight * extra
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        if recipe.average:
            self.average.update_parameters(self.visual)
        return loss.item()

    def _caption_loss(self, generator: torch.Generator) -> Tensor:
        recipe = self.recipe
        side = self._mosaic_side(generator)
        count = recipe.mosaic_tiles // side**2 * side**2 if side > 1 else recipe.batch
        tile = recipe.size // side
        chosen = torch.randint(len(self.images), (count,), generator=generator)
        texts = self.texts.embeddings[self.texts.draw(chosen, generator)].to(self.device)
        fraction = recipe.smallest_tile if side > 1 else recipe.smallest
        crops = draw_crops(count, self.images.smallest(chosen, fraction, tile), generator)
        tiles = self.images.views(chosen, crops, tile, self.device)
        views = mosaics(finish(coarsen(tiles, recipe.coarsest, generator), generator), side)
        maps = split_mosaics(self._encode(views), side)
        # The head is linear, so the mean over the dense map of a tile is the embedding of the tile.
        loss = contrastive_loss(maps.mean(dim=(2, 3)), texts, recipe.temperature)
        if self.nouns is not None:
            loss = loss + recipe.noun_weight * self.nouns.loss(maps, chosen, recipe.temperature, generator)
        return loss

    def _mosaic_side(self, generator: torch.Generator) -> int:
        """The number of tiles along a side of the mosaics of a step; 1 for single images."""
        sides = self.recipe.mosaic_sides
        mosaic, pick = torch.rand(2, generator=generator).tolist()
        return sides[int(pick * len(sides))] if mosaic < self.recipe.mosaic_fraction else 1

    def save(self, path: Path) -> None:
        """Write the whole training state, atomically."""
        state = {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "visual": self.visual.state_dict(),
            "average": self.average.state_dict(),
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
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step = state["step"]
