"""The registry of the subcommands of ``sgovss``, and their entry points.

Each subcommand is a module of this package with ``main(argv) -> int``. This file imports none of them, so that
``sgovss --help`` does not have to wait for PyTorch.
"""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sgovss.allocator import keep_freed_memory
from sgovss.errors import command

# The processes that Detectron2 launches import it before sgovss._detectron2 could silence this warning.
warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated", category=FutureWarning)


_NEGATIVE = re.compile(r"-(\d|\.\d|inf\b|nan\b)", re.IGNORECASE)


class Subcommand(NamedTuple):
    """A subcommand.

    Attributes:
        module: module with ``main(argv) -> int``.
        help: its line in ``sgovss --help``.
        needs_detectron2: whether the module cannot be imported without Detectron2.
        keeps_freed_memory: whether its process restarts with :data:`sgovss.allocator.SETTINGS`.
    """

    module: str
    help: str
    needs_detectron2: bool = True
    keeps_freed_memory: bool = False


SUBCOMMANDS = {
    "segment": Subcommand("sgovss.commands.segment", "segment images and rasters into classes that you name"),
    "words": Subcommand("sgovss.commands.words", "choose the words of classes by labelled images"),
    "app": Subcommand("sgovss.commands.app", "serve a local web page that segments images"),
    "train": Subcommand("sgovss.commands.train", "train a model, or evaluate one", keeps_freed_memory=True),
    "prepare": Subcommand("sgovss.commands.prepare", "convert a published dataset for training", False),
    "check": Subcommand("sgovss.commands.check", "check the files of a prepared dataset", False),
    "evaluate": Subcommand(
        "sgovss.commands.evaluate", "evaluate every checkpoint of a run and name the best", keeps_freed_memory=True
    ),
    "compare": Subcommand("sgovss.commands.compare", "compare the scores of two runs, with their significance"),
    "export": Subcommand("sgovss.commands.export", "export a model to ONNX, torch.export or QGIS"),
    "convert": Subcommand("sgovss.commands.convert", "convert CLIP weights to safetensors, or a model to a folder"),
    "models": Subcommand("sgovss.commands.models", "list the models that can be used, and what was verified with them"),
    "benchmark": Subcommand("sgovss.commands.benchmark", "measure the speed and memory of a model"),
    "install-detectron2": Subcommand(
        "sgovss.commands.install_detectron2", "install Detectron2 into this Python environment", False
    ),
    "version": Subcommand("sgovss.commands.version", "print the versions of sgovss and its main libraries", False),
}


def entry_point(name: str) -> Callable[..., int]:
    """Return the ``main(argv=None) -> int`` of a subcommand. It imports the module of the subcommand when it is called.

    If ``argv`` is None, ``main`` reads the arguments of this process. A subcommand with ``keeps_freed_memory`` then
    restarts the process, so nothing else should have been done in it before.

    Args:
        name: a key of :data:`SUBCOMMANDS`.
    """
    subcommand = SUBCOMMANDS[name]

    @command
    def main(argv: Sequence[str] | None = None) -> int:
        if argv is None and subcommand.keeps_freed_memory:
            keep_freed_memory()
        if subcommand.needs_detectron2:
            importlib.import_module("sgovss._detectron2")  # raises an InputError if it is not installed
        given = sys.argv[1:] if argv is None else argv
        return importlib.import_module(subcommand.module).main(_negative_values_joined(given))

    return main


def _negative_values_joined(arguments: Sequence[str]) -> list[str]:
    """Join options and values such as ``--no-data -3.4e38``, because argparse takes such a value for an option."""
    joined: list[str] = []
    for argument in arguments:
        before = joined[-1] if joined else ""
        if before.startswith("--") and len(before) > 2 and "=" not in before and _NEGATIVE.match(argument):
            joined[-1] = f"{before}={argument}"
        else:
            joined.append(argument)
    return joined
