"""The commands and Python examples of the docs work, page by page, with small inputs.

Only ``sgovss`` and Python are run. ``make`` is run by ``.ci/run``, ``pip install`` by tests/test_installed.py; the
commands of ``research`` take hours, and their own tests run them in miniature; those with a word such as FILE cannot be
run. test_blocks.py checks them all.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks
from tests.docs.shell import calls, has_placeholder
from tests.docs.workspace import adapted, variables, write_inputs, write_models

SGOVSS = [sys.executable, "-m", "sgovss"]


def pages_that_run() -> dict[str, list[Block]]:
    pages: dict[str, list[Block]] = {}
    for block in blocks("sh", "python"):
        if block.mark == "run" and (block.language == "python" or re.search(r"^(\w+=\S+ )?sgovss ", block.text, re.M)):
            pages.setdefault(block.page, []).append(block)
    return pages


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_that_run())
def test_page_works(page: str, models: Path, tmp_path: Path) -> None:
    """In the order of the page, since later blocks use what earlier ones wrote."""
    folder = tmp_path / "workspace"
    shutil.copytree(models, folder, copy_function=os.link)
    write_inputs(folder, page)
    for number, block in enumerate(pages_that_run()[page]):
        if block.language == "python":
            run([sys.executable, "-c", f"import sgovss\n{block.text}"], folder, block)
            continue
        places = {name: variables(folder)[name] for name in ("HOME", "DETECTRON2_DATASETS")}
        for program, *arguments in calls(block.text, tmp_path / f"block_{number}", places):
            if program == "sgovss" and not has_placeholder(arguments):
                command = [*SGOVSS, *adapted(arguments)]
                (serve_and_fetch if arguments[0] == "app" else run)(command, folder, block)


def run(command: list[str], folder: Path, block: Block) -> None:
    done = subprocess.run(command, cwd=folder, env=variables(folder), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{block.name}: {command}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
    assert "Traceback" not in done.stderr


def serve_and_fetch(command: list[str], folder: Path, block: Block) -> None:
    server = subprocess.Popen(
        command, cwd=folder, env=variables(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        address = server.stdout.readline().split()[0]
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert answer.status == 200 and b"<html" in answer.read(), block.name
    finally:
        server.terminate()
        started = time.monotonic()
        server.communicate(timeout=60)
        assert time.monotonic() - started < 60
