"""Optimisation step: skipped steps, end of training, random numbers and precision."""

from __future__ import annotations

import copy
import logging
import time

import pytest
import torch
from detectron2.utils.events import EventStorage

from sgovss.config import load_config
from sgovss.data import register_datasets
from sgovss.data.registration import dataset_metadata
from sgovss.engine.nonfinite import _describe
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


def trainer_of(values: list[float], accumulate: int = 1, patience: int = 3, fused: bool | None = None) -> StepTrainer:
    data = [[{"image": torch.tensor(value), "file_name": f"{index}.png"}] for index, value in enumerate(values)]
    model = Line()
    settings = {"precision": "float32", "accumulate": accumulate, "max_norm": None, "seed": 1, "patience": patience}
    return StepTrainer(model, data, torch.optim.AdamW(model.parameters(), lr=0.1, fused=fused), **settings)


def run(trainer: StepTrainer, steps: int) -> EventStorage:
    with EventStorage() as storage:
        for trainer.iter in range(steps):
            storage.iter = trainer.iter
            trainer.run_step()
    return storage


@pytest.mark.parametrize("fused", [None, True])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 3e38], ids=["nan", "inf", "overflowing gradient"])
def test_a_step_that_is_not_finite_is_skipped_counted_and_its_image_named(bad, fused, caplog):
    trainer = trainer_of([1.0, bad, 2.0], fused=fused)
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


def test_every_50th_step_logs_how_strong_the_compensation_is():
    trainer = trainer_of([4.0] * 51)
    trainer.encoder = list(trainer.model.parameters())
    assert scalars_of(trainer, 51)["gradient_ratio"] == [(0.25, 0), (0.25, 50)]  # gradients 1 and 4
    assert trainer.model.weight.item() != 1  # the step is made all the same


def scalars_of(trainer: StepTrainer, steps: int) -> dict[str, list[tuple[float, int]]]:
    """Make the steps, read what is left, and return the values of every number with their steps."""
    with EventStorage() as storage:
        for trainer.iter in range(steps):
            storage.iter = trainer.iter
            trainer.run_step()
        trainer.read_numbers()
    return {name: history.values() for name, history in storage.histories().items() if "time" not in name}


def test_the_time_of_waiting_for_data_is_that_of_all_batches_of_a_step():
    class Slow(list):
        def __iter__(self):
            for each in super().__iter__():
                time.sleep(0.05)
                yield each

    trainer = trainer_of([1.0] * 4, accumulate=2)
    images = [[{"image": torch.tensor(1.0), "file_name": "a.png"}]] * 4
    trainer.reset_data_loader(lambda: Slow(images))
    waited = [seconds for seconds, _ in run(trainer, 2).histories()["data_time"].values()]
    assert all(0.1 <= seconds < 5 for seconds in waited) and waited


@pytest.mark.parametrize("fused", [None, True])
def test_numbers_read_a_step_late_are_those_read_at_once(fused, caplog):
    values = [1.0, float("nan"), 2.0, float("inf"), 3.0]
    at_once, late = (trainer_of(values, accumulate=1, fused=fused) for _ in range(2))
    late.late = 1
    with caplog.at_level(logging.WARNING):
        expected = scalars_of(at_once, 5)
        warned = [record.getMessage() for record in caplog.records]
        caplog.clear()
        found = scalars_of(late, 5)
    assert found == expected
    assert [step for _, step in found["loss_pixel"]] == [0, 2, 4]
    assert found["skipped_steps"] == [(0, 0), (1, 1), (1, 2), (2, 3), (2, 4)]
    assert [record.getMessage() for record in caplog.records] == warned
    assert "step 1 is skipped" in warned[0] and "1.png" in warned[0] and "step 3" in warned[1] and "3.png" in warned[1]
    assert torch.equal(at_once.model.weight, late.model.weight)


def test_a_late_step_is_read_only_after_the_next_one():
    trainer = trainer_of([1.0] * 3)
    trainer.late = 1
    assert "loss_pixel" not in run(trainer, 1).latest()
    with EventStorage(1) as storage:
        trainer.iter = 1
        trainer.run_step()
        assert storage.latest()["loss_pixel"] == (1.0, 0)


def test_the_first_overflows_in_float16_lower_the_scale_and_are_no_skipped_steps(caplog):
    trainer = trainer_of([1.0] * 8)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    # As in float16: numbers above 65,504 become infinite. The loss scale must fall to 2 ** 13.
    trainer.model.weight.register_hook(lambda gradient: gradient.where(gradient <= 2.0**14, float("inf")))
    with caplog.at_level(logging.INFO):
        found = scalars_of(trainer, 5)
    assert [step for _, step in found["loss_pixel"]] == [3, 4]
    assert found["loss_scale"] == [(2.0**13, 3), (2.0**13, 4)]
    assert all(value == 0 for value, _ in found["skipped_steps"])
    assert (trainer.guard.in_a_row, trainer.guard.overflows) == (0, 0)
    assert [record.levelname for record in caplog.records] == ["INFO"] * 3
    assert "step 0: the gradient overflowed at loss scale 65536" in caplog.text


def test_a_gradient_that_overflows_at_every_scale_ends_training():
    trainer = trainer_of([1.0] * 40)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    trainer.model.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(InputError, match=r"stopped at step 18: in 3 steps in a row .* at scale 0\.25"):
        run(trainer, 40)


def test_a_loss_that_is_not_finite_counts_in_float16_too(caplog):
    trainer = trainer_of([float("nan"), 1.0])
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    run(trainer, 2)
    assert "step 0 is skipped" in caplog.text and trainer.guard.skipped == 1


def test_a_resumed_run_keeps_the_kernel_of_its_own_device():
    """The saved state also says whether the optimiser was fused; on another device that would be wrong."""
    of_cpu = trainer_of([1.0, 2.0])
    run(of_cpu, 2)
    of_gpu = resumed(of_cpu, fused=True)
    again = resumed(of_gpu, fused=None)
    assert of_gpu.optimizer.state[of_gpu.model.weight]["step"] == 3
    assert again.optimizer.state[again.model.weight]["step"] == 4


def resumed(saved: StepTrainer, fused: bool | None) -> StepTrainer:
    """Resume from the state of a run, and make a step."""
    trainer = trainer_of([3.0], fused=fused)
    trainer.load_state_dict(copy.deepcopy(saved.state_dict()))
    assert [group["fused"] for group in trainer.optimizer.param_groups] == [fused]
    run(trainer, 1)
    return trainer


def test_the_number_of_a_signal_is_returned_by_the_step_that_reads_it():
    trainer = trainer_of([1.0] * 3)
    received = [0]
    trainer.signal = lambda: received[0]
    run(trainer, 1)
    assert trainer.received == 0
    received[0], trainer.late = 15, 1
    run(trainer, 1)
    assert trainer.received == 0
    with EventStorage():
        trainer.read_numbers()
    assert trainer.received == 15


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


@pytest.mark.parametrize(("count", "more"), [(8, ""), (9, " and 1 more"), (11, " and 3 more")])
def test_eight_images_are_named_and_the_others_counted(count, more):
    told = _describe([([f"{number}.png" for number in range(count)], {"loss_pixel": float("nan")})], 1.0)
    assert told.endswith(f"7.png{more}") and "8.png" not in told


@pytest.mark.parametrize(
    ("values", "shown"), [((1.0, 3.0, 2.0), "3"), ((1.0, float("nan")), "nan"), ((float("nan"), float("inf")), "inf")]
)
def test_the_worst_value_of_a_loss_is_told(values, shown):
    assert _describe([(["a.png"], {"loss_pixel": value}) for value in values], 1.0).startswith(f"loss_pixel {shown};")


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
