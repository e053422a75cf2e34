"""Start of a run in one or several processes."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator

import torch.distributed as dist
from detectron2.config import CfgNode
from detectron2.engine import launch
from detectron2.utils import comm
from torch.multiprocessing.spawn import ProcessRaisedException

from sgovss.engine.interruption import forward_signals
from sgovss.engine.run import run
from sgovss.errors import InputError


def is_first(args: argparse.Namespace) -> bool:
    """Whether this process is the first, or the only one, that the user or a launcher started for a run.

    Args:
        args: as :func:`sgovss.engine.preparation.prepare_config` left them.
    """
    return args.launched.rank == 0 if args.launched else args.machine_rank == 0


@contextlib.contextmanager
def together(args: argparse.Namespace) -> Iterator[None]:
    """Let a launched process leave the others in order, when the block ends or a signal ended training.

    If the block raises another exception, the process ends and the launcher ends the others.
    """
    try:
        yield
    except SystemExit:
        _leave()
        raise
    _leave()


def start(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Call :func:`sgovss.engine.run.run` in ``--num-gpus`` times ``--num-machines`` processes.

    Without a GPU the processes communicate through gloo. If one process fails, all end. If a launcher started the
    processes, it is called in this one, which belongs to the run from then on; see :func:`together`.

    Args:
        cfg: returned by :func:`sgovss.engine.preparation.prepare_config`.
        args: parsed by :func:`sgovss.engine.preparation.argument_parser`.

    Raises:
        InputError: raised in this process, in a launched process or in a data loader worker.
        SystemExit: SIGINT or SIGTERM ended training, see :class:`sgovss.engine.interruption.Interruption`.
    """
    if args.launched:
        args.launched.join()
        run(cfg, args)
        return
    launched = args.num_gpus * args.num_machines > 1
    try:
        with forward_signals() if launched else contextlib.nullcontext():
            launch(
                _run_launched if launched else run,
                args.num_gpus,
                num_machines=args.num_machines,
                machine_rank=args.machine_rank,
                dist_url=args.dist_url,
                args=(cfg, args),
            )
    except (InputError, ProcessRaisedException) as error:
        message = _input_error_message(error)
        if message is None:
            raise
        raise InputError(message) from error


def _run_launched(cfg: CfgNode, args: argparse.Namespace) -> None:
    run(cfg, args)
    _leave()


def _leave() -> None:
    # A process that exits while threads of gloo are alive is sometimes aborted.
    if dist.is_initialized():
        comm.synchronize()
        dist.destroy_process_group()


def _input_error_message(error: Exception) -> str | None:
    """Return the message of an InputError that another process raised; None for other errors.

    Errors of other processes arrive as the text of a traceback, whose last line names the type.
    """
    last = str(error).strip().splitlines()[-1]
    name = f"{InputError.__module__}.{InputError.__qualname__}: "
    return last.removeprefix(name) if last.startswith(name) else None
