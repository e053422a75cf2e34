"""Training of a small model by the trainer, on given batches; in this process, or as one of two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.utils import comm
from torch import nn

from sgovss.config import load_config
from sgovss.engine.trainer import Trainer
from sgovss.modeling import SGOVSS
from sgovss.vocabulary import Vocabulary
from tests.modeling.conftest import TUNING, make_batch, make_clip, make_compensation, make_embedder, make_encoder
from tests.modeling.conftest import make_model as assemble

WORDS = Vocabulary.from_string("building, road, water")
"""One name a class, so that a step draws none."""


def small_model(kind: str = "convnext") -> SGOVSS:
    """A small model that differs from its frozen encoder, which guides pixels without a label only."""
    clip = make_clip(kind)
    model = assemble(make_encoder(clip, TUNING[kind]), make_embedder(clip), compensation=make_compensation(labelled=0))
    with torch.no_grad():
        for parameter in model.image_encoder.parameters():
            parameter += 0.1 * parameter.std(correction=0) * torch.randn_like(parameter)
    return model


def images(count: int, size: int = 64) -> list[dict[str, Any]]:
    """Images as the loader gives them, all with equally many labelled pixels."""
    return [entry | {"file_name": f"{index}.png"} for index, entry in enumerate(make_batch(WORDS, size, count))]


def uneven_images() -> list[dict[str, Any]]:
    """Two images, of which the second has a tenth of the first one's labels."""
    pair = images(2)
    pair[1]["sem_seg"][10:] = 255
    return pair


def make_trainer(
    batches: Sequence[list[dict[str, Any]]],
    folder: Path,
    options: Sequence[object] = (),
    model: nn.Module | None = None,
) -> Trainer:
    """A trainer for some batches, by default of the small model and for one step."""
    model = small_model() if model is None else model
    every = ["MODEL.DEVICE", "cpu", "DATASETS.TEST", "()", "OUTPUT_DIR", folder, "SOLVER.MAX_ITER", 1, *options]
    cfg = load_config("sgovss_tiny.yaml", [str(option) for option in every])

    class Small(Trainer):
        build_model = classmethod(lambda cls, cfg: model)
        build_train_loader = classmethod(lambda cls, cfg, start_iter=0: list(batches))

    folder.mkdir(parents=True, exist_ok=True)
    return Small(cfg)


def train_on(*arguments: Any) -> Trainer:
    """Train the trainer of :func:`make_trainer`. The gradients are those of the last step."""
    trainer = make_trainer(*arguments)
    trainer.train()
    return trainer


def gradients(trainer: Trainer) -> dict[str, torch.Tensor]:
    """The gradients of the last step, by name."""
    model = trainer.checkpointer.model
    return {name: each.grad for name, each in model.named_parameters() if each.grad is not None}


def train_as_one_of_two(rank: int, folder: str) -> None:
    """Become one of two processes, on CPU through gloo, and train on one of two images.

    The first process writes ``folder/grads.pt``.
    """
    torch.set_num_threads(1)  # those of the process that was forked are gone
    store = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", init_method=store, world_size=2, rank=rank)
    comm.create_local_process_group(2)
    trainer = train_on([[uneven_images()[rank]]], Path(folder), ["SOLVER.CLIP_GRADIENTS.ENABLED", False])
    if not rank:
        torch.save(gradients(trainer), Path(folder) / "grads.pt")
