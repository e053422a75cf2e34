"""Inference, training step and bare image encoder of a config, as functions whose time and memory can be measured."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from sgovss.config import load_config
from sgovss.data.specification_file import load_specification
from sgovss.engine.step import StepTrainer
from sgovss.engine.trainer import Trainer
from sgovss.errors import InputError
from sgovss.modeling import build_model
from sgovss.modeling.clip_configuration import model_configuration
from sgovss.modeling.meta_arch import SGOVSS
from sgovss.modeling.open_clip_models import create_model
from sgovss.paths import dataset_files
from sgovss.precision import autocast, cast_weights, cuda_kernels
from sgovss.synthetic import generate_image
from sgovss.vocabulary import Vocabulary

_FIRST_SEED = 70_001  # of the synthetic images
_ADJECTIVES = ("", "wide ", "old ", "red ", "round ")


@dataclass(frozen=True)
class Case:
    """A model and an input to measure, and the number of repetitions.

    Attributes:
        config_file, options: the model's config and the options on top of it.
        size: side of the square images in pixels.
        classes: number of classes.
        precision: ``float32``, ``bfloat16`` or, on CUDA, ``float16``.
        batch: images per inference or training batch.
        accumulate: batches per training step.
        repeats, warm_up: timed repetitions, and repetitions before them.
        compiled: run image encoder and head through torch.compile.
        synthetic: use synthetic aerial images and the class names of aerial datasets instead of noise and numbers.
    """

    config_file: str
    options: Sequence[str] = ()
    size: int = 384
    classes: int = 17
    precision: str = "float32"
    batch: int = 1
    accumulate: int = 1
    repeats: int = 5
    warm_up: int = 1
    compiled: bool = False
    synthetic: bool = False


@dataclass(frozen=True)
class Workload:
    """A computation to measure.

    Attributes:
        run: runs it once.
        device: the device it runs on.
    """

    run: Callable[[], object]
    device: torch.device


def random_model(config_file: str, options: Sequence[str], precision: str, training: bool) -> tuple[SGOVSS, CfgNode]:
    """Build the model of a config with random weights.

    Args:
        precision: of the inference; see :class:`Case`.
        training: build it for training. Otherwise there is no frozen encoder, and the weights are cast to the
            precision, as in the predictor.

    Returns:
        the model and its config.
    """
    cfg = load_config(config_file, ["MODEL.CLIP.WEIGHTS", "random", "TEST.PRECISION", precision, *options])
    cfg.MODEL.SGOVSS.COMPENSATION.ENABLED = training and cfg.MODEL.SGOVSS.COMPENSATION.ENABLED
    torch.manual_seed(0)
    model = build_model(cfg).train(training)
    assert isinstance(model, SGOVSS)
    if not training:
        for part in (model.image_encoder, model.head):
            cast_weights(part, precision)
    return model, cfg


def bare_encoder(name: str, size: int) -> nn.Module:
    """open_clip's own image encoder of a CLIP model, with random weights, for images (B, 3, size, size)."""
    vision = {**model_configuration(name)["vision_cfg"], "image_size": size}
    encoder = create_model(name, vision_cfg=vision).visual
    assert isinstance(encoder, nn.Module)
    return encoder.eval()


def inference(case: Case) -> Workload:
    """Return the computation from images to scores. Only the first run encodes the class names."""
    model, _ = random_model(case.config_file, case.options, case.precision, training=False)
    images, vocabulary = _synthetic_input(case) if case.synthetic else _noise_input(case)
    _compile(model, case)

    @torch.no_grad()
    def run() -> None:
        model.scores(images.to(model.device), vocabulary)

    return Workload(run, model.device)


def training(case: Case) -> Workload:
    """Return one :class:`StepTrainer` step: forward, frozen encoder and backward of each batch, clipping, optimizer."""
    model, cfg = random_model(case.config_file, case.options, case.precision, training=True)
    _compile(model, case)
    clipping = cfg.SOLVER.CLIP_GRADIENTS
    trainer = StepTrainer(
        model,
        itertools.repeat(_training_batch(case)),
        Trainer.build_optimizer(cfg, model),
        precision=case.precision,
        accumulate=case.accumulate,
        max_norm=clipping.CLIP_VALUE if clipping.ENABLED else None,
        seed=0,
        patience=cfg.SOLVER.NONFINITE_PATIENCE,
    )

    # torch.compile cannot read the setting of TF32 that it finds.
    kernels = {"tf32": cfg.SOLVER.TF32 and not case.compiled, "benchmark": cfg.CUDNN_BENCHMARK}

    def run() -> None:
        with EventStorage(), cuda_kernels(model.device, **kernels):
            trainer.run_step()

    return Workload(run, model.device)


def bare_inference(case: Case) -> Workload:
    """Return the pass of one image through the bare open_clip image encoder, on the config's device."""
    cfg = load_config(case.config_file, case.options)
    device = torch.device(cfg.MODEL.DEVICE)
    encoder = bare_encoder(cfg.MODEL.CLIP.NAME, case.size).to(device)
    image = torch.randn(1, 3, case.size, case.size, device=device)

    @torch.no_grad()
    def run() -> None:
        with cuda_kernels(device, tf32=cfg.TEST.TF32, benchmark=False), autocast(case.precision, device):
            encoder(image)

    return Workload(run, device)


def numbered_classes(count: int) -> Vocabulary:
    """A vocabulary of ``count`` different class names."""
    return Vocabulary.from_string(", ".join(f"thing number {number}" for number in range(count)))


def aerial_class_names(count: int) -> list[str]:
    """Return the first ``count`` class names of the datasets that come with sgovss.

    If there are not enough, adjectives are put before the names ("wide road").

    Raises:
        InputError: there are not enough names even so.
    """
    specifications = map(load_specification, dataset_files())
    known = sorted({entry.name.lower() for each in specifications for entry in each.vocabulary})
    names = [f"{adjective}{name}" for adjective in _ADJECTIVES for name in known]
    if count > len(names):
        raise InputError(f"--classes: there are {len(names)} names of aerial classes, {count} are too many; give fewer")
    return names[:count]


def _noise_input(case: Case) -> tuple[Tensor, Vocabulary]:
    images = torch.randint(0, 256, (case.batch, 3, case.size, case.size), dtype=torch.uint8)
    return images, numbered_classes(case.classes)


def _synthetic_input(case: Case) -> tuple[Tensor, Vocabulary]:
    drawn = [generate_image(_FIRST_SEED + number, case.size, "b").image for number in range(case.batch)]
    images = torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image in drawn])
    return images, Vocabulary.from_string(", ".join(aerial_class_names(case.classes)))


def _training_batch(case: Case) -> list[dict[str, Any]]:
    vocabulary = numbered_classes(case.classes)
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "file_name": f"noise {number}",
            "image": torch.randint(0, 256, (3, case.size, case.size), generator=generator, dtype=torch.uint8),
            "sem_seg": torch.randint(0, case.classes, (case.size, case.size), generator=generator).to(
                torch.uint8 if case.classes < 256 else torch.int64
            ),
            "vocabulary": vocabulary,
        }
        for number in range(case.batch)
    ]


def _compile(model: SGOVSS, case: Case) -> None:
    if case.compiled:
        model.image_encoder.compile()
        model.head.compile()
