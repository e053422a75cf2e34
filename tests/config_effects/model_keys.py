"""The keys of MODEL, seen at a small model that is built from the config."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch

from sgovss.config import load_config
from sgovss.data import register_datasets
from sgovss.engine.balance import training_weights
from sgovss.engine.trainer import Trainer
from sgovss.modeling import SGOVSS
from sgovss.modeling.templates import templates_of
from sgovss.vocabulary import Vocabulary
from tests.config_effects.row import Case, Row, refusal
from tests.config_effects.solver_keys import Line
from tests.engine.small_training import make_trainer
from tests.modeling.conftest import build_small, make_batch, open_gates

WORDS = Vocabulary.from_string("building, road, tree|forest")


@functools.cache
def built(options: tuple[str, ...], kind: str = "convnext") -> SGOVSS:
    model = build_small(load_config("sgovss_tiny.yaml", ["MODEL.DEVICE", "cpu", *options]), kind)
    open_gates(model.head)
    return model


def of(part: Callable[[SGOVSS], Any], kind: str = "convnext") -> Callable[[Case], Any]:
    """A property of the model."""
    return lambda case: part(built(case.options, kind))


@torch.no_grad()
def losses(model: SGOVSS) -> dict[str, float]:
    """The losses of a batch with few labels, of an encoder that differs from the frozen one."""
    torch.manual_seed(0)
    (entry,) = make_batch(WORDS, size=128, images=1)
    entry["sem_seg"] = torch.full((128, 128), 255)
    entry["sem_seg"][:6] = 1
    frozen = model.frozen_encoder
    if frozen is not None:
        shift = frozen.register_forward_hook(lambda _, __, maps: {name: x.flip(1) for name, x in maps.items()})
    found = {name: loss.item() for name, loss in model([entry]).items()}
    if frozen is not None:
        shift.remove()
    return found


def loss(name: str) -> Callable[[Case], Any]:
    return of(lambda model: losses(model).get(name))


def names_of_losses(model: SGOVSS) -> set[str]:
    return set(losses(model))


def arguments_of_clip(case: Case) -> tuple:
    """What the CLIP model is loaded with."""
    calls = []
    with patch("sgovss.modeling.meta_arch.load_clip", lambda *arguments: calls.append(arguments) or 1 / 0):
        try:
            SGOVSS.from_config(case.cfg)
        except ZeroDivisionError:
            return calls[0]


def gradients_of_levels(model: SGOVSS) -> set[str]:
    levels = model.image_encoder(torch.zeros(1, 3, 64, 64))
    levels = {name: maps.detach().requires_grad_() for name, maps in levels.items()}
    model.head(levels, model.text_embedder(WORDS).embeddings).sum().backward()
    return {name for name, maps in levels.items() if maps.grad is not None}


def rates(case: Case) -> set[float]:
    model = built(case.options)
    optimizer = Trainer.build_optimizer(case.cfg, model)
    encoder = set(model.image_encoder.parameters())
    return {group["lr"] for group in optimizer.param_groups if encoder & set(group["params"])}


def weights_of_classes(case: Case) -> list[float] | None:
    """The weights in the loss of the classes field and river, which has half as many values in the labels."""
    cfg = Case((*case.fields, *case.options), case.folder, ()).cfg
    register_datasets(cfg.DATASETS.SPECIFICATIONS)
    weights = training_weights(cfg)
    return None if weights is None else [round(weight, 1) for weight in weights.tolist()]


def start(case: Case) -> None:
    make_trainer([], case.folder, case.options, Line()).resume_or_load(resume=False)


SGOVSS_KEYS = {
    "BIAS_GUIDANCE": Row(False, of(lambda m: m.head.refinement is None), True),
    "DECODER": Row(False, of(lambda m: m.head.decoder is None), True),
    "VISUAL_GUIDANCE": Row(False, of(lambda m: len(m.head.guides)), 0),
    "TEXT_GUIDANCE": Row(False, of(lambda m: [stage.classes for stage in m.head.decoder.stages]), [None] * 3),
    "HIDDEN_DIM": Row(48, of(lambda m: m.head.refinement.text_input.out_features), 48),
    "HEADS": Row(
        2, of(lambda m: (m.head.refinement.text_attention.heads, m.head.decoder.stages[0].classes.heads)), (2, 2)
    ),
    "TEXT_SHARE": Row(0.75, of(lambda m: m.head.text_share), 0.75),
    "BIAS_TOKENS": Row(3, of(lambda m: len(m.head.refinement.bias.queries)), 3),
    "DECODER_DIMS": Row(
        [36, 24, 12], of(lambda m: [stage.narrow.in_channels for stage in m.head.decoder.stages]), [36, 24, 12]
    ),
    "DECODER_KERNEL": Row(5, of(lambda m: m.head.decoder.stages[2].spatial.depthwise.kernel_size), (5, 5)),
    "RECOMPUTE_DECODER": Row(True, of(lambda m: m.head.decoder.recompute), True),
    "GUIDANCE_DIM": Row(12, of(lambda m: m.head.guides["res3"].project.out_features), 12),
    "LOGIT_SCALE": Row(3.0, of(lambda m: round(m.head.log_scale.exp().item(), 4)), 3.0),
    "LOGIT_BIAS": Row(1.5, of(lambda m: m.head.logit_bias.item()), 1.5),
    "IGNORED_PIXELS": Row("NEGATIVE", loss("loss_pixel"), given=("DATASETS.UNSEEN", "()")),
    "LEAST_SHARE": Row(0.5, loss("loss_pixel")),
    "CLASS_BALANCE": Row(1.0, weights_of_classes, [0.8, 1.5], ("DATASETS.UNSEEN", "('hedge',)")),
    "STAGE_LOSSES": Row(
        0.5, of(names_of_losses), {"loss_pixel", "loss_gcd", "loss_stage1", "loss_stage2"}
    ),
    "DETACH_LEVELS": Row(True, of(gradients_of_levels), {"dense"}, ("MODEL.SGOVSS.BIAS_TOKENS", 2)),
    "COMPENSATION.ENABLED": Row(False, of(names_of_losses), {"loss_pixel"}),
    "COMPENSATION.WEIGHTS": Row([0.5, 0.0, 2.0, 0.0], of(names_of_losses), {"loss_pixel", "loss_gc3", "loss_gc5"}),
    "COMPENSATION.TWIN_PRECISION": Row(
        "bfloat16", of(lambda m: m.frozen_encoder.tower.trunk.stem[0].weight.dtype), torch.bfloat16
    ),
    "COMPENSATION.POOL": Row(1, loss("loss_gcd")),
    "COMPENSATION.LABELLED": Row(5.0, loss("loss_gcd")),
}  # fmt: skip

ROWS = {
    "MODEL.META_ARCHITECTURE": Row("Nothing", refusal(lambda case: built(case.options)), "MODEL.META_ARCHITECTURE"),
    "MODEL.SEM_SEG_HEAD.NAME": Row("Nothing", refusal(lambda case: built(case.options)), "MODEL.SEM_SEG_HEAD.NAME"),
    "MODEL.SEM_SEG_HEAD.IGNORE_VALUE": Row(7, of(lambda m: m.objective.ignore_label), 7),
    "MODEL.PIXEL_MEAN": Row([1.0, 2.0, 3.0], of(lambda m: m.pixel_mean.flatten().tolist()), [1.0, 2.0, 3.0]),
    "MODEL.PIXEL_STD": Row([4.0, 5.0, 6.0], of(lambda m: m.pixel_std.flatten().tolist()), [4.0, 5.0, 6.0]),
    "MODEL.DEVICE": Row("meta", lambda case: build_small(case.cfg).device.type, "meta"),
    "MODEL.WEIGHTS": Row("nowhere.pth", refusal(start), "MODEL.WEIGHTS"),
    "MODEL.CLIP.NAME": Row("ViT-B-16", lambda case: "ViT-B-16" in arguments_of_clip(case), True),
    "MODEL.CLIP.WEIGHTS": Row("random", lambda case: "random" in arguments_of_clip(case), True),
    "MODEL.CLIP.ACTIVATION": Row("quick_gelu", lambda case: "quick_gelu" in arguments_of_clip(case), True),
    "MODEL.CLIP.TUNING": Row("none", of(lambda m: any(p.requires_grad for p in m.image_encoder.parameters())), False),
    "MODEL.CLIP.DENSE": Row("qq", of(lambda m: m.image_encoder(torch.ones(1, 3, 64, 64))["dense"].tolist(), "vit")),
    "MODEL.CLIP.RECOMPUTE": Row(True, of(lambda m: m.image_encoder.tower.recompute, "vit"), True),
    "MODEL.CLIP.LR_MULTIPLIER": Row(0.5, rates, {0.00025}),
    "MODEL.CLIP.TEMPLATES": Row("plain", of(lambda m: m.text_embedder.templates), templates_of("plain")),
    "MODEL.CLIP.SYNONYMS": Row(False, of(lambda m: len(m.text_embedder(WORDS).embeddings)), 3),
    "MODEL.CLIP.KEEP_TEXT": Row(False, of(lambda m: m.text_embedder.keep), False),
    **{f"MODEL.SGOVSS.{key}": row for key, row in SGOVSS_KEYS.items()},
}

UNREAD = """
    MODEL.SEM_SEG_HEAD.IN_FEATURES MODEL.SEM_SEG_HEAD.NUM_CLASSES MODEL.SEM_SEG_HEAD.CONVS_DIM
    MODEL.SEM_SEG_HEAD.COMMON_STRIDE MODEL.SEM_SEG_HEAD.NORM MODEL.SEM_SEG_HEAD.LOSS_WEIGHT
    MODEL.LOAD_PROPOSALS MODEL.MASK_ON MODEL.KEYPOINT_ON MODEL.BACKBONE MODEL.FPN MODEL.PROPOSAL_GENERATOR
    MODEL.ANCHOR_GENERATOR MODEL.RPN MODEL.ROI_HEADS MODEL.ROI_BOX_HEAD MODEL.ROI_BOX_CASCADE_HEAD
    MODEL.ROI_MASK_HEAD MODEL.ROI_KEYPOINT_HEAD MODEL.PANOPTIC_FPN MODEL.RETINANET MODEL.RESNETS
    """
"""Detectron2's keys that nothing reads."""
