"""Training and evaluation as train_net.py runs them, in each process."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
from typing import Any

from detectron2.config import CfgNode
from detectron2.engine import default_setup
from detectron2.utils import comm

from sgovss.config import load_config
from sgovss.data import register_datasets
from sgovss.data.checks import check_dataset
from sgovss.engine.checkpoint import INFERENCE, load_weights, read_checkpoint
from sgovss.engine.trainer import Trainer
from sgovss.errors import InputError

logger = logging.getLogger(__name__)


def prepare_config(config_file: str, options: list[str], *, eval_only: bool) -> CfgNode:
    """Read the config, register its datasets, and check all that can be checked before the run starts.

    Nothing is written yet.

    Raises:
        InputError: whatever is wrong with config, weights or data.
    """
    if not config_file:
        raise InputError("--config-file: give a config, such as configs/sgovss_tiny.yaml")
    cfg = load_config(config_file, options)
    if eval_only:
        # The frozen twin guides training; evaluation has no use for it.
        cfg.MODEL.SGOVSS.COMPENSATION.ENABLED = False
    if cfg.MODEL.WEIGHTS and read_checkpoint(cfg.MODEL.WEIGHTS)["kind"] == INFERENCE:
        # All weights are in the checkpoint; do not ask for CLIP's as well.
        cfg.MODEL.CLIP.WEIGHTS = "random"
    register_datasets(cfg.DATASETS.SPECIFICATIONS)
    names = cfg.DATASETS.TEST if eval_only else (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)
    if not names:
        raise InputError("DATASETS.TRAIN and DATASETS.TEST are empty; name at least one dataset")
    for name in names:
        check_dataset(name, sample=cfg.DATASETS.CHECKED_LABELS)
    cfg.freeze()
    return cfg


def run(cfg: CfgNode, args: argparse.Namespace) -> dict[str, Any]:
    """Train or evaluate in this process.

    Args:
        cfg: as :func:`prepare_config` returns it.
        args: of Detectron2's argument parser: ``eval_only`` and ``resume`` are read.

    Returns:
        the results of the last evaluation, by dataset.
    """
    if comm.get_world_size() > 1:
        # A spawned process would start its loader workers by spawning too, importing everything anew.
        multiprocessing.set_start_method("fork", force=True)
        register_datasets(cfg.DATASETS.SPECIFICATIONS)
    default_setup(cfg, args)
    if args.eval_only:
        model = Trainer.build_model(cfg)
        if cfg.MODEL.WEIGHTS:
            load_weights(model, cfg.MODEL.WEIGHTS)
        return Trainer.test(cfg, model)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()
