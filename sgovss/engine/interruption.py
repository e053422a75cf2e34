"""SIGINT and SIGTERM: training ends after its step with a checkpoint, in every process of a run."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from detectron2.engine import HookBase
from detectron2.utils import comm
from fvcore.common.checkpoint import Checkpointer
from torch.multiprocessing.spawn import ProcessException, ProcessExitedException
from torch.utils.data import get_worker_info

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)

# Seconds within which a signal counts once: terminals, timeout and schedulers send it to a process and to its group.
_ONCE = 1.0


class SignalListener:
    """Takes SIGINT and SIGTERM instead of dying of them, from :meth:`listen` to :meth:`leave`.

    Args:
        first: called with the number of the first signal.
        second: called with that of one that comes later.

    Attributes:
        received: the first signal's number, or 0.
    """

    def __init__(self, first: Callable[[int], None], second: Callable[[int], None]) -> None:
        self.first = first
        self.second = second
        self.received = 0
        self._since = 0.0
        self._previous: dict[int, Any] = {}

    def listen(self) -> None:
        self._previous = {number: signal.signal(number, self._take) for number in SIGNALS}

    def leave(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _take(self, number: int, _: object) -> None:
        now = time.monotonic()
        if not self.received:
            self.received, self._since = number, now
            self.first(number)
        elif now - self._since > _ONCE:
            self.second(number)


class Interruption(HookBase):
    """Ends training after the step in which a signal came, with a checkpoint to go on from.

    The exit status is 130 for SIGINT and 143 for SIGTERM. A second signal ends the process at once. An evaluation
    between two steps is finished first; the one at the end, after which nothing is lost, is not. The last of the
    hooks that act after a step.

    Args:
        checkpointer: saves in the main process.
    """

    def __init__(self, checkpointer: Checkpointer) -> None:
        self.checkpointer = checkpointer
        self.listener = SignalListener(_announce, _die)

    def after_step(self) -> None:
        """Save and raise SystemExit in all processes if any of them was asked to stop."""
        received = max(comm.all_gather(self.listener.received))
        if not received:
            return
        step = self.trainer.iter
        if comm.is_main_process():
            self.checkpointer.save(f"model_{step:07d}", iteration=step)
        name = signal.Signals(received).name
        logger.warning("%s: stopped after step %d, with a checkpoint; --resume goes on from it", name, step)
        raise SystemExit(128 + received)


@contextmanager
def passing_signals_on() -> Iterator[None]:
    """Launched processes get the signals of the one that launched them, which then ends as they did.

    Raises:
        SystemExit: with 130 or 143, if a signal ended them.
    """
    listener = SignalListener(_pass_on, _kill_children)
    listener.listen()
    try:
        yield
    except ProcessException as error:
        number = listener.received or _signal_of(error)
        if not number:
            raise
        raise SystemExit(128 + number) from None
    finally:
        listener.leave()
    if listener.received:
        raise SystemExit(128 + listener.received)


class UndisturbedMapper:
    """A dataset mapper whose loader worker is ended by the process that it works for and by nobody else.

    A signal to all processes would otherwise take the workers away in the middle of the last step. On Linux only.
    """

    def __init__(self, mapper: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        self.mapper = mapper
        self._undisturbed = not sys.platform.startswith("linux")

    def __call__(self, record: Any) -> dict[str, Any]:
        if not self._undisturbed and get_worker_info() is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            threading.Thread(target=_end_with_parent, daemon=True).start()
            self._undisturbed = True
        return self.mapper(record)


def _end_with_parent() -> None:
    """Wait for the parent's SIGTERM; that of others is taken and forgotten."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def _announce(number: int) -> None:
    # Launched processes are silent: the one that launched them has said it.
    if comm.get_world_size() == 1:
        _say(number)


def _say(number: int) -> None:
    # Written past Python's buffers, whose locks the interrupted code may hold.
    name = signal.Signals(number).name
    os.write(2, f"{name}: finishing the step and saving; once more to end at once\n".encode())


def _die(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def _pass_on(number: int) -> None:
    children = multiprocessing.active_children()
    if not children:
        _die(number)
    _say(number)
    for child in children:
        os.kill(child.pid, number)


def _kill_children(_: int) -> None:
    # They hear no signal while they wait for one another.
    for child in multiprocessing.active_children():
        child.kill()


def _signal_of(error: ProcessException) -> int:
    """The signal that a process ended by, directly or after saving; 0 for other ends."""
    code = error.exit_code if isinstance(error, ProcessExitedException) else 0
    number = -code if code < 0 else code - 128
    return number if number in SIGNALS else 0
