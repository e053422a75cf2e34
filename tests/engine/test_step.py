"""Optimisation step: skipped steps, end of training, random numbers and precision."""

from __future__ import annotations

import logging

import pytest
import torch
from detectron2.utils.events import EventStorage

from sgovss.config import load_config
from sgovss.data import register_datasets
from sgovss.data.registration import dataset_metadata
from sgovss.engine.step import StepTrainer, autocast
from sgovss.engine.trainer import Trainer
from sgovss.errors import InputError


class Line(torch.nn.Module):
    """A linear model with one weight; its loss is the weight times the image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.drawn: list[float] = []

    def forward(self, batch: list[dict]) -> dict[str, torch.Tensor]:
        self.drawn.append(torch.rand(()).item())
        images = torch.stack([entry["image"] for entry in batch])
        return {"loss_pixel": (self.weight * images).mean(), "loss_gcd": self.weight.abs()}


def trainer_of(values: list[float], accumulate: int = 1, patience: int = 3) -> StepTrainer:
    data = [[{"image": torch.tensor(value), "file_name": f"{index}.png"}] for index, value in enumerate(values)]
    model = Line()
    settings = {"precision": "float32", "accumulate": accumulate, "max_norm": None, "seed": 1, "patience": patience}
    return StepTrainer(model, data, torch.optim.AdamW(model.parameters(), lr=0.1), **settings)


def run(trainer: StepTrainer, steps: int) -> EventStorage:
    with EventStorage() as storage:
        for trainer.iter in range(steps):
            storage.iter = trainer.iter
            trainer.run_step()
    return storage


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 3e38], ids=["nan", "inf", "overflowing gradient"])
def test_a_step_that_is_not_finite_is_skipped_counted_and_its_image_named(bad, caplog):
    trainer = trainer_of([1.0, bad, 2.0])
    run(trainer, 1)
    before = trainer.model.weight.item()
    state = {key: value.clone() for key, value in trainer.optimizer.state[trainer.model.weight].items()}
    if bad < float("inf"):
        trainer.model.weight.register_hook(lambda gradient: gradient * 10)
    with EventStorage() as storage, caplog.at_level(logging.WARNING):
        trainer.iter = 1
        trainer.run_step()
        assert trainer.model.weight.item() == before
        assert all(torch.equal(value, state[key]) for key, value in trainer.optimizer.state_dict()["state"][0].items())
        assert storage.latest()["skipped_steps"][0] == 1
        assert "loss_pixel" not in storage.latest()
        assert "1.png" in caplog.text
        trainer.iter = 2
        trainer.run_step()
    assert trainer.model.weight.item() != before
    assert (trainer.guard.skipped, trainer.guard.in_a_row) == (1, 0)


def test_too_many_in_a_row_end_training_with_a_diagnosis():
    bad = float("nan")
    trainer = trainer_of([1.0, bad, bad, 1.0, bad, bad, bad])
    with pytest.raises(InputError) as caught:
        run(trainer, 7)
    message = str(caught.value)
    for part in ("step 6", "3 steps in a row", "loss_pixel nan, loss_gcd 0.", "6.png", "float32, learning rate 0.1"):
        assert part in message
    assert "AMP" not in message
    assert "\n" not in message


def test_only_images_of_batches_that_are_not_finite_are_named(caplog):
    trainer = trainer_of([1.0, float("nan"), 1.0], accumulate=3)
    run(trainer, 1)
    assert "1.png" in caplog.text
    assert "0.png" not in caplog.text


def test_the_number_of_skipped_steps_is_saved_and_restored():
    trainer = trainer_of([float("nan"), float("nan"), 1.0])
    run(trainer, 2)
    again = trainer_of([1.0])
    again.load_state_dict(trainer.state_dict())
    assert (again.guard.skipped, again.guard.in_a_row) == (2, 2)


def test_the_models_random_numbers_depend_on_the_step_only():
    whole, part = trainer_of([1.0] * 4, accumulate=2), trainer_of([1.0] * 2, accumulate=2)
    run(whole, 2)
    with EventStorage(1):
        torch.manual_seed(99)
        part.iter = 1
        part.run_step()
    assert whole.model.drawn[2:] == part.model.drawn
    assert len(set(whole.model.drawn)) == 4


def test_bfloat16_stays_close_to_float32(run_options):
    """The first gradient differs by at most 25 degrees and 10 % of its length, the losses of six steps by 5 %."""
    (losses, gradient), (rough_losses, rough) = (
        losses_and_first_gradient(run_options, precision) for precision in ("float32", "bfloat16")
    )
    assert losses != rough_losses == pytest.approx(losses, rel=0.05)
    assert torch.cosine_similarity(gradient, rough, dim=0) > 0.9
    assert rough.norm() == pytest.approx(gradient.norm().item(), rel=0.1)


def losses_and_first_gradient(run_options: list[str], precision: str) -> tuple[list[float], torch.Tensor]:
    cfg = load_config("sgovss_tiny.yaml", [*run_options, "MODEL.CLIP.WEIGHTS", "embedded"])
    register_datasets(cfg.DATASETS.SPECIFICATIONS)
    cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE = dataset_metadata("fields_train").ignore_label
    torch.manual_seed(0)
    model = Trainer.build_model(cfg).train()
    optimizer = Trainer.build_optimizer(cfg, model)
    losses, first = [], None
    for _, batch in zip(range(6), Trainer.build_train_loader(cfg), strict=False):
        with autocast(precision, torch.device("cpu")):
            loss = sum(model(batch).values())
        loss.backward()
        if first is None:
            gradients = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
            first = torch.cat(gradients)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, first
