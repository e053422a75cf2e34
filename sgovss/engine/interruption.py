"""Handling of SIGINT and SIGTERM: training finishes its step, saves a checkpoint and ends, in every process."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from detectron2.engine import HookBase
from detectron2.utils import comm
from fvcore.common.checkpoint import Checkpointer
from torch.multiprocessing.spawn import ProcessException, ProcessExitedException
from torch.utils.data import get_worker_info

from sgovss.engine.step import StepTrainer

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)

# Signals that arrive within this time count as one, because terminals, timeout(1) and schedulers send a signal both to
# a process and to its group.
_ONE_SIGNAL_SECONDS = 1.0


class SignalListener:
    """Handles SIGINT and SIGTERM between :meth:`listen` and :meth:`leave`.

    Args:
        first: called with the number of the first signal.
        second: called with the number of each later signal.

    Attributes:
        received: number of the first signal; 0 before it.
    """

    def __init__(self, first: Callable[[int], None], second: Callable[[int], None]) -> None:
        self.first = first
        self.second = second
        self.received = 0
        self._since = 0.0
        self._previous: dict[int, Any] = {}

    def listen(self) -> None:
        """Install the signal handlers."""
        self._previous = {number: signal.signal(number, self._take) for number in SIGNALS}

    def leave(self) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _take(self, number: int, _: object) -> None:
        now = time.monotonic()
        if not self.received:
            self.received, self._since = number, now
            self.first(number)
        elif now - self._since > _ONE_SIGNAL_SECONDS:
            self.second(number)


def training_listener() -> SignalListener:
    """The listener of a training process: the first signal prints a notice, the second one ends the process."""
    return SignalListener(_announce, _end_process)


class Interruption(HookBase):
    """Ends training after the step in which a signal arrived, and saves a checkpoint to resume from.

    On CUDA, or if the signal arrives between two steps, training ends one or two steps later. The exit status is 130
    for SIGINT and 143 for SIGTERM. A second signal ends the process at once. An evaluation between two steps is
    finished first. The evaluation at the end of training is not, because the final checkpoint is already written. This
    must be the last hook that acts after a step.

    Args:
        checkpointer: its ``save`` is called in the main process.
        listener: notices the signals to this process.
        step_trainer: exchanges the signals between the processes at each step.
    """

    def __init__(self, checkpointer: Checkpointer, listener: SignalListener, step_trainer: StepTrainer) -> None:
        self.checkpointer = checkpointer
        self.listener = listener
        self.step_trainer = step_trainer

    def after_step(self) -> None:
        """Save a checkpoint and raise SystemExit in all processes if any of them received a signal."""
        received = self.step_trainer.received
        if not received:
            return
        step = self.trainer.iter
        if comm.is_main_process():
            self.checkpointer.save(f"model_{step:07d}", iteration=step)
        name = signal.Signals(received).name
        logger.warning("%s: stopped after step %d, with a checkpoint; --resume continues from it", name, step)
        raise SystemExit(128 + received)


@contextmanager
def forward_signals() -> Iterator[None]:
    """Forward SIGINT and SIGTERM to the launched processes, and exit with their exit status.

    Raises:
        SystemExit: with status 130 or 143, if a signal ended the launched processes.
    """
    listener = SignalListener(_forward, _kill_children)
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
    """Dataset mapper that protects its loader worker from SIGINT and SIGTERM, except SIGTERM from its parent process.

    A signal to the whole process group would otherwise end the workers in the middle of the last step. This works on
    Linux only; elsewhere the signals are left as they are.

    Args:
        mapper: maps a dataset record to the model's input.
    """

    def __init__(self, mapper: Callable[[Any], dict[str, Any]]) -> None:
        self.mapper = mapper
        self._shielded = not sys.platform.startswith("linux")

    def __call__(self, record: Any) -> dict[str, Any]:
        if not self._shielded and get_worker_info() is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            threading.Thread(target=_end_with_parent, daemon=True).start()
            self._shielded = True
        return self.mapper(record)


def _end_with_parent() -> None:
    """End this process at SIGTERM from its parent; ignore SIGTERM from other processes."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def _announce(number: int) -> None:
    # A process that this command started prints nothing, because the command itself prints the notice.
    if multiprocessing.parent_process() is None and comm.is_main_process():
        _print_notice(number)


def _print_notice(number: int) -> None:
    # Python's buffers are bypassed, because the interrupted code may hold their locks.
    name = signal.Signals(number).name
    os.write(2, f"{name}: finishing this step and saving a checkpoint; send it again to stop at once\n".encode())


def _end_process(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def _forward(number: int) -> None:
    children = multiprocessing.active_children()
    if not children:
        _end_process(number)
    _print_notice(number)
    for child in children:
        assert child.pid is not None  # it was started
        os.kill(child.pid, number)


def _kill_children(_: int) -> None:
    # A process that waits in a collective operation does not run Python's signal handlers, so SIGTERM would not end it.
    for child in multiprocessing.active_children():
        child.kill()


def _signal_of(error: ProcessException) -> int:
    """Return the signal that ended a process, directly or through its exit status; 0 if it ended otherwise."""
    code = error.exit_code if isinstance(error, ProcessExitedException) else 0
    number = -code if code < 0 else code - 128
    return number if number in SIGNALS else 0
