"""What a change of each config key means for weights that were trained under another config.

A checkpoint holds the config it was trained with. Where its weights are loaded, :func:`report_changes` compares that
config with the one now given. ``_KEYS`` has the meaning of every key; a new key needs a line there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from pathlib import Path
from typing import Any, NamedTuple

from detectron2.config import CfgNode, get_cfg
from detectron2.utils.logger import log_first_n

from sgovss.config import add_sgovss_config
from sgovss.yaml_text import load_yaml


class Use(Enum):
    """What the weights of a checkpoint are loaded for."""

    INFERENCE = auto()
    EVALUATION = auto()
    START = auto()
    """To start another training."""
    RESUME = auto()


class Effect(Enum):
    """What it means if a key differs from the checkpoint's."""

    RESULTS = auto()
    """The scores change, without an error."""
    RASTERS = auto()
    """The scores of rasters change: they are resampled to another resolution."""
    SEEN = auto()
    """Another training; and in an evaluation, other classes count as seen."""
    TRAINING = auto()
    """Another training."""
    CHOICE = auto()
    """A choice at test time."""
    CHECKED = auto()
    """A difference that matters is an error already: tensors of other names or shapes, or other CLIP weights."""
    NONE = auto()
    """No difference in the results: places, speed, memory, initial values, and keys that sgovss does not read."""


_WARNED = {
    Use.INFERENCE: {Effect.RESULTS, Effect.RASTERS},
    Use.EVALUATION: {Effect.RESULTS, Effect.SEEN},
    Use.START: {Effect.RESULTS},
    Use.RESUME: {Effect.RESULTS, Effect.SEEN, Effect.TRAINING},
}

_KEYS = {
    Effect.RESULTS: """
        MODEL.META_ARCHITECTURE MODEL.SEM_SEG_HEAD.NAME MODEL.PIXEL_MEAN MODEL.PIXEL_STD INPUT.FORMAT
        MODEL.CLIP.NAME MODEL.CLIP.ACTIVATION MODEL.CLIP.TEMPLATES
        MODEL.CLIP.SYNONYMS MODEL.CLIP.DENSE MODEL.SGOVSS.HEADS
        """,
    Effect.RASTERS: "INPUT.GROUND_SAMPLE_DISTANCE",
    Effect.SEEN: "DATASETS.TRAIN DATASETS.UNSEEN",
    Effect.TRAINING: """
        MODEL.SEM_SEG_HEAD.IGNORE_VALUE MODEL.CLIP.LR_MULTIPLIER MODEL.SGOVSS.IGNORED_PIXELS
        MODEL.SGOVSS.CLASS_BALANCE MODEL.SGOVSS.LEAST_SHARE MODEL.SGOVSS.STAGE_LOSSES MODEL.SGOVSS.DETACH_LEVELS
        MODEL.SGOVSS.COMPENSATION.ENABLED MODEL.SGOVSS.COMPENSATION.WEIGHTS MODEL.SGOVSS.COMPENSATION.TWIN_PRECISION
        MODEL.SGOVSS.COMPENSATION.POOL MODEL.SGOVSS.COMPENSATION.LABELLED
        DATASETS.UNLABELLED DATASETS.UNLABELLED_SHARE
        DATALOADER.SAMPLER_TRAIN DATALOADER.REPEAT_THRESHOLD DATALOADER.REPEAT_SQRT
        INPUT.MIN_SIZE_TRAIN INPUT.MIN_SIZE_TRAIN_SAMPLING INPUT.MAX_SIZE_TRAIN INPUT.CROP.ENABLED INPUT.CROP.TYPE
        INPUT.CROP.SIZE INPUT.CROP.SINGLE_CATEGORY_MAX_AREA INPUT.ANY_ORIENTATION INPUT.COLOR_AUG_SSD
        SOLVER.LR_SCHEDULER_NAME SOLVER.MAX_ITER SOLVER.BASE_LR SOLVER.BASE_LR_END SOLVER.WEIGHT_DECAY
        SOLVER.WEIGHT_DECAY_NORM SOLVER.WEIGHT_DECAY_BIAS SOLVER.GAMMA SOLVER.STEPS
        SOLVER.WARMUP_FACTOR SOLVER.WARMUP_ITERS SOLVER.WARMUP_METHOD SOLVER.RESCALE_INTERVAL
        SOLVER.IMS_PER_BATCH SOLVER.ACCUMULATE SOLVER.CLIP_GRADIENTS.ENABLED SOLVER.CLIP_GRADIENTS.CLIP_VALUE
        SOLVER.EPS SOLVER.TF32 SOLVER.AMP.ENABLED SOLVER.AMP.DTYPE SEED
        """,
    Effect.CHOICE: """
        MODEL.SGOVSS.TEXT_SHARE INPUT.MIN_SIZE_TEST INPUT.MAX_SIZE_TEST
        TEST.PRECISION TEST.TF32 TEST.EARLY_REJECTION TEST.SEEN TEST.VIEWS
        TEST.AUG.ENABLED TEST.AUG.MIN_SIZES TEST.AUG.FLIP
        TEST.SLIDING_WINDOW.ENABLED TEST.SLIDING_WINDOW.WINDOW TEST.SLIDING_WINDOW.STRIDE
        TEST.SLIDING_WINDOW.WORKING_SIZE TEST.SLIDING_WINDOW.GLOBAL_VIEW TEST.SLIDING_WINDOW.ANTIALIAS
        TEST.SCENE.WINDOW TEST.SCENE.STRIDE
        """,
    Effect.CHECKED: """
        MODEL.CLIP.WEIGHTS MODEL.CLIP.TUNING MODEL.SGOVSS.BIAS_GUIDANCE MODEL.SGOVSS.DECODER
        MODEL.SGOVSS.VISUAL_GUIDANCE MODEL.SGOVSS.TEXT_GUIDANCE MODEL.SGOVSS.HIDDEN_DIM MODEL.SGOVSS.BIAS_TOKENS
        MODEL.SGOVSS.DECODER_DIMS MODEL.SGOVSS.DECODER_KERNEL MODEL.SGOVSS.GUIDANCE_DIM
        """,
    Effect.NONE: """
        LOGGING.WANDB LOGGING.MLFLOW
        VERSION OUTPUT_DIR VIS_PERIOD CUDNN_BENCHMARK TEST.CUDA_GRAPHS GLOBAL MODEL.DEVICE MODEL.WEIGHTS
        MODEL.CLIP.RECOMPUTE MODEL.CLIP.KEEP_TEXT MODEL.SGOVSS.RECOMPUTE_DECODER
        MODEL.SGOVSS.LOGIT_SCALE MODEL.SGOVSS.LOGIT_BIAS
        INPUT.RANDOM_FLIP INPUT.MASK_FORMAT DATASETS.TEST DATASETS.SPECIFICATIONS DATASETS.CHECKED_LABELS
        DATASETS.PROPOSAL_FILES_TRAIN DATASETS.PROPOSAL_FILES_TEST DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TRAIN
        DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TEST DATALOADER SOLVER.CHECKPOINT_PERIOD SOLVER.NONFINITE_PATIENCE
        SOLVER.REFERENCE_WORLD_SIZE SOLVER.NUM_DECAYS SOLVER.MOMENTUM SOLVER.NESTEROV SOLVER.BIAS_LR_FACTOR
        SOLVER.CLIP_GRADIENTS.CLIP_TYPE SOLVER.CLIP_GRADIENTS.NORM_TYPE TEST.EVAL_PERIOD TEST.SKIP_ABSENT TEST.PUBLISHED
        TEST.SAVE_PREDICTIONS TEST.SCENE.BATCH TEST.SCENE.MEMORY TEST.AUG.MAX_SIZE TEST.EXPECTED_RESULTS
        TEST.KEYPOINT_OKS_SIGMAS TEST.DETECTIONS_PER_IMAGE TEST.PRECISE_BN MODEL.SEM_SEG_HEAD.IN_FEATURES
        MODEL.SEM_SEG_HEAD.NUM_CLASSES MODEL.SEM_SEG_HEAD.CONVS_DIM MODEL.SEM_SEG_HEAD.COMMON_STRIDE
        MODEL.SEM_SEG_HEAD.NORM MODEL.SEM_SEG_HEAD.LOSS_WEIGHT MODEL.LOAD_PROPOSALS MODEL.MASK_ON MODEL.KEYPOINT_ON
        MODEL.BACKBONE MODEL.FPN MODEL.PROPOSAL_GENERATOR MODEL.ANCHOR_GENERATOR MODEL.RPN MODEL.ROI_HEADS
        MODEL.ROI_BOX_HEAD MODEL.ROI_BOX_CASCADE_HEAD MODEL.ROI_MASK_HEAD MODEL.ROI_KEYPOINT_HEAD MODEL.PANOPTIC_FPN
        MODEL.RETINANET MODEL.RESNETS
        """,
}

EFFECTS = {key: effect for effect, keys in _KEYS.items() for key in keys.split()}
"""The effect of each key. A node, such as ``MODEL.RPN``, stands for all of its keys."""

UNSET = {
    "MODEL.PIXEL_MEAN": [],
    "MODEL.PIXEL_STD": [],
    "MODEL.CLIP.ACTIVATION": "auto",
    "INPUT.GROUND_SAMPLE_DISTANCE": 0,
}
"""Values that stand for "as stated by the weights"; they are not compared."""

EARLIER = {
    "MODEL.SGOVSS.TEXT_SHARE": 1.0,
    "MODEL.SGOVSS.COMPENSATION.LABELLED": 1.0,
    "MODEL.SGOVSS.LEAST_SHARE": 0.0,
}
"""What the first versions did before these keys existed. For other keys that a checkpoint lacks, it is the default."""


class Change(NamedTuple):
    """A key with its value in the checkpoint's config and its value now."""

    key: str
    trained: Any
    given: Any


def effect_of(key: str) -> Effect | None:
    """The effect of a key, or None for a key that belongs neither to sgovss nor to Detectron2."""
    parts = key.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((EFFECTS[name] for name in names if name in EFFECTS), None)


def changes(cfg: CfgNode, dump: str) -> list[Change]:
    """Compare a config with that of a checkpoint.

    Args:
        cfg: the config now given.
        dump: the checkpoint's config, as YAML text of ``cfg.dump()``.

    Returns:
        the keys of ``cfg`` with different values, in the order of the config. Keys that only the checkpoint has are
        left out.
    """
    saved = load_yaml(dump)
    if not isinstance(saved, dict):
        return []
    defaults = get_cfg()
    add_sgovss_config(defaults)
    trained = {**dict(_flat(load_yaml(defaults.dump()))), **EARLIER, **dict(_flat(saved))}
    return [
        Change(key, trained[key], value)
        for key, value in _flat(load_yaml(cfg.dump()))
        if trained.get(key, value) != value and UNSET.get(key, ...) not in (value, trained[key])
    ]


def report_changes(cfg: CfgNode, dump: str, path: str | Path, use: Use) -> None:
    """Log one warning with every key that differs from a checkpoint's config and changes the results.

    Keys that are choices at test time are logged as such, at level INFO. Both are logged once per file.

    Args:
        cfg: the config that the weights are used with.
        dump: the checkpoint's config, as YAML text of ``cfg.dump()``.
        path: the checkpoint, for messages.
        use: what the weights are loaded for.
    """
    found = changes(cfg, dump)
    _log(
        logging.WARNING,
        f"{path}: results change, because these config keys differ from its training: ",
        [change for change in found if effect_of(change.key) in _WARNED[use]],
    )
    _log(
        logging.INFO,
        f"{path}: choices at test time that differ from its training: ",
        [change for change in found if effect_of(change.key) is Effect.CHOICE],
    )


def _log(level: int, start: str, found: list[Change]) -> None:
    if found:
        listed = ", ".join(f"{key} ({_short(trained)} there, {_short(given)} here)" for key, trained, given in found)
        log_first_n(level, start + listed, name=__name__, key="message")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested dicts."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
