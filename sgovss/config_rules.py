"""What a config's values must be, beyond their types: found at the start, not after hours of training."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode, get_cfg

from sgovss.errors import InputError


class _Rule(NamedTuple):
    holds: Callable[[Any], bool]
    wanted: str


def _one_of(*names: str) -> _Rule:
    return _Rule(lambda value: value in names, f"use {' or '.join(names)}")


_ABOVE_ZERO = _Rule(lambda value: value > 0, "give a number above 0")
_NOT_BELOW_ZERO = _Rule(lambda value: value >= 0, "give 0 or more")
_COLOURS = "give three numbers, for red, green and blue"

_RULES = {
    "MODEL.BACKBONE.NAME": _Rule(
        lambda name: name == get_cfg().MODEL.BACKBONE.NAME,
        "leave this key out: sgovss takes its image encoder from MODEL.CLIP",
    ),
    "MODEL.PIXEL_MEAN": _Rule(lambda values: len(values) == 3, _COLOURS),
    "MODEL.PIXEL_STD": _Rule(lambda values: len(values) == 3 and min(values) > 0, f"{_COLOURS}, above 0"),
    "MODEL.SGOVSS.HEADS": _ABOVE_ZERO,
    "MODEL.SGOVSS.HIDDEN_DIM": _ABOVE_ZERO,
    "MODEL.SGOVSS.GUIDANCE_DIM": _ABOVE_ZERO,
    "MODEL.SGOVSS.BIAS_TOKENS": _ABOVE_ZERO,
    "MODEL.SGOVSS.TEXT_SHARE": _Rule(lambda share: 0 <= share <= 1, "give a number from 0 to 1"),
    "MODEL.SGOVSS.DECODER_KERNEL": _Rule(lambda side: side > 0 and side % 2 == 1, "give an odd number above 0"),
    "MODEL.SGOVSS.LOGIT_SCALE": _ABOVE_ZERO,
    "MODEL.SGOVSS.COMPENSATION.TWIN_PRECISION": _one_of("float32", "bfloat16"),
    "INPUT.FORMAT": _one_of("RGB"),
    "INPUT.MIN_SIZE_TRAIN": _Rule(
        lambda sides: len(sides) > 0 and min(sides) >= 0, "give lengths in pixels, or 0 for the native size"
    ),
    "INPUT.MIN_SIZE_TEST": _NOT_BELOW_ZERO,
    "INPUT.GROUND_SAMPLE_DISTANCE": _NOT_BELOW_ZERO,
    "DATASETS.CHECKED_LABELS": _NOT_BELOW_ZERO,
    "DATALOADER.NUM_WORKERS": _NOT_BELOW_ZERO,
    "SOLVER.LR_SCHEDULER_NAME": _one_of("WarmupCosineLR", "WarmupMultiStepLR", "WarmupStepWithFixedGammaLR"),
    "SOLVER.AMP.DTYPE": _one_of("bfloat16", "float16", "float32"),
    "SOLVER.ACCUMULATE": _ABOVE_ZERO,
    "SOLVER.BASE_LR": _ABOVE_ZERO,
    "SOLVER.CHECKPOINT_PERIOD": _ABOVE_ZERO,
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": _ABOVE_ZERO,
    "SOLVER.IMS_PER_BATCH": _ABOVE_ZERO,
    "SOLVER.MAX_ITER": _ABOVE_ZERO,
    "SOLVER.NONFINITE_PATIENCE": _ABOVE_ZERO,
    "SOLVER.WARMUP_ITERS": _NOT_BELOW_ZERO,
    "TEST.EVAL_PERIOD": _NOT_BELOW_ZERO,
    "TEST.EARLY_REJECTION": _NOT_BELOW_ZERO,
    "TEST.PRECISION": _one_of("float32", "bfloat16"),
    "TEST.SLIDING_WINDOW.WORKING_SIZE": _NOT_BELOW_ZERO,
    "TEST.SLIDING_WINDOW.GLOBAL_VIEW": _NOT_BELOW_ZERO,
    "TEST.SCENE.BATCH": _ABOVE_ZERO,
    "TEST.SCENE.MEMORY": _NOT_BELOW_ZERO,
    "OUTPUT_DIR": _Rule(lambda folder: folder != "", "name a folder"),
}


def check_values(cfg: CfgNode, defaults: CfgNode) -> None:
    """Refuse a config that no run could come to its end with.

    Args:
        defaults: the same keys with their defaults.

    Raises:
        InputError: the first value that is wrong; names its key.
    """
    for key in _keys_without_value(cfg, defaults):
        raise InputError(f"{key}: has no value; give one, or leave the key out")
    for key, rule in _RULES.items():
        value = reduce(operator.getitem, key.split("."), cfg)
        if not rule.holds(value):
            raise InputError(f"{key}: {value!r} will not do; {rule.wanted}")
    _check_device(cfg.MODEL.DEVICE)


def _keys_without_value(cfg: CfgNode, defaults: CfgNode, prefix: str = "") -> Iterator[str]:
    for name, default in defaults.items():
        if isinstance(default, CfgNode):
            yield from _keys_without_value(cfg[name], default, f"{prefix}{name}.")
        elif cfg[name] is None and default is not None:
            yield f"{prefix}{name}"


def _check_device(name: str) -> None:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"MODEL.DEVICE: '{name}' is no device of torch; use cpu or cuda") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"MODEL.DEVICE: '{name}' is not there; use cpu, or another of this machine's devices")
