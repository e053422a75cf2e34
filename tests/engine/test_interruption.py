"""Training that is interrupted by a signal or killed, and then resumed, gives bit-identical results."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import train_net
from sgovss.engine import interruption
from sgovss.engine.interruption import SIGNALS, SignalListener
from tests.engine.training import CONFIG, assert_same_training, metrics_of, options_of, output_of, start_command

KILLS = 20


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread, as the launched commands do; sums are rounded differently with another number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_process_and_group_counts_once_and_a_later_one_again(monkeypatch, number):
    calls: list[str] = []
    before = signal.getsignal(number)
    listener = SignalListener(lambda _: calls.append("first"), lambda _: calls.append("second"))
    listener.listen()
    try:
        for now in (5.0, 5.1, 5.9, 7.0):
            monkeypatch.setattr(interruption.time, "monotonic", lambda now=now: now)
            signal.raise_signal(number)
    finally:
        listener.leave()
    assert calls == ["first", "second"]
    assert listener.received == number
    assert signal.getsignal(number) == before


def wait_until(done: Callable[[], bool], process: subprocess.Popen, seconds: float = 240) -> None:
    until = time.monotonic() + seconds
    while not done() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)


def varied(run_options: list[str], tmp_path: Path, **changes: object) -> list[str]:
    """Options that add more random numbers and state: unlabelled images, a loader worker, accumulation."""
    options = {
        "DATASETS__UNLABELLED": "['fields_test']",
        "DATASETS__UNLABELLED_SHARE": 0.4,
        "DATALOADER__NUM_WORKERS": 1,
        "SOLVER__WARMUP_ITERS": 0,
        "SOLVER__ACCUMULATE": 2,
        "MODEL__CLIP__LR_MULTIPLIER": 1.0,
    }
    return options_of(run_options, **{**options, **changes})


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_all_processes_saves_and_the_resumed_run_ends_as_an_uninterrupted_one(
    run_options, tmp_path, checkout, number
):
    options = varied(run_options, tmp_path, SOLVER__CHECKPOINT_PERIOD=1000, SOLVER__MAX_ITER=8, TEST__EVAL_PERIOD=4)
    folder, log = output_of(options), tmp_path / "log"
    process = start_command([*CONFIG, *options], checkout, log)
    wait_until(lambda: (folder / "metrics.json").exists() and len(metrics_of(folder)) >= 2, process)
    os.killpg(process.pid, number)
    assert process.wait(60) == 128 + number, log.read_text()[-2000:]
    steps = len(metrics_of(folder))
    assert f"{number.name}: stopped after step {steps - 1}, with a checkpoint; --resume" in log.read_text()
    assert (folder / "last_checkpoint").read_text() == f"model_{steps - 1:07d}.pth"
    assert train_net.main([*CONFIG, "--resume", *options]) == 0
    # Without workers, because their number must make no difference.
    whole = options_of(options, OUTPUT_DIR=tmp_path / "whole", DATALOADER__NUM_WORKERS=0)
    assert train_net.main([*CONFIG, *whole]) == 0
    assert_same_training(tmp_path / "whole", folder)
    assert [line["iteration"] for line in metrics_of(folder)] == list(range(9))


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_nothing(run_options, tmp_path, checkout):
    """A third of the kills happen while a checkpoint is written; once, the last checkpoint is also truncated."""
    options = varied(run_options, tmp_path, SOLVER__CHECKPOINT_PERIOD=1, SOLVER__MAX_ITER=90, TEST__EVAL_PERIOD=7)
    folder, log = output_of(options), tmp_path / "log"
    draw, killed_writing, moments = random.Random(0), 0, []
    for kill in range(KILLS):
        process = start_command([*CONFIG, "--resume", *options], checkout, log)
        moments.append(killed_at_random(process, folder, draw, writing=kill % 3 == 0))
        assert process.wait(60) == -signal.SIGKILL, (moments, log.read_text()[-2000:])
        killed_writing += any(folder.glob(".model_*.pth"))
        for path in sorted(folder.glob("model_[0-9]*.pth"))[:-3]:
            path.unlink()  # to save disk space
        if kill == KILLS // 2:
            last = folder / (folder / "last_checkpoint").read_text()
            os.truncate(last, last.stat().st_size // 2)
    assert subprocess.Popen.wait(start_command([*CONFIG, "--resume", *options], checkout, log), 600) == 0, moments
    assert killed_writing > 2, moments
    assert "is skipped" in log.read_text()
    assert not list(folder.glob(".model_*"))
    whole = options_of(options, OUTPUT_DIR=tmp_path / "whole", SOLVER__CHECKPOINT_PERIOD=1000)
    assert train_net.main([*CONFIG, *whole]) == 0
    assert_same_training(tmp_path / "whole", folder)
    assert [line["iteration"] for line in metrics_of(folder)] == list(range(91)), moments


def killed_at_random(process: subprocess.Popen, folder: Path, draw: random.Random, writing: bool) -> str:
    """Kill the process after some steps and a pause, while it writes a checkpoint, or while it starts.

    Returns:
        a description of the moment.
    """
    tag = folder / "last_checkpoint"
    seen = [tag.read_text() if tag.exists() else ""]
    left = set(folder.glob(".model_*.pth"))  # by the kill before
    steps, pause = draw.randrange(4), draw.uniform(0, 0.4)

    def advanced() -> bool:
        if tag.exists() and tag.read_text() != seen[-1]:
            seen.append(tag.read_text())
        return len(seen) > steps

    wait_until(advanced, process)
    if writing:
        wait_until(lambda: bool(set(folder.glob(".model_*.pth")) - left), process)
    else:
        time.sleep(pause if steps else draw.uniform(0, 12))
    process.kill()
    return f"after {steps} steps" + (", writing" if writing else f" and {pause:.3f} s")
