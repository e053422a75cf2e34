"""Processes that torchrun or Slurm's srun started: each of them is one process of the run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.distributed as dist
from detectron2.engine.launch import DEFAULT_TIMEOUT
from detectron2.utils import comm

from sgovss.errors import InputError

_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_SRUN = (
    "SLURM_PROCID",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_LOCALID",
    "SLURM_STEP_TASKS_PER_NODE",
    "SLURM_STEP_NODELIST",
    "SLURM_JOB_ID",
)
# Ports that derive from a Slurm job: above those of services, and below those that systems give to programs.
_FIRST_PORT, _PORTS = 15_000, 15_000


class Launched(NamedTuple):
    """This process among those that a launcher started.

    Attributes:
        by: ``torchrun`` or ``srun``.
        rank, processes: its number among all processes, and how many they are.
        local_rank, local_processes: the same on this machine.
        url: where the processes meet.
    """

    by: str
    rank: int
    processes: int
    local_rank: int
    local_processes: int
    url: str

    def join(self) -> None:
        """Connect to the other processes and choose a GPU, if there is one; once in a process.

        Raises:
            InputError: srun gave each process its own GPUs, but fewer than there are processes.
        """
        if dist.is_initialized():
            return
        gpus = torch.cuda.device_count()
        if gpus:
            torch.cuda.set_device(self.gpu(gpus))
        dist.init_process_group(
            "nccl" if gpus else "gloo",
            init_method=self.url,
            rank=self.rank,
            world_size=self.processes,
            timeout=DEFAULT_TIMEOUT,
        )
        comm.create_local_process_group(self.local_processes)
        comm.synchronize()

    def gpu(self, visible: int) -> int:
        """Number of this process's GPU among those that it sees.

        With ``--gpus-per-task 1`` a process of srun sees one GPU, its own.

        Raises:
            InputError: there are fewer GPUs than processes on this machine.
        """
        if self.by == "srun" and visible == 1:
            return 0
        if visible < self.local_processes:
            raise InputError(
                f"{self.by}: started {self.local_processes} processes on this machine, which has {visible} GPUs; "
                "start one for each GPU"
            )
        return self.local_rank


def launched_process(environment: Mapping[str, str]) -> Launched | None:
    """Read from the environment variables which process of torchrun or srun this is.

    Args:
        environment: the environment variables. Those of torchrun come first, because srun may start torchrun.

    Returns:
        this process; None if it was started by itself.

    Raises:
        InputError: variables contradict each other, or processes would not be in the order of the machines.
    """
    if all(environment.get(name) for name in _TORCHRUN):
        found = _of_torchrun(environment)
    elif all(environment.get(name) for name in _SRUN):
        found = _of_srun(environment)
    else:
        return None
    if found.processes == 1:
        return None
    if not (0 <= found.rank < found.processes and 0 <= found.local_rank < found.local_processes):
        raise InputError(
            f"{found.by}: process {found.rank} of {found.processes}, {found.local_rank} of {found.local_processes} "
            f"here, is impossible; check {', '.join(_TORCHRUN[:4] if found.by == 'torchrun' else _SRUN[:4])}"
        )
    if found.processes % found.local_processes or found.rank % found.local_processes != found.local_rank:
        raise InputError(
            f"{found.by}: the processes are not in blocks of {found.local_processes} a machine; start equally many on "
            "each machine, in order (srun --ntasks-per-node N --distribution block)"
        )
    return found


def first_host(nodes: str) -> str:
    """The first name of a Slurm node list, such as ``node01`` of ``node[01-03,07],other``."""
    match = re.match(r"(?:[^,\[]|\[[^\]]*\])+", nodes)
    if match is None:
        raise InputError(f"SLURM_STEP_NODELIST {nodes!r}: no node in it; give --dist-url tcp://HOST:PORT")
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", match[0])


def _of_torchrun(environment: Mapping[str, str]) -> Launched:
    rank, processes, local_rank, local_processes = (_number(environment, name) for name in _TORCHRUN[:4])
    return Launched("torchrun", rank, processes, local_rank, local_processes, "env://")


def _of_srun(environment: Mapping[str, str]) -> Launched:
    rank, processes, local_rank = (_number(environment, name) for name in _SRUN[:3])
    tasks = environment["SLURM_STEP_TASKS_PER_NODE"]  # such as 4(x2),3
    counts = {int(count) for count in re.findall(r"(\d+)(?:\(x\d+\))?(?:,|$)", tasks)}
    if len(counts) != 1:
        raise InputError(f"srun: {tasks} processes on the machines; start equally many on each, with --ntasks-per-node")
    host = environment.get("MASTER_ADDR") or first_host(environment["SLURM_STEP_NODELIST"])
    port = environment.get("MASTER_PORT") or _port(environment)
    return Launched("srun", rank, processes, local_rank, counts.pop(), f"tcp://{host}:{port}")


def _port(environment: Mapping[str, str]) -> int:
    """The same port in all processes of a job step, and most likely another one than that of other jobs."""
    step = int(environment["SLURM_STEP_ID"]) if environment.get("SLURM_STEP_ID", "").isdigit() else 0
    return _FIRST_PORT + (_number(environment, "SLURM_JOB_ID") + step) % _PORTS


def _number(environment: Mapping[str, str], name: str) -> int:
    try:
        return int(environment[name])
    except ValueError as error:
        raise InputError(f"{name}: '{environment[name]}' is not a number; start with torchrun or srun") from error


def refuse_half(environment: Mapping[str, str]) -> None:
    """Refuse incomplete variables of a launcher, with which each of several processes would be a run of its own.

    Raises:
        InputError: RANK, WORLD_SIZE and LOCAL_RANK are partly set, for several processes.
    """
    given = [name for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK") if environment.get(name)]
    absent = next((name for name in _TORCHRUN if not environment.get(name)), None)
    if absent and len(given) > 1 and environment.get("WORLD_SIZE", "1") != "1":
        raise InputError(
            f"the environment has {' and '.join(given)}, but no {absent}; start with torchrun, which sets all of "
            f"{', '.join(_TORCHRUN)}, or unset them"
        )
