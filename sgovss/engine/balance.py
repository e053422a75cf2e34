"""Balance of frequent and rare classes in training."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import get_detection_dataset_dicts
from detectron2.utils import comm
from tqdm import tqdm

from sgovss.data.class_frequency import class_pixels, class_weights, repeats
from sgovss.data.registration import dataset_metadata, held_out_ids, training_vocabulary
from sgovss.errors import InputError

logger = logging.getLogger(__name__)

REPEATING = "RepeatFactorTrainingSampler"


def training_weights(cfg: CfgNode) -> torch.Tensor | None:
    """The weights (T,) of the training classes in the pixel loss; None if all classes weigh alike.

    Args:
        cfg: a config whose datasets are registered. If MODEL.SGOVSS.CLASS_BALANCE is not 0, all training labels are
            read, by all processes together.

    Raises:
        InputError: a label cannot be read, or no pixel has a label.
    """
    power = cfg.MODEL.SGOVSS.CLASS_BALANCE
    if not power:
        return None
    pixels = _count(cfg, get_detection_dataset_dicts(cfg.DATASETS.TRAIN, filter_empty=False)).sum(axis=0)
    if not pixels.any():
        raise InputError(
            f"DATASETS.TRAIN: no pixel of {', '.join(cfg.DATASETS.TRAIN)} has a label of a training class; look at its "
            "labels with 'sgovss check'"
        )
    weights = class_weights(pixels, power)
    names = training_vocabulary(cfg.DATASETS.TRAIN, cfg.DATASETS.UNSEEN).names
    logger.info(
        "weights of the classes in the loss: %s",
        ", ".join(f"{name} {weight:.2f}" for name, weight in zip(names, weights.tolist(), strict=True)),
    )
    return weights


def labelled_factors(cfg: CfgNode, records: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    """How often each labelled training image occurs per epoch, by DATALOADER.SAMPLER_TRAIN.

    Args:
        cfg: a config whose datasets are registered. With RepeatFactorTrainingSampler all labels are read, by all
            processes together.
        records: the N records of the training sets.

    Returns:
        (N,) float32.

    Raises:
        InputError: a label cannot be read.
    """
    if cfg.DATALOADER.SAMPLER_TRAIN != REPEATING:
        return torch.ones(len(records))
    factors = repeats(_count(cfg, records), cfg.DATALOADER.REPEAT_THRESHOLD, cfg.DATALOADER.REPEAT_SQRT)
    logger.info("images are repeated %.2f times in the mean, %.2f times at most", factors.mean(), factors.max())
    return factors


def _count(cfg: CfgNode, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """(N, T) int64 pixels of each training class in each image; each process reads a part of the labels."""
    held_out = held_out_ids(cfg.DATASETS.TRAIN, cfg.DATASETS.UNSEEN)
    maps = {name: dataset_metadata(name).label_map.without(held_out) for name in cfg.DATASETS.TRAIN}
    processes = comm.get_world_size()
    mine = records[comm.get_rank() :: processes]
    shown = tqdm(mine, desc="counting classes", unit="label", mininterval=1, disable=not comm.is_main_process())
    parts = comm.all_gather([class_pixels(record, maps[record["dataset"]]) for record in shown])
    pixels = np.zeros((len(records), next(iter(maps.values())).num_classes), np.int64)
    for rank, part in enumerate(parts):
        pixels[rank::processes] = part
    return pixels
