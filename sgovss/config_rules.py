"""Checks of config values beyond their types, made before a run starts.

``_RULES`` has the rules for single keys. The functions below it check keys that depend on each other.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode

from sgovss.errors import InputError
from sgovss.precision import check_precision, has_bfloat16
from sgovss.view_set import parse_views

REMOVED_KEYS = {
    "MODEL.BACKBONE.NAME": "MODEL.CLIP.NAME chooses the image encoder",
    "SOLVER.OPTIMIZER": "AdamW is the only optimizer",
}
"""Config keys of earlier versions, and the reason for the removal of each."""


class _Rule(NamedTuple):
    holds: Callable[[Any], bool]
    remedy: str


def _one_of(*names: str) -> _Rule:
    first = ", ".join(names[:-1])
    return _Rule(lambda value: value in names, f"use {first} or {names[-1]}" if first else f"use {names[0]}")


_ABOVE_ZERO = _Rule(lambda value: value > 0, "give a number above 0")
_NOT_BELOW_ZERO = _Rule(lambda value: value >= 0, "give 0 or more")
_SHARE = _Rule(lambda ratio: 0 <= ratio <= 1, "give a number from 0 to 1")
_COLOURS = "give three numbers, for red, green and blue, or [] for those of the weights"

_RULES = {
    "MODEL.PIXEL_MEAN": _Rule(lambda values: len(values) in (0, 3), _COLOURS),
    "MODEL.PIXEL_STD": _Rule(
        lambda values: len(values) in (0, 3) and min(values, default=1) > 0, f"{_COLOURS}; deviations are above 0"
    ),
    "MODEL.CLIP.ACTIVATION": _one_of("auto", "gelu", "quick_gelu"),
    "MODEL.CLIP.TUNING": _one_of("full", "attention", "none"),
    "MODEL.CLIP.DENSE": _one_of("value", "qq", "qq+kk", "qq+kk+vv", "neighbours"),
    "MODEL.CLIP.TEMPLATES": _one_of("paper", "plain", "single", "remote_sensing", "imagenet"),
    "MODEL.SGOVSS.HEADS": _ABOVE_ZERO,
    "MODEL.SGOVSS.HIDDEN_DIM": _ABOVE_ZERO,
    "MODEL.SGOVSS.GUIDANCE_DIM": _ABOVE_ZERO,
    "MODEL.SGOVSS.BIAS_TOKENS": _ABOVE_ZERO,
    "MODEL.SGOVSS.TEXT_SHARE": _SHARE,
    "MODEL.SGOVSS.DECODER_KERNEL": _Rule(lambda side: side > 0 and side % 2 == 1, "give an odd number above 0"),
    "MODEL.SGOVSS.LOGIT_SCALE": _ABOVE_ZERO,
    "MODEL.SGOVSS.IGNORED_PIXELS": _one_of("MASK", "NEGATIVE"),
    "MODEL.SGOVSS.CLASS_BALANCE": _SHARE,
    "MODEL.SGOVSS.LEAST_SHARE": _SHARE,
    "MODEL.SGOVSS.STAGE_LOSSES": _NOT_BELOW_ZERO,
    "MODEL.SGOVSS.COMPENSATION.WEIGHTS": _Rule(
        lambda weights: len(weights) == 4 and min(weights) >= 0,
        "give four numbers, 0 or more, for res3, res4, res5 and dense",
    ),
    "MODEL.SGOVSS.COMPENSATION.TWIN_PRECISION": _one_of("float32", "bfloat16"),
    "MODEL.SGOVSS.COMPENSATION.POOL": _ABOVE_ZERO,
    "MODEL.SGOVSS.COMPENSATION.LABELLED": _NOT_BELOW_ZERO,
    "INPUT.FORMAT": _one_of("RGB"),
    "INPUT.MIN_SIZE_TRAIN": _Rule(
        lambda sides: len(sides) > 0 and min(sides) >= 0, "give lengths in pixels, or 0 for the native size"
    ),
    "INPUT.MIN_SIZE_TEST": _NOT_BELOW_ZERO,
    "INPUT.GROUND_SAMPLE_DISTANCE": _NOT_BELOW_ZERO,
    "DATASETS.CHECKED_LABELS": _NOT_BELOW_ZERO,
    "DATALOADER.NUM_WORKERS": _NOT_BELOW_ZERO,
    "DATALOADER.SAMPLER_TRAIN": _Rule(
        lambda name: name in ("TrainingSampler", "RepeatFactorTrainingSampler"),
        "use TrainingSampler or RepeatFactorTrainingSampler, whose order a resumed run can continue",
    ),
    "SOLVER.LR_SCHEDULER_NAME": _one_of("WarmupCosineLR", "WarmupMultiStepLR"),
    "SOLVER.AMP.DTYPE": _one_of("bfloat16", "float16", "float32"),
    "SOLVER.ACCUMULATE": _ABOVE_ZERO,
    "SOLVER.BASE_LR": _ABOVE_ZERO,
    "SOLVER.CHECKPOINT_PERIOD": _ABOVE_ZERO,
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": _ABOVE_ZERO,
    "SOLVER.EPS": _ABOVE_ZERO,
    "SOLVER.IMS_PER_BATCH": _ABOVE_ZERO,
    "SOLVER.MAX_ITER": _ABOVE_ZERO,
    "SOLVER.NONFINITE_PATIENCE": _ABOVE_ZERO,
    "SOLVER.WARMUP_ITERS": _NOT_BELOW_ZERO,
    "TEST.EVAL_PERIOD": _NOT_BELOW_ZERO,
    "TEST.EARLY_REJECTION": _NOT_BELOW_ZERO,
    "TEST.PRECISION": _one_of("float32", "bfloat16", "float16"),
    "TEST.SLIDING_WINDOW.WORKING_SIZE": _NOT_BELOW_ZERO,
    "TEST.SLIDING_WINDOW.GLOBAL_VIEW": _NOT_BELOW_ZERO,
    "TEST.SCENE.BATCH": _NOT_BELOW_ZERO,
    "TEST.SCENE.MEMORY": _NOT_BELOW_ZERO,
    "OUTPUT_DIR": _Rule(lambda folder: folder != "", "name a folder"),
}


def check_values(cfg: CfgNode, defaults: CfgNode) -> None:
    """Check all values of a config.

    Args:
        cfg: the config.
        defaults: a config with the same keys and their defaults.

    Raises:
        InputError: for the first wrong value; the message starts with its key.
    """
    for key in REMOVED_KEYS:
        if _has(defaults, key) and _get(cfg, key) != _get(defaults, key):  # a key that Detectron2 has too
            raise InputError(removed_key_message(key))
    for key in _keys_without_value(cfg, defaults):
        raise InputError(f"{key}: has no value; give one, or leave the key out")
    for key in _RULES:
        check_value(key, _get(cfg, key))
    _check_device(cfg.MODEL.DEVICE)
    _check_decoder(cfg)
    _check_training(cfg)
    parse_views(cfg.TEST.VIEWS)
    if cfg.TEST.AUG.ENABLED and cfg.TEST.VIEWS:
        raise InputError(
            "TEST.AUG.ENABLED: TEST.VIEWS is set too, which has scales and mirroring; set TEST.AUG.ENABLED False"
        )
    if cfg.TEST.SLIDING_WINDOW.ENABLED:
        check_stride("TEST.SLIDING_WINDOW", cfg.TEST.SLIDING_WINDOW.WINDOW, cfg.TEST.SLIDING_WINDOW.STRIDE)
    check_stride("TEST.SCENE", cfg.TEST.SCENE.WINDOW, cfg.TEST.SCENE.STRIDE)


def check_value(key: str, value: Any) -> None:
    """Check one value against the rule of its key.

    Constructors call it for arguments that would otherwise cause a wrong result without an error.

    Args:
        key: a key that has a rule, such as ``MODEL.CLIP.TUNING``.
        value: the value.

    Raises:
        InputError: the value breaks the rule; the message starts with the key.
    """
    rule = _RULES[key]
    if not rule.holds(value):
        raise InputError(f"{key}: {value!r} is not allowed; {rule.remedy}")


def check_precisions(cfg: CfgNode, training: bool) -> None:
    """Check that MODEL.DEVICE can compute in TEST.PRECISION, and in training in SOLVER.AMP.DTYPE.

    It is not part of :func:`check_values`, because a CPU can use a checkpoint that was trained in float16 on a GPU.

    Args:
        cfg: the config.
        training: whether the run trains.

    Raises:
        InputError: float16 without CUDA, or training in bfloat16 on a GPU that emulates it.
    """
    device = torch.device(cfg.MODEL.DEVICE)
    check_precision(cfg.TEST.PRECISION, device, "TEST.PRECISION")
    if not (training and cfg.SOLVER.AMP.ENABLED):
        return
    check_precision(cfg.SOLVER.AMP.DTYPE, device, "SOLVER.AMP.DTYPE")
    if cfg.SOLVER.AMP.DTYPE == "bfloat16" and device.type == "cuda" and not has_bfloat16(device):
        raise InputError("SOLVER.AMP.DTYPE: this GPU has no bfloat16 instructions; set SOLVER.AMP.DTYPE float16")


def check_held_out(cfg: CfgNode) -> None:
    """Check that the pixels of held-out classes are not negatives of the other classes in training.

    Raises:
        InputError: DATASETS.UNSEEN together with MODEL.SGOVSS.IGNORED_PIXELS 'NEGATIVE'.
    """
    if cfg.DATASETS.UNSEEN and cfg.MODEL.SGOVSS.IGNORED_PIXELS == "NEGATIVE":
        raise InputError(
            "DATASETS.UNSEEN: with MODEL.SGOVSS.IGNORED_PIXELS 'NEGATIVE' the pixels of the unseen classes would be "
            "negatives of all classes; use 'MASK'"
        )


def check_stride(key: str, window: int, stride: int) -> None:
    """Check that windows leave no gaps.

    Args:
        key: the config node, for the message.
        window: side of the windows in pixels.
        stride: distance between the starts of neighbouring windows in pixels.

    Raises:
        InputError: the stride is not in 1 to ``window``.
    """
    if not 0 < stride <= window:
        raise InputError(f"{key}.STRIDE: {stride} is not from 1 to the window, {window}; give a stride in this range")


def removed_key_message(key: str) -> str:
    """The message for a user who sets one of :data:`REMOVED_KEYS`."""
    return f"{key}: this key was removed, because {REMOVED_KEYS[key]}; leave it out"


def _check_decoder(cfg: CfgNode) -> None:
    node = cfg.MODEL.SGOVSS
    widths = [*node.DECODER_DIMS, node.HIDDEN_DIM]
    if len(node.DECODER_DIMS) != 3 or any(width < 1 or width % node.HEADS for width in widths):
        raise InputError(
            f"MODEL.SGOVSS.DECODER_DIMS: {list(node.DECODER_DIMS)}, with HIDDEN_DIM {node.HIDDEN_DIM}, is not allowed; "
            f"give three widths, each (and HIDDEN_DIM) a multiple of HEADS ({node.HEADS})"
        )


def _check_training(cfg: CfgNode) -> None:
    loader = cfg.DATALOADER
    if loader.SAMPLER_TRAIN == "RepeatFactorTrainingSampler" and loader.REPEAT_THRESHOLD <= 0:
        raise InputError(
            f"DATALOADER.REPEAT_THRESHOLD: with {loader.REPEAT_THRESHOLD} RepeatFactorTrainingSampler repeats no "
            "image; give the share of images, such as 0.5, below which a class counts as rare"
        )
    clipping = cfg.SOLVER.CLIP_GRADIENTS
    if clipping.ENABLED and clipping.CLIP_TYPE != "full_model":
        raise InputError(f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE: {clipping.CLIP_TYPE!r} is not allowed; use full_model")
    if not (cfg.DATASETS.UNLABELLED and cfg.MODEL.SGOVSS.COMPENSATION.ENABLED):
        return
    if cfg.MODEL.SGOVSS.IGNORED_PIXELS != "MASK":
        raise InputError(
            "DATASETS.UNLABELLED: with MODEL.SGOVSS.IGNORED_PIXELS 'NEGATIVE' the model would learn that images "
            "without labels show none of the classes; use 'MASK'"
        )
    fraction = cfg.DATASETS.UNLABELLED_SHARE
    if not 0 < fraction < 1:
        raise InputError(f"DATASETS.UNLABELLED_SHARE: {fraction!r} is not allowed; give a number above 0 and below 1")


def _check_device(name: str) -> None:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"MODEL.DEVICE: '{name}' is not a device of PyTorch; use cpu or cuda") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"MODEL.DEVICE: this machine has no device '{name}'; use cpu, or a device that it has")


def _keys_without_value(cfg: CfgNode, defaults: CfgNode, prefix: str = "") -> Iterator[str]:
    for name, default in defaults.items():
        if isinstance(default, CfgNode):
            yield from _keys_without_value(cfg[name], default, f"{prefix}{name}.")
        elif cfg[name] is None and default is not None:
            yield f"{prefix}{name}"


def _get(cfg: CfgNode, key: str) -> Any:
    return reduce(operator.getitem, key.split("."), cfg)


def _has(cfg: CfgNode, key: str) -> bool:
    try:
        _get(cfg, key)
    except KeyError:
        return False
    return True
