"""Start workers on this machine, or connect to those of a Dask scheduler."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from distributed import Client, Nanny, Scheduler, SpecCluster

from sgovss.errors import InputError


@contextmanager
def local_workers(count: int, threads: int | None = None) -> Iterator[Client]:
    """Start workers on this machine: one process each, with its share of the GPUs or of the cores.

    Args:
        count: number of workers.
        threads: of each; None divides those that PyTorch uses in this process.
    """
    gpus = _gpus()
    threads = threads or max(1, torch.get_num_threads() // count)
    workers = {}
    for number in range(count):
        environment = {"OMP_NUM_THREADS": str(threads)}
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        options = {"nthreads": 1, "memory_limit": 0, "dashboard": False, "env": environment}
        options |= {"silence_logs": logging.ERROR}
        workers[number] = {"cls": Nanny, "options": options}
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard": False}}
    with SpecCluster(workers, scheduler, silence_logs=logging.ERROR) as cluster, Client(cluster) as client:
        yield client


@contextmanager
def remote_workers(address: str) -> Iterator[Client]:
    """Connect to a scheduler.

    Raises:
        InputError: there is none at the address.
    """
    try:
        client = Client(address)
    except (OSError, ValueError) as error:
        raise InputError(f"--scheduler {address}: no scheduler there; start one with 'dask scheduler'") from error
    with client:
        yield client


def _gpus() -> list[str]:
    """Names of the GPUs of this process, as of CUDA_VISIBLE_DEVICES."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
