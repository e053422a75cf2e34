"""Training or evaluation in one process."""

from __future__ import annotations

import argparse
import multiprocessing
import time
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.engine import default_setup
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger
from torch import nn

from sgovss.config_changes import Use, report_changes
from sgovss.data import register_datasets
from sgovss.engine.dry_run import dry_run
from sgovss.engine.environment import write_environment
from sgovss.engine.seeds import adopt_seed
from sgovss.engine.trainer import Trainer
from sgovss.evaluation.comparison import write_comparison
from sgovss.modeling.checkpoint import load_weights, read_checkpoint

# Seconds that a process waits before it raises the error of a broken connection. The process that caused the error can
# then report it first.
_LOST_PEER_DELAY = 3.0


def run(cfg: CfgNode, args: argparse.Namespace) -> dict[str, Any]:
    """Train or evaluate in this process.

    Args:
        cfg: returned by :func:`sgovss.engine.preparation.prepare_config`.
        args: parsed by :func:`sgovss.engine.preparation.argument_parser`; ``eval_only``, ``resume`` and ``dry_run`` are
            read.

    Returns:
        the results of the last evaluation, by dataset; nothing after a dry run.
    """
    _set_up(cfg, args)
    if args.dry_run:
        dry_run(cfg)
        return {}
    return _evaluate(cfg) if args.eval_only else _train(cfg, args.resume)


def _set_up(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Set up datasets, random seeds and loggers of this process."""
    if comm.get_world_size() > 1:
        # Launched processes are spawned. Forked loader workers need not import everything again.
        if "fork" in multiprocessing.get_all_start_methods():
            multiprocessing.set_start_method("fork", force=True)
        register_datasets(cfg.DATASETS.SPECIFICATIONS)
    adopt_seed(cfg, args.resume and not args.eval_only)
    default_setup(cfg, args)
    # Detectron2 gives each process its own seed, but all processes must build the same model.
    seed_all_rng(cfg.SEED)
    # Detectron2 sets up loggers for itself and fvcore only.
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="sgovss")


def evaluated_model(cfg: CfgNode) -> nn.Module:
    """Build the model of an evaluation, with the weights of MODEL.WEIGHTS if there are any.

    Raises:
        InputError: the weights are of another architecture.
    """
    model = Trainer.build_model(cfg)
    if cfg.MODEL.WEIGHTS:
        content = read_checkpoint(cfg.MODEL.WEIGHTS)
        load_weights(model, content, cfg.MODEL.WEIGHTS)
        report_changes(cfg, content["config"], cfg.MODEL.WEIGHTS, Use.EVALUATION)
    return model


def _evaluate(cfg: CfgNode) -> dict[str, Any]:
    results = Trainer.test(cfg, evaluated_model(cfg))
    if cfg.TEST.PUBLISHED and comm.is_main_process():
        write_comparison(cfg.TEST.PUBLISHED, cfg.DATASETS.TEST, Path(cfg.OUTPUT_DIR))
    return results


def _train(cfg: CfgNode, resume: bool) -> dict[str, Any]:
    if comm.is_main_process():
        write_environment(cfg.OUTPUT_DIR, cfg.SEED, comm.get_world_size())
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=resume)
    try:
        return trainer.train()
    except SystemExit:
        # The launcher ends all processes as soon as the first one exits.
        comm.synchronize()
        raise
    except RuntimeError:
        # Usually the connection to another process broke, and that process reports the cause.
        if comm.get_world_size() > 1:
            time.sleep(_LOST_PEER_DELAY)
        raise
