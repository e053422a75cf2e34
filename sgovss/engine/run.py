"""Training and evaluation as train_net.py runs them, in each process."""

from __future__ import annotations

import argparse
import contextlib
import logging
import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.engine import default_argument_parser, default_setup, launch
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger
from torch.multiprocessing.spawn import ProcessRaisedException

from sgovss.config import config_path, load_config
from sgovss.config_rules import check_amp
from sgovss.data import register_datasets
from sgovss.data.labels import image_size
from sgovss.data.quick_check import check_dataset
from sgovss.data.registration import dataset_metadata, how_to_get
from sgovss.data.unlabelled import list_unlabelled
from sgovss.engine.environment import write_environment
from sgovss.engine.interruption import passing_signals_on
from sgovss.engine.seeds import adopt_seed
from sgovss.engine.trainer import Trainer
from sgovss.errors import InputError
from sgovss.evaluation.comparison import published_table, write_comparison
from sgovss.files import atomic_path
from sgovss.modeling.build import check_registered
from sgovss.modeling.checkpoint import expect_own_weights, load_weights, read_checkpoint
from sgovss.modeling.clip_models import activation_of

logger = logging.getLogger(__name__)

_LOSERS_WAIT = 3.0  # seconds


def argument_parser(epilog: str) -> argparse.ArgumentParser:
    """Detectron2's: --config-file, --eval-only, --resume, --num-gpus and trailing KEY VALUE."""
    return default_argument_parser(epilog=epilog)


def start(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Call :func:`run` in as many processes as ``--num-gpus`` and ``--num-machines`` ask for; without a GPU they
    talk through gloo. If one of them fails, all end.

    Raises:
        InputError: of this process, or of a launched one or a loader worker.
        SystemExit: SIGINT or SIGTERM ended training, see :class:`sgovss.engine.interruption.Interruption`.
    """
    launched = args.num_gpus * args.num_machines > 1
    try:
        with passing_signals_on() if launched else contextlib.nullcontext():
            launch(
                _run_launched if launched else run,
                args.num_gpus,
                num_machines=args.num_machines,
                machine_rank=args.machine_rank,
                dist_url=args.dist_url,
                args=(cfg, args),
            )
    except (InputError, ProcessRaisedException) as error:
        # Other processes hand their exceptions over as tracebacks in text.
        last = str(error).strip().splitlines()[-1]
        name = f"{InputError.__module__}.{InputError.__qualname__}: "
        if not last.startswith(name):
            raise
        raise InputError(last.removeprefix(name)) from error


def prepare_config(args: argparse.Namespace) -> CfgNode:
    """Read the config, register its datasets, and check all that can be checked before the run starts.

    Args:
        args: of :func:`argument_parser`; ``config_file`` becomes the path that was found.

    Raises:
        InputError: whatever is wrong with config, weights or data.
    """
    if not args.config_file:
        raise InputError("--config-file: give a config, such as configs/sgovss_tiny.yaml")
    args.config_file = str(config_path(args.config_file))
    cfg = load_config(args.config_file, args.opts)
    check_registered(cfg)
    if args.eval_only:
        # The frozen twin guides training; evaluation has no use for it.
        cfg.MODEL.SGOVSS.COMPENSATION.ENABLED = False
    else:
        check_amp(cfg)
    if cfg.MODEL.CLIP.ACTIVATION == "auto":
        # Known by the weights' source, which a checkpoint's reader may not have.
        cfg.MODEL.CLIP.ACTIVATION = activation_of(cfg.MODEL.CLIP.NAME, cfg.MODEL.CLIP.WEIGHTS)
    if cfg.MODEL.WEIGHTS:
        expect_own_weights(cfg, read_checkpoint(cfg.MODEL.WEIGHTS))
    register_datasets(cfg.DATASETS.SPECIFICATIONS)
    if cfg.TEST.PUBLISHED:
        published_table(cfg.TEST.PUBLISHED)
    if cfg.TEST.SKIP_ABSENT:
        cfg.DATASETS.TEST = _present(cfg.DATASETS.TEST)
    names = cfg.DATASETS.TEST if args.eval_only else (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)
    if not names:
        raise InputError("DATASETS.TRAIN and DATASETS.TEST are empty; name at least one dataset")
    if cfg.DATASETS.TRAIN:
        cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE = dataset_metadata(cfg.DATASETS.TRAIN[0]).ignore_label
    processes = args.num_gpus * args.num_machines
    for name in names:
        if check_dataset(name, sample=cfg.DATASETS.CHECKED_LABELS) < processes:
            # A process without an image would wait for the others for ever.
            raise InputError(f"{name} has fewer images than the {processes} processes asked for; lower --num-gpus")
    if not args.eval_only:
        if cfg.SOLVER.IMS_PER_BATCH % processes and not cfg.SOLVER.REFERENCE_WORLD_SIZE:
            raise InputError(
                f"SOLVER.IMS_PER_BATCH: {cfg.SOLVER.IMS_PER_BATCH} images cannot be dealt out evenly to "
                f"{processes} processes; give a multiple"
            )
        _adopt_distance(cfg)
    if cfg.DATASETS.UNLABELLED and cfg.MODEL.SGOVSS.COMPENSATION.ENABLED:
        _check_unlabelled(cfg)
    _check_writable(Path(cfg.OUTPUT_DIR))
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
    adopt_seed(cfg, args.resume and not args.eval_only)
    default_setup(cfg, args)
    # Detectron2 gives every process a seed of its own; but all are to build the same model.
    seed_all_rng(cfg.SEED)
    # Detectron2 sets up loggers for itself and fvcore only.
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="sgovss")
    if args.eval_only:
        model = Trainer.build_model(cfg)
        if cfg.MODEL.WEIGHTS:
            load_weights(model, read_checkpoint(cfg.MODEL.WEIGHTS), cfg.MODEL.WEIGHTS)
        results = Trainer.test(cfg, model)
        if cfg.TEST.PUBLISHED and comm.is_main_process():
            write_comparison(cfg.TEST.PUBLISHED, cfg.DATASETS.TEST, Path(cfg.OUTPUT_DIR))
        return results
    if comm.is_main_process():
        write_environment(cfg.OUTPUT_DIR, cfg.SEED, comm.get_world_size())
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    try:
        return trainer.train()
    except SystemExit:
        # The first launched process to end has the others ended.
        comm.synchronize()
        raise
    except RuntimeError:
        # Mostly of a process that has lost another one, whose message tells more and is to come first.
        if comm.get_world_size() > 1:
            time.sleep(_LOSERS_WAIT)
        raise


def _run_launched(cfg: CfgNode, args: argparse.Namespace) -> None:
    run(cfg, args)
    # Threads of gloo that are still there when a process exits abort it now and then.
    comm.synchronize()
    dist.destroy_process_group()


def _adopt_distance(cfg: CfgNode) -> None:
    """Take the training sets' ground sample distance, as training's resizing changes it, if they agree on one."""
    stated = {dataset_metadata(name).ground_sample_distance for name in cfg.DATASETS.TRAIN}
    distance = stated.pop() if len(stated) == 1 else None
    if cfg.INPUT.GROUND_SAMPLE_DISTANCE or not isinstance(distance, float):
        return
    sides = sorted(cfg.INPUT.MIN_SIZE_TRAIN)
    side = sides[len(sides) // 2]
    if side:
        first = DatasetCatalog.get(cfg.DATASETS.TRAIN[0])[0]
        distance *= min(image_size(first["file_name"])) / side
    cfg.INPUT.GROUND_SAMPLE_DISTANCE = distance


def _present(names: Sequence[str]) -> tuple[str, ...]:
    """The test sets whose folders are there; what to do for the others is logged."""
    absent = {name: line for name in names if (line := how_to_get(name)) is not None}
    for line in absent.values():
        print(f"left out: {line}")
    if names and len(absent) == len(names):
        raise InputError(f"DATASETS.TEST: none of the {len(names)} test sets is there; {next(iter(absent.values()))}")
    return tuple(name for name in names if name not in absent)


def _check_unlabelled(cfg: CfgNode) -> None:
    for record in list_unlabelled(cfg.DATASETS.UNLABELLED, ""):
        image_size(record["file_name"])


def _check_writable(folder: Path) -> None:
    """Detectron2 writes config and log first of all, and shows a traceback where that fails."""
    probe = folder / ".writable"
    with atomic_path(probe):
        pass
    probe.unlink()
