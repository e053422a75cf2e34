"""What the trainer says and saves when it resumes a run, without training."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from sgovss.engine import trainer as module
from sgovss.engine.trainer import Trainer

NOTHING_TO_RESUME = "--resume: no checkpoint in runs/a, so training starts with the first step"
NOTHING_LEFT = "--resume: nothing left to train, because runs/a has a checkpoint after step 10 and SOLVER.MAX_ITER is"


class Checkpoints:
    """A folder of checkpoints, the last of which is written after some step; None for an empty folder."""

    def __init__(self, done: int | None) -> None:
        self.done = done
        self.saved: list[tuple[str, int]] = []

    def has_checkpoint(self) -> bool:
        return self.done is not None

    def resume_or_load(self, path: str, *, resume: bool) -> dict[str, int]:
        return {"iteration": self.done - 1} if resume and self.done is not None else {}

    def save(self, name: str, iteration: int) -> None:
        self.saved.append((name, iteration))


def resumed(monkeypatch, done: int | None, steps: int, resume: bool, first: bool) -> Trainer:
    monkeypatch.setattr(module.comm, "is_main_process", lambda: first)
    trainer = Trainer.__new__(Trainer)
    trainer.cfg = SimpleNamespace(MODEL=SimpleNamespace(WEIGHTS=""), OUTPUT_DIR="runs/a")
    trainer.checkpointer, trainer.max_iter, trainer.start_iter = Checkpoints(done), steps, 0
    trainer.iter = -1 if done is None else done - 1
    trainer.resume_or_load(resume)
    return trainer


@pytest.mark.parametrize(
    ("done", "steps", "resume", "message"),
    [
        (None, 10, False, ""),
        (None, 10, True, NOTHING_TO_RESUME),
        (9, 10, True, ""),
        (10, 10, True, f"{NOTHING_LEFT} 10; raise SOLVER.MAX_ITER to train on"),
        (10, 4, True, f"{NOTHING_LEFT} 4; raise SOLVER.MAX_ITER to train on"),
        (10, 10, False, ""),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_the_first_process_says_what_resuming_finds(monkeypatch, caplog, done, steps, resume, message, first):
    with caplog.at_level(logging.INFO):
        trainer = resumed(monkeypatch, done, steps, resume, first)
    assert trainer.start_iter == (done if resume and done else 0)
    assert (message in caplog.text) if message and first else not caplog.text


@pytest.mark.parametrize(
    ("done", "steps", "resume", "saved"),
    [
        (None, 10, True, []),
        (9, 10, True, []),
        (10, 10, True, [("model_final", 9)]),
        (10, 4, True, [("model_final", 9)]),
        (10, 10, False, []),
        (None, 0, True, []),  # nothing was trained at all
        (1, 0, True, [("model_final", 0)]),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_the_weights_of_a_finished_run_are_saved_again(monkeypatch, done, steps, resume, saved, first):
    """A process may have ended after its last numbered checkpoint."""
    trainer = resumed(monkeypatch, done, steps, resume, first)
    assert trainer.checkpointer.saved == (saved if first else [])
