"""Runs cases in this process, through the command's ``main(argv)``, or as separate processes."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F

from sgovss.allocator import SETTINGS
from sgovss.inference.predictor import Predictor
from sgovss.modeling.text_embedder import TextEmbedder, TextEmbeddings
from sgovss.vocabulary import Vocabulary
from tests.conftest import CHECKOUT
from tests.robustness.case import COMMANDS, MODULES, Case
from tests.robustness.place import Place

LONGEST = 300  # timeout of a process in seconds


class Outcome(NamedTuple):
    """Exit status of a command, and what it wrote to its output and error streams."""

    status: int
    out: str
    err: str


def run_process(case: Case, folder: Path) -> Outcome:
    """Build a case in an empty folder and run its command there as a process."""
    with contextlib.ExitStack() as stack:
        argv = [str(part) for part in case.build(Place(folder, stack))]
        done = subprocess.run(
            [sys.executable, str(CHECKOUT / COMMANDS[case.command]), *argv],
            capture_output=True,
            timeout=LONGEST,
            cwd=folder,
            env=_environment(),
            check=False,
        )
    return _outcome(done.returncode, done.stdout, done.stderr)


def run_processes(places: dict[str, tuple[Case, Path]]) -> dict[str, Outcome]:
    """Run many cases as processes. Each command is imported once, and each case runs in a fork of that process.

    Args:
        places: case and empty folder by name.

    Returns:
        outcome by name.
    """
    with contextlib.ExitStack() as stack:
        jobs: dict[str, dict[str, list[str]]] = defaultdict(dict)
        for case, folder in places.values():
            argv = [str(part) for part in case.build(Place(folder, stack))]
            jobs[case.command][str(folder)] = argv
        servers = []
        for name, argvs in jobs.items():
            forked = str(Path(__file__).with_name("forked.py"))
            command = [sys.executable, forked, str(CHECKOUT / COMMANDS[name]), MODULES[name]]
            servers.append(subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=_environment()))
            servers[-1].stdin.write(json.dumps(argvs))
            servers[-1].stdin.close()
        for server in servers:
            assert server.wait(timeout=2 * LONGEST) == 0
    return {name: _of_fork(folder) for name, (_, folder) in places.items()}


def _environment() -> dict[str, str]:
    # train_net.py restarts itself unless the allocator's settings are in the environment.
    return {**os.environ, **SETTINGS, "OMP_NUM_THREADS": "1", "DETECTRON2_DATASETS": "nowhere"}


def _of_fork(folder: Path) -> Outcome:
    status, out, err = (folder.with_name(f"{folder.name}.{part}").read_bytes() for part in ("status", "out", "err"))
    return _outcome(int(status), out, err)


def _outcome(status: int, out: bytes, err: bytes) -> Outcome:
    return Outcome(status, out.decode(errors="backslashreplace"), err.decode(errors="backslashreplace"))


@pytest.fixture(scope="session")
def kept_predictors() -> Callable[..., Predictor]:
    """Return a cached constructor of predictors: each set of options is built once."""
    return functools.cache(Predictor)


@pytest.fixture
def quick_text(monkeypatch) -> None:
    """Use random embeddings for more than a hundred classes, because the text encoder would take minutes."""
    embed = TextEmbedder._embed

    def embed_few(self: TextEmbedder, vocabulary: Vocabulary) -> TextEmbeddings:
        if len(vocabulary) <= 100:
            return embed(self, vocabulary)
        rows = F.normalize(torch.randn(len(vocabulary), 384, generator=torch.Generator().manual_seed(0)), dim=-1)
        return TextEmbeddings(rows, torch.arange(len(vocabulary)))

    monkeypatch.setattr(TextEmbedder, "_embed", embed_few)


@pytest.fixture
def run_here(kept_predictors, quick_text, monkeypatch) -> Iterator[Callable[[Case, Path], Outcome]]:
    """Return a function that runs a case through ``main(argv)``; models are built once for all cases."""

    def run(case: Case, folder: Path) -> Outcome:
        script = import_module(MODULES[case.command])
        if case.command == "demo":
            monkeypatch.setattr("sgovss.mapping.segmenter.Predictor", kept_predictors)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("DETECTRON2_DATASETS", "nowhere")
        out, err = io.StringIO(), io.StringIO()
        with contextlib.ExitStack() as stack:
            argv = [str(part) for part in case.build(Place(folder, stack))]
            stack.enter_context(contextlib.redirect_stdout(out))
            stack.enter_context(contextlib.redirect_stderr(err))
            status = script.main(argv)
        return Outcome(status, out.getvalue(), err.getvalue())

    return run
