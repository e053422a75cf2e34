"""Commands of shell blocks: a shell expands the block, with stand-ins that record their arguments for all programs."""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from unittest import mock

from packaging.requirements import Requirement

from sgovss.commands import SUBCOMMANDS, entry_point
from sgovss.config import load_config
from tests.docs.blocks import CHECKOUT

_STAND_IN = r"""#!/bin/sh
{ printf '%s\000' "${0##*/}" "$@"; printf '\001'; } >> "$CALLS"
"""

PLACES = {"DETECTRON2_DATASETS": "/data", "HOME": "/home/me"}


def calls(text: str, folder: Path, places: Mapping[str, str] = PLACES) -> list[list[str]]:
    """Name and arguments of each program that a shell script starts.

    Args:
        text: the script. It may start the programs in :data:`CHECKS` only.
        folder: an empty folder for the stand-ins.
        places: environment variables that the script uses.
    """
    programs = folder / "programs"
    programs.mkdir(parents=True)
    for name in CHECKS:
        (programs / name).write_text(_STAND_IN)
        (programs / name).chmod(0o755)
    record = folder / "calls"
    record.touch()
    variables = {"PATH": str(programs), "CALLS": str(record), **places}
    script = text.replace(".venv/bin/", "")
    done = subprocess.run(["/bin/sh", "-eu", "-c", script], cwd=folder, env=variables, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), f"{text}\n{done.stderr}"
    return [call.split("\0")[:-1] for call in record.read_text().split("\1")[:-1]]


class _Parsed(BaseException):
    """Raised by a parser in the place of the work that follows."""


def parsed(main: Callable[[Sequence[str]], object], arguments: Sequence[str]) -> argparse.Namespace:
    """What the parser of a command makes of arguments. The command does not go on.

    Raises:
        AssertionError: the parser refuses them.
    """
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, args: Sequence[str] | None = None, namespace: object = None) -> None:
        raise _Parsed(parse(parser, args, namespace))

    with mock.patch.object(argparse.ArgumentParser, "parse_args", stop):
        try:
            main(list(arguments))
        except _Parsed as result:
            return result.args[0]
        except SystemExit as refusal:
            raise AssertionError(f"{arguments} ends with status {refusal.code}") from None
    raise AssertionError(f"{arguments} are not parsed")


def has_placeholder(arguments: Sequence[str]) -> bool:
    """Whether a word in capitals, such as FILE, stands for something of the user's."""
    return any(re.fullmatch("[A-Z]{2,}", word) for word in arguments)


def check_sgovss(arguments: list[str], folder: Path) -> None:
    """The subcommand exists, its parser takes the options, and the config takes its keys and values."""
    name, *rest = arguments
    if name.startswith("-"):
        assert name in ("--help", "--version")
        return
    assert name in SUBCOMMANDS
    if any(option in rest for option in ("--help", "-h")):
        return
    options = parsed(entry_point(name), rest)
    if str(getattr(options, "config_file", "")).endswith(".yaml"):
        load_config(options.config_file, getattr(options, "opts", None) or [])


def check_python(arguments: list[str], folder: Path) -> None:
    """The module exists, and if it is ours its parser takes the options; the files of pytest exist."""
    assert arguments[0] == "-m", arguments
    _, name, *rest = arguments
    if name == "pytest":
        paths = [word for word in rest if "/" in word]
        assert all((CHECKOUT / path).exists() for path in paths), paths
        return
    if name.split(".")[0] not in ("sgovss", "research"):
        assert importlib.util.find_spec(name), name
        return
    module = importlib.import_module(name)
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"{name}.__main__")
    parsed(module.main, rest)


def check_make(arguments: list[str], folder: Path) -> None:
    """The Makefile has the targets."""
    targets = re.findall(r"^([\w-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert {word for word in arguments if "=" not in word} <= set(targets)


def check_pip(arguments: list[str], folder: Path) -> None:
    """``pip install`` of the checkout, or of sgovss, with extras that exist."""
    assert arguments[0] == "install"
    setup = (CHECKOUT / "setup.py").read_text()
    for word in arguments[1:]:
        for extra in Requirement(word.replace(".[", "sgovss[")).extras - {"all"}:
            assert f'"{extra}": ' in setup, extra


def check_dask(arguments: list[str], folder: Path) -> None:
    """Dask's own command line takes the options."""
    name, *rest = arguments
    command = importlib.import_module(f"distributed.cli.dask_{name}").main
    command.make_context(name, rest)


def check_sbatch(arguments: list[str], folder: Path) -> None:
    """The commands of ``--wrap``."""
    check_script(arguments[arguments.index("--wrap") + 1], folder / "wrapped")


def check_launched(arguments: list[str], folder: Path) -> None:
    """The command of sgovss that a launcher starts; the launcher's own options are not checked."""
    check_sgovss(arguments[arguments.index("sgovss") + 1 :], folder)


def check_pre_commit(arguments: list[str], folder: Path) -> None:
    """Its config exists."""
    assert arguments == ["install"] and (CHECKOUT / ".pre-commit-config.yaml").is_file()


CHECKS = {
    "sgovss": check_sgovss,
    "python": check_python,
    "make": check_make,
    "pip": check_pip,
    "dask": check_dask,
    "sbatch": check_sbatch,
    "srun": check_launched,
    "torchrun": check_launched,
    "pre-commit": check_pre_commit,
}


def check_script(text: str, folder: Path) -> None:
    """Check every command of a script.

    Raises:
        AssertionError: the shell, or a command, refuses it.
    """
    for program, *arguments in calls(text, folder):
        CHECKS[program](arguments, folder)
