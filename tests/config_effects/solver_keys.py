"""The keys of SOLVER, seen at the training of a model with one weight."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from sgovss.data import register_datasets
from sgovss.engine.trainer import Trainer
from sgovss.errors import InputError
from tests.config_effects.row import DIFFERENT, Case, Row, refusal
from tests.engine.small_training import gradients, train_on


class Line(nn.Module):
    """The loss is the weight times the mean of the images. Remembers the dtypes in which it computed."""

    def __init__(self) -> None:
        super().__init__()
        self.image_encoder, self.norm = nn.Linear(1, 1), nn.LayerNorm(1)
        self.text_embedder = nn.Linear(1, 1).requires_grad_(False)
        self.dtypes = []
        self.images = 0

    def forward(self, batch: list[dict]) -> dict[str, torch.Tensor]:
        self.images += len(batch)
        self.dtypes.append((torch.ones(1, 1) @ torch.ones(1, 1)).dtype)
        values = torch.stack([entry["image"] for entry in batch]).view(-1, 1)
        return {"loss_pixel": (values * self.image_encoder.weight[0]).mean() + 0 * self.norm(values).mean()}


def train(case: Case, steps: int = 1, value: float = 3.0) -> Trainer:
    batches = [[{"image": torch.tensor(value), "file_name": "a.png"}] for _ in range(40)]
    torch.manual_seed(0)
    return train_on(batches, case.folder, ["SOLVER.MAX_ITER", steps, *case.options], Line())


def gradient(case: Case) -> float:
    return round(torch.cat([each.flatten() for each in gradients(train(case)).values()]).norm().item(), 4)


def dtype(case: Case) -> torch.dtype:
    return train(case).checkpointer.model.dtypes[0]


def images(case: Case) -> int:
    """The number of images of a step."""
    return train(case).checkpointer.model.images


def tf32(case: Case) -> bool:
    """Whether training asks for TF32, which only CUDA has."""
    asked = []
    with patch("sgovss.engine.trainer.cuda_kernels", lambda _, **settings: asked.append(settings) or nullcontext()):
        train(case)
    return asked[0]["tf32"]


def steps_of(case: Case) -> int:
    train(case)
    return len((case.folder / "metrics.json").read_text().splitlines())


def patience(case: Case) -> str:
    """After how many steps without a number training ends."""
    try:
        train(case, 40, value=float("nan"))
    except InputError as error:
        return str(error)[str(error).index("in ") :].split(" steps")[0]
    return ""


def checkpoints(case: Case) -> set[str]:
    train(case, steps=4)
    return {path.name for path in case.folder.glob("model_0*.pth")}


def rates(case: Case) -> list[float]:
    """The learning rate of each step."""
    cfg = case.cfg
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=cfg.SOLVER.BASE_LR)
    scheduler = Trainer.build_lr_scheduler(cfg, optimizer)
    found = [scheduler.get_last_lr()[0]]
    for _ in range(cfg.SOLVER.MAX_ITER - 1):
        optimizer.step()
        scheduler.step()
        found.append(scheduler.get_last_lr()[0])
    return [round(rate, 6) for rate in found]


def last_rate(case: Case) -> float:
    return rates(case)[-1]


def groups(key: str, name: str) -> Any:
    """A setting of the optimizer for one of the parameters of :class:`Line`."""

    def observe(case: Case) -> float:
        model = Line()
        parameter = model.get_parameter(name)
        optimizer = Trainer.build_optimizer(case.cfg, model)
        return next(
            group[key] for group in optimizer.param_groups if any(each is parameter for each in group["params"])
        )

    return observe


def batch(case: Case) -> int:
    """The number of images that the loader gives at once."""
    cfg = Case((*case.fields, *case.options), case.folder, ()).cfg
    register_datasets(cfg.DATASETS.SPECIFICATIONS)
    return len(next(iter(Trainer.build_train_loader(cfg))))


FLAT = ("SOLVER.BASE_LR", 1.0, "SOLVER.MAX_ITER", 8, "SOLVER.WARMUP_ITERS", 0)
WARM = (*FLAT, "SOLVER.WARMUP_ITERS", 4, "SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR", "SOLVER.STEPS", ())
STEPS = (*FLAT, "SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR", "SOLVER.STEPS", (4,))
COSINE_END = 0.038060  # of the half wave from 1 to 0, at seven eighths

ROWS = {
    "SOLVER.LR_SCHEDULER_NAME": Row("WarmupMultiStepLR", rates, [1.0] * 8, (*FLAT, "SOLVER.STEPS", ())),
    "SOLVER.MAX_ITER": Row(3, steps_of, 3),
    "SOLVER.BASE_LR": Row(2.0, lambda case: rates(case)[0], 2.0, FLAT),
    "SOLVER.BASE_LR_END": Row(0.5, last_rate, round(0.5 + COSINE_END / 2, 6), FLAT),
    "SOLVER.GAMMA": Row(0.25, rates, [1.0] * 4 + [0.25] * 4, STEPS),
    "SOLVER.STEPS": Row((6,), rates, [1.0] * 6 + [0.1] * 2, STEPS),
    "SOLVER.WARMUP_FACTOR": Row(0.5, lambda case: rates(case)[:3], [0.5, 0.625, 0.75], WARM),
    "SOLVER.WARMUP_ITERS": Row(2, lambda case: rates(case)[2:], [1.0] * 6, WARM),
    "SOLVER.WARMUP_METHOD": Row("constant", rates, [0.001] * 4 + [1.0] * 4, WARM),
    "SOLVER.RESCALE_INTERVAL": Row(
        True, rates, DIFFERENT, (*FLAT, "SOLVER.WARMUP_ITERS", 4)
    ),
    "SOLVER.WEIGHT_DECAY": Row(0.25, groups("weight_decay", "image_encoder.weight"), 0.25),
    "SOLVER.WEIGHT_DECAY_NORM": Row(0.25, groups("weight_decay", "norm.weight"), 0.25),
    "SOLVER.WEIGHT_DECAY_BIAS": Row(0.25, groups("weight_decay", "image_encoder.bias"), 0.25),
    "SOLVER.EPS": Row(1e-12, groups("eps", "image_encoder.weight"), 1e-12),
    "SOLVER.IMS_PER_BATCH": Row(3, batch, 3),
    "SOLVER.REFERENCE_WORLD_SIZE": Row(2, lambda case: train(case).cfg.SOLVER.IMS_PER_BATCH, 4),
    "SOLVER.ACCUMULATE": Row(3, images, 3),
    "SOLVER.CLIP_GRADIENTS.ENABLED": Row(False, gradient, 3.0),
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": Row(0.5, gradient, 0.5),
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": Row("norm", refusal(lambda case: case.cfg), "SOLVER.CLIP_GRADIENTS.CLIP_TYPE"),
    "SOLVER.AMP.ENABLED": Row(True, dtype, torch.bfloat16),
    "SOLVER.AMP.DTYPE": Row("float32", dtype, torch.float32, ("SOLVER.AMP.ENABLED", True)),
    "SOLVER.TF32": Row(False, tf32, False),
    "SOLVER.NONFINITE_PATIENCE": Row(4, patience, "in 4"),
    "SOLVER.CHECKPOINT_PERIOD": Row(2, checkpoints, {"model_0000001.pth", "model_0000003.pth"}),
}  # fmt: skip

UNREAD = "SOLVER.NUM_DECAYS SOLVER.MOMENTUM SOLVER.NESTEROV SOLVER.BIAS_LR_FACTOR SOLVER.CLIP_GRADIENTS.NORM_TYPE"
