"""Preparation of a run: checks of the command-line arguments, config and data before the first process starts."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.engine import default_argument_parser

from sgovss.config import config_path, load_config
from sgovss.config_rules import check_held_out, check_precisions
from sgovss.data import register_datasets
from sgovss.data.labels import image_size
from sgovss.data.quick_check import check_dataset
from sgovss.data.registration import dataset_metadata, how_to_get
from sgovss.data.unlabelled import list_unlabelled
from sgovss.engine.launch import is_first
from sgovss.engine.launch_options import AUTO_URL, LaunchOptions, resolve
from sgovss.engine.trackers import check_trackers
from sgovss.errors import InputError
from sgovss.evaluation.comparison import published_table
from sgovss.files import atomic_path
from sgovss.modeling.build import check_registered
from sgovss.modeling.checkpoint import INFERENCE, expect_own_weights, read_checkpoint
from sgovss.modeling.clip_settings import resolve_clip


def argument_parser(epilog: str) -> argparse.ArgumentParser:
    """Detectron2's argument parser: --config-file, --eval-only, --resume, --num-gpus and trailing KEY VALUE pairs.

    The default of --dist-url is a free port. Detectron2's is the same port for all runs of a user, so that a second run
    would fail.
    """
    parser = default_argument_parser(epilog=epilog)
    parser.allow_abbrev = False
    parser.set_defaults(dist_url=AUTO_URL, launched=None, dry_run=False)
    return parser


def prepare_config(args: argparse.Namespace) -> CfgNode:
    """Read the config, register its datasets, and check everything that can be checked before the run starts.

    Args:
        args: parsed by :func:`argument_parser`. ``config_file`` is replaced by the path that was found. If torchrun or
            srun started this process, ``launched`` gets it, and the options of several processes describe the run.

    Returns:
        the frozen config.

    Raises:
        InputError: the config, the weights, the data or the options of several processes are wrong.
    """
    cfg = _read_config(args)
    resolve_launch(args)
    register_datasets(cfg.DATASETS.SPECIFICATIONS)
    if cfg.TEST.PUBLISHED:
        published_table(cfg.TEST.PUBLISHED)
    processes = args.num_gpus * args.num_machines
    _check_datasets(cfg, args.eval_only, processes)
    if not args.eval_only:
        _check_batch_size(cfg, processes)
        check_trackers(cfg)
        _set_training_gsd(cfg)
    if cfg.DATASETS.UNLABELLED and cfg.MODEL.SGOVSS.COMPENSATION.ENABLED:
        _check_unlabelled(cfg)
    # The first process alone creates a folder and removes it, or it would remove the folder of another one's check.
    if is_first(args) or not args.dry_run:
        _check_writable(Path(cfg.OUTPUT_DIR), keep=not args.dry_run)
    cfg.freeze()
    return cfg


def resolve_launch(args: argparse.Namespace) -> None:
    """Find out whether torchrun or srun started this process, and check the options of several processes, in place.

    Args:
        args: see :func:`prepare_config`, which does this too.

    Raises:
        InputError: see :func:`sgovss.engine.launch_options.resolve`.
    """
    if args.launched:  # by an earlier run of this process, which is connected already
        return
    given = LaunchOptions(args.num_gpus, args.num_machines, args.machine_rank, args.dist_url)
    options, args.launched = resolve(given, os.environ)
    args.num_gpus, args.num_machines, args.machine_rank, args.dist_url = options


def _read_config(args: argparse.Namespace) -> CfgNode:
    if not args.config_file:
        raise InputError("--config-file: give a config, such as sgovss_tiny.yaml")
    args.config_file = str(config_path(args.config_file))
    cfg = load_config(args.config_file, args.opts)
    check_registered(cfg)
    check_precisions(cfg, training=not args.eval_only)
    if args.eval_only:
        # The frozen encoder is a teacher in training only.
        cfg.MODEL.SGOVSS.COMPENSATION.ENABLED = False
    else:
        check_held_out(cfg)
    if cfg.MODEL.WEIGHTS:
        content = read_checkpoint(cfg.MODEL.WEIGHTS)
        if not args.eval_only and content["kind"] == INFERENCE:
            # Its weights are fine-tuned, but the frozen encoder needs CLIP's.
            raise InputError(
                f"MODEL.WEIGHTS: {cfg.MODEL.WEIGHTS} is a checkpoint for inference; training starts from a training "
                "checkpoint, such as model_final.pth of the same run"
            )
        expect_own_weights(cfg, content)
    resolve_clip(cfg)
    return cfg


def _check_datasets(cfg: CfgNode, eval_only: bool, processes: int) -> None:
    """Check the datasets of the run; set DATASETS.TEST and the head's IGNORE_VALUE, in place."""
    if cfg.TEST.SKIP_ABSENT:
        cfg.DATASETS.TEST = _present(cfg.DATASETS.TEST)
    names = cfg.DATASETS.TEST if eval_only else (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)
    if not names:
        empty = "DATASETS.TEST is" if eval_only else "DATASETS.TRAIN and DATASETS.TEST are"
        raise InputError(f"{empty} empty; name at least one dataset")
    if not eval_only and not cfg.DATASETS.TRAIN:
        raise InputError("DATASETS.TRAIN is empty; name a training set, or give --eval-only to evaluate only")
    for key in ("TRAIN", "TEST"):
        listed = cfg.DATASETS[key]
        if repeated := [name for name in listed if listed.count(name) > 1]:
            raise InputError(f"DATASETS.{key} names {repeated[0]} more than once; name each dataset once")
    if cfg.DATASETS.TRAIN:
        cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE = dataset_metadata(cfg.DATASETS.TRAIN[0]).ignore_label
    for name in names:
        if check_dataset(name, sample=cfg.DATASETS.CHECKED_LABELS) < processes:
            # A process without an image would block the collective operations of the others.
            raise InputError(f"{name} has fewer images than the {processes} processes asked for; start fewer processes")


def _present(names: Sequence[str]) -> tuple[str, ...]:
    """Return the test sets whose folders exist; print how to get the others."""
    absent = {name: line for name in names if (line := how_to_get(name)) is not None}
    for line in absent.values():
        print(f"left out: {line}")
    if names and len(absent) == len(names):
        raise InputError(f"DATASETS.TEST: none of the {len(names)} test sets is on disk; {next(iter(absent.values()))}")
    return tuple(name for name in names if name not in absent)


def _check_batch_size(cfg: CfgNode, processes: int) -> None:
    if cfg.SOLVER.IMS_PER_BATCH % processes and not cfg.SOLVER.REFERENCE_WORLD_SIZE:
        raise InputError(
            f"SOLVER.IMS_PER_BATCH: {cfg.SOLVER.IMS_PER_BATCH} images cannot be divided evenly among "
            f"{processes} processes; give a multiple of {processes}"
        )


def _set_training_gsd(cfg: CfgNode) -> None:
    """If INPUT.GROUND_SAMPLE_DISTANCE is 0, set it to the GSD of the resized training images, in metres per pixel.

    It stays 0 unless all training sets state the same GSD.
    """
    stated = {dataset_metadata(name).ground_sample_distance for name in cfg.DATASETS.TRAIN}
    gsd = stated.pop() if len(stated) == 1 else None
    if cfg.INPUT.GROUND_SAMPLE_DISTANCE or not isinstance(gsd, float):
        return
    sides = sorted(cfg.INPUT.MIN_SIZE_TRAIN)
    side = sides[len(sides) // 2]
    if side:
        first = DatasetCatalog.get(cfg.DATASETS.TRAIN[0])[0]
        gsd *= min(image_size(first["file_name"])) / side
    cfg.INPUT.GROUND_SAMPLE_DISTANCE = gsd


def _check_unlabelled(cfg: CfgNode) -> None:
    for record in list_unlabelled(cfg.DATASETS.UNLABELLED, ""):
        image_size(record["file_name"])


def _check_writable(folder: Path, keep: bool) -> None:
    """Check that the output folder can be written to; Detectron2 would end with a traceback otherwise.

    Args:
        folder: the output folder.
        keep: whether to keep folders that were created for this.
    """
    created = [each for each in (folder, *folder.parents) if not each.exists()]
    probe = folder / ".writable"
    with atomic_path(probe):
        pass
    probe.unlink(missing_ok=True)  # several processes may check the same folder
    for each in () if keep else created:
        with contextlib.suppress(OSError):  # another process may use it
            each.rmdir()
