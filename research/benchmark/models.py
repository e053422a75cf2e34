"""Models of random weights to be measured, and the bare encoders they are measured beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from detectron2.config import CfgNode
from torch import nn

from research.benchmark.scenes import scene_words
from sgovss.config import load_config
from sgovss.engine.trainer import Trainer
from sgovss.modeling import build_model
from sgovss.modeling.clip_models import create_model, model_configuration
from sgovss.precision import autocast, cast_weights
from sgovss.synthetic import generate_image
from sgovss.vocabulary import Vocabulary

Work = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """What is measured, and how often.

    Attributes:
        config_file, options: of the model.
        size: side of the image in pixels.
        classes: number of words.
        dtype: ``float32`` or ``bfloat16``.
        batch: images of a step.
        repeats, warm_up: timed turns, and turns before them.
        compiled: image encoder and head go through torch.compile.
        drawn: drawn scenes and words of aerial images instead of noise.
    """

    config_file: str
    options: Sequence[str] = ()
    size: int = 384
    classes: int = 17
    dtype: str = "float32"
    batch: int = 1
    repeats: int = 5
    warm_up: int = 1
    compiled: bool = False
    drawn: bool = False


def random_model(config_file: str, options: Sequence[str], dtype: str, training: bool) -> tuple[nn.Module, CfgNode]:
    """A config's model and the config; without training, the model has no frozen twin."""
    cfg = load_config(config_file, ["MODEL.CLIP.WEIGHTS", "random", "TEST.PRECISION", dtype, *options])
    cfg.MODEL.SGOVSS.COMPENSATION.ENABLED = training and cfg.MODEL.SGOVSS.COMPENSATION.ENABLED
    torch.manual_seed(0)
    model = build_model(cfg).train(training)
    if not training:
        for part in (model.image_encoder, model.head):
            cast_weights(part, dtype)  # as the predictor does
    return model, cfg


def numbered_words(classes: int) -> Vocabulary:
    """Any ``classes`` words, each another."""
    return Vocabulary.from_string(", ".join(f"thing number {number}" for number in range(classes)))


def bare_encoder(name: str, size: int) -> nn.Module:
    """open_clip's own image encoder for (B, 3, size, size)."""
    vision = {**model_configuration(name)["vision_cfg"], "image_size": size}
    return create_model(name, vision_cfg=vision).visual.eval()


def inference(case: Case) -> Work:
    """A call of it takes images to scores; the words are encoded in the first."""
    model, _ = random_model(case.config_file, case.options, case.dtype, training=False)
    images, words = _drawn(case) if case.drawn else _noise(case)
    _compile(model, case)

    @torch.no_grad()
    def step() -> None:
        model.scores(images.to(model.device), words)

    return step


def training(case: Case) -> Work:
    """A call of it is a step: forward, frozen twin, backward, optimizer."""
    model, cfg = random_model(case.config_file, case.options, case.dtype, training=True)
    words, device = numbered_words(case.classes), torch.device(cfg.MODEL.DEVICE)
    generator = torch.Generator().manual_seed(0)
    batch = [
        {
            "image": torch.randint(0, 256, (3, case.size, case.size), generator=generator, dtype=torch.uint8),
            "sem_seg": torch.randint(0, case.classes, (case.size, case.size), generator=generator),
            "vocabulary": words,
        }
        for _ in range(case.batch)
    ]
    optimizer = Trainer.build_optimizer(cfg, model)
    _compile(model, case)

    def step() -> None:
        optimizer.zero_grad()
        with autocast(case.dtype, device):
            loss = sum(model(batch).values())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE)
        optimizer.step()

    return step


def bare_inference(case: Case) -> Work:
    """A call of it takes one image through the bare encoder."""
    cfg = load_config(case.config_file, case.options)
    device = torch.device(cfg.MODEL.DEVICE)
    encoder = bare_encoder(cfg.MODEL.CLIP.NAME, case.size).to(device)
    image = torch.randn(1, 3, case.size, case.size, device=device)

    @torch.no_grad()
    def forward() -> None:
        with autocast(case.dtype, device):
            encoder(image)

    return forward


def _noise(case: Case) -> tuple[torch.Tensor, Vocabulary]:
    images = torch.randint(0, 256, (case.batch, 3, case.size, case.size), dtype=torch.uint8)
    return images, numbered_words(case.classes)


def _drawn(case: Case) -> tuple[torch.Tensor, Vocabulary]:
    scenes = [generate_image(70_001 + number, case.size, "b").image for number in range(case.batch)]
    images = torch.stack([torch.from_numpy(scene).permute(2, 0, 1) for scene in scenes])
    return images, Vocabulary.from_string(", ".join(scene_words(case.classes)))


def _compile(model: nn.Module, case: Case) -> None:
    if case.compiled:
        model.image_encoder.compile()
        model.head.compile()
