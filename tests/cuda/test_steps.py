"""One training step of every full-size config on the device, compared with the same step on the CPU in float32.

The weights are random and the crops small. The tolerances are those of the number formats: bfloat16 has 8 bits of
mantissa, float16 11, float32 24.
"""

from __future__ import annotations

import functools
import itertools

import pytest
import torch
from detectron2.utils.events import EventStorage

from sgovss.engine.step import StepTrainer
from sgovss.engine.trainer import Trainer
from sgovss.engine.workloads import numbered_classes, random_model
from sgovss.precision import cuda_kernels, has_bfloat16
from tests.cuda.conftest import DEVICE

pytestmark = pytest.mark.cuda

SIZES = {"sgovss_vitb16_384": 128, "sgovss_vitl14_336": 112, "sgovss_convnext_b_640": 128, "sgovss_convnext_l_768": 128}
CLASSES = 5
OPTIONS = ("MODEL.CLIP.KEEP_TEXT", "False")
# Relative; of the losses, and of the norm of the gradient.
TOLERANCES = {"float32": (1e-4, 1e-2), "float16": (1e-2, 5e-2), "bfloat16": (3e-2, 0.2)}


def batch_of(size: int) -> list[dict]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "file_name": f"noise {number}",
            "image": torch.randint(0, 256, (3, size, size), generator=generator, dtype=torch.uint8),
            "sem_seg": torch.randint(0, CLASSES, (size, size), generator=generator, dtype=torch.uint8),
            "vocabulary": numbered_classes(CLASSES),
        }
        for number in range(2)
    ]


@functools.lru_cache(maxsize=1)
def numbers_of(config: str, precision: str, device: str) -> dict[str, float]:
    """The numbers of the first step that was made, and the mean change of a weight."""
    model, cfg = random_model(f"{config}.yaml", (*OPTIONS, "MODEL.DEVICE", device), "float32", training=True)
    trainer = StepTrainer(
        model,
        itertools.repeat(batch_of(SIZES[config])),
        Trainer.build_optimizer(cfg, model),
        precision=precision,
        accumulate=1,
        max_norm=cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE,
        seed=0,
        patience=1,
    )
    before = [weight.detach().clone() for weight in trainer.parameters]
    with EventStorage() as storage, cuda_kernels(torch.device(device), tf32=False, benchmark=False):
        for trainer.iter in range(20):
            storage.iter = trainer.iter
            trainer.run_step()
            trainer.read_numbers()
            if "loss_pixel" in storage.latest():  # in float16 the first steps lower the loss scale
                break
    numbers = {name: value for name, (value, _) in storage.latest().items() if "time" not in name}
    changes = [(weight.detach() - old).abs().mean() for weight, old in zip(trainer.parameters, before, strict=True)]
    return {**numbers, "change": torch.stack(changes).mean().item()}


@pytest.mark.parametrize("precision", TOLERANCES)
# In parallel runs, the tests of a config stay in one process, which runs the step on the CPU once.
@pytest.mark.parametrize("config", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in SIZES])
def test_a_step_is_that_of_the_cpu(config, precision):
    if precision == "bfloat16" and DEVICE == "cuda" and not has_bfloat16(torch.device(DEVICE)):
        pytest.skip("this GPU has no bfloat16")
    expected, found = on_cpu(config), numbers_of(config, precision, DEVICE)
    of_losses, of_norm = TOLERANCES[precision]
    assert found["loss_pixel"] == pytest.approx(expected["loss_pixel"], rel=of_losses)
    assert found["loss_gcd"] == pytest.approx(expected["loss_gcd"], abs=1e-4)  # 0 at the first step, but for rounding
    assert found["gradient_norm"] == pytest.approx(expected["gradient_norm"], rel=of_norm)
    assert found["skipped_steps"] == 0
    # AdamW's first step moves every weight by the learning rate, whatever its gradient.
    assert found["change"] == pytest.approx(expected["change"], rel=0.1)


@functools.lru_cache(maxsize=1)
def on_cpu(config: str) -> dict[str, float]:
    return numbers_of(config, "float32", "cpu")


def test_a_step_that_is_not_finite_changes_nothing_and_is_named_a_step_later(caplog):
    weight = torch.nn.Parameter(torch.ones((), device=DEVICE))

    class Line(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = weight

        def forward(self, batch: list[dict]) -> dict[str, torch.Tensor]:
            return {"loss_pixel": self.weight * batch[0]["image"].to(DEVICE)}

    data = [[{"image": torch.tensor(value), "file_name": f"{value}.png"}] for value in (1.0, float("nan"), 2.0)]
    optimizer = torch.optim.AdamW([weight], lr=0.1, fused=True)
    settings = {"precision": "float32", "accumulate": 1, "max_norm": None, "seed": 1, "patience": 3}
    trainer = StepTrainer(Line(), data, optimizer, **settings)
    weights = []
    with EventStorage() as storage:
        for trainer.iter in range(3):
            storage.iter = trainer.iter
            assert ("nan.png" in caplog.text) == (trainer.iter > trainer.late + 1)
            trainer.run_step()
            weights.append(weight.item())
        trainer.read_numbers()
        assert storage.history("loss_pixel").values() == [(1.0, 0), (pytest.approx(2 * weights[1]), 2)]
    assert weights[0] == weights[1] != weights[2]
    assert float(optimizer.state[weight]["step"]) == 2 and "nan.png" in caplog.text
