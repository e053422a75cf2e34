"""Options of several processes: checks before Detectron2 and torch.distributed get them, and those of a launcher."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import torch

from sgovss.engine.launched import Launched, launched_process, refuse_half
from sgovss.errors import InputError

AUTO_URL = "auto"


class LaunchOptions(NamedTuple):
    """How processes are started; the names of the options are those of the command line.

    Attributes:
        processes: number of processes on each machine; below 1 means 1, because 0 GPUs need one process too.
        num_machines: number of machines.
        machine_rank: number of this machine, from 0.
        dist_url: where the processes meet: ``auto`` (one machine only), ``tcp://host:port``, ``file:///path`` or
            ``env://``.
    """

    processes: int
    num_machines: int
    machine_rank: int
    dist_url: str

    def checked(self) -> LaunchOptions:
        """Return the options with at least one process.

        Raises:
            InputError: an option is out of range, there are fewer GPUs than processes, or the processes cannot meet at
                the URL.
        """
        checked = self._replace(processes=max(1, self.processes))
        if self.num_machines < 1:
            raise InputError(f"--num-machines {self.num_machines}: give the number of machines, 1 or more")
        if not 0 <= self.machine_rank < self.num_machines:
            raise InputError(
                f"--machine-rank {self.machine_rank}: the {self.num_machines} machines of --num-machines have the "
                f"numbers 0 to {self.num_machines - 1}"
            )
        found = torch.cuda.device_count()
        if found and checked.processes > max(1, found):
            raise InputError(f"--num-gpus {self.processes}: this machine has {found} GPUs; give at most {found}")
        if checked.processes * self.num_machines > 1:
            self._check_url()
            if self.machine_rank:
                print(f"waiting for machine 0 at {self.dist_url}", flush=True)
        return checked

    def agreed(self, launched: Launched) -> tuple[LaunchOptions, Launched]:
        """Return the options that describe what a launcher started, and the launched process with its final URL.

        Raises:
            InputError: an option contradicts what the launcher did, or the processes cannot meet.
        """
        by, here = launched.by, launched.local_processes
        machines = launched.processes // here
        rank = launched.rank // here
        for flag, given, silent, found in (
            ("--num-gpus", self.processes, self.processes <= 1, here),
            ("--num-machines", self.num_machines, self.num_machines == 1, machines),
            ("--machine-rank", self.machine_rank, self.machine_rank == 0, rank),
        ):
            if not silent and given != found:
                raise InputError(f"{flag} {given}: {by} started this run, and it would be {found}; leave out {flag}")
        if by == "torchrun" and self.dist_url not in (AUTO_URL, "env://"):
            raise InputError(
                f"--dist-url {self.dist_url}: torchrun sets where its processes meet; leave out --dist-url"
            )
        if by == "srun":
            if self.dist_url != AUTO_URL:
                launched = launched._replace(url=self.dist_url)
            # The first of all processes listens.
            LaunchOptions(here, machines, launched.rank, launched.url)._check_url()
        return LaunchOptions(here, machines, rank, launched.url), launched

    def _check_url(self) -> None:
        url = self.dist_url
        if url == AUTO_URL:
            if self.num_machines > 1:
                raise InputError(
                    f"--num-machines {self.num_machines}: give --dist-url tcp://HOST:PORT, with the name of machine 0 "
                    "and a free port of it, on every machine"
                )
            return
        scheme, _, rest = url.partition("://")
        listens, alone = self.machine_rank == 0, self.num_machines == 1
        if scheme == "tcp" and rest:
            _check_address(url, url, listens, alone)
        elif scheme == "file" and rest:
            _check_file(url, Path(rest))
        elif url == "env://":
            values = [os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT")]
            if not all(values):
                absent = "MASTER_PORT" if values[0] else "MASTER_ADDR"
                raise InputError(f"--dist-url env://: the environment has no {absent}; set it, or give tcp://HOST:PORT")
            host, port = values
            address = f"tcp://[{host}]:{port}" if ":" in str(host) else f"tcp://{host}:{port}"
            _check_address(f"env:// (MASTER_ADDR {host}, MASTER_PORT {port})", address, listens, alone)
        else:
            raise InputError(
                f"--dist-url {url}: not an address where processes can meet; give tcp://HOST:PORT, such as "
                "tcp://127.0.0.1:29500"
            )


def resolve(options: LaunchOptions, environment: Mapping[str, str]) -> tuple[LaunchOptions, Launched | None]:
    """Check the options of a run, together with the environment variables of torchrun or srun.

    Args:
        options: those of the command line.
        environment: the environment variables.

    Returns:
        the options, and this process if a launcher started all processes of the run. It is None if the command starts
        them itself: without a launcher, or with one process of srun on each of ``--num-machines`` machines.

    Raises:
        InputError: see :meth:`LaunchOptions.checked`, :meth:`LaunchOptions.agreed` and
            :func:`sgovss.engine.launched.launched_process`.
    """
    launched = launched_process(environment)
    if launched is not None and not (launched.by == "srun" and options.num_machines == launched.processes):
        return options.agreed(launched)
    if launched is None and options.processes <= 1 and options.num_machines == 1:
        refuse_half(environment)
    return options.checked(), None


def _check_address(shown: str, url: str, listens: bool, alone: bool) -> None:
    """Check host and port; the machine that listens must have the port free, and one alone must have the host.

    With several machines, a name of the first one may belong to a gateway in front of it.

    Args:
        shown: how an error names the address.
        url: tcp://HOST:PORT.
        listens, alone: whether this machine is the first one, and the only one.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        raise InputError(f"--dist-url {shown}: needs a host and a port from 1 to 65535, such as tcp://127.0.0.1:29500")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise InputError(f"--dist-url {shown}: the host '{host}' is not known here; check its name") from error
    if not listens:
        return
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address if alone else ("", port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise InputError(
                    f"--dist-url {shown}: '{host}' is not this machine; give tcp://127.0.0.1:{port}, or --num-machines"
                ) from error
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise InputError(f"--dist-url {shown}: port {port} {reason}; give another") from error


def _check_file(url: str, path: Path) -> None:
    if "?" in path.name:
        raise InputError(f"--dist-url {url}: options behind '?' are not supported; leave them out")
    if not path.parent.is_dir():
        raise InputError(f"--dist-url {url}: there is no folder {path.parent}; create it, or give tcp://HOST:PORT")
    if path.exists():
        raise InputError(f"--dist-url {url}: the file is there already, from another run; remove it, or give another")
    try:
        path.touch()
        path.unlink()
    except OSError as error:
        raise InputError(f"--dist-url {url}: cannot be written ({error.strerror}); give another folder") from error
