"""The argument parsers of the subcommands."""

from __future__ import annotations

import argparse
import importlib
from unittest import mock

import pytest


class _Parser(BaseException):
    """Raised in the place of parsing."""


def parser_of(module: str) -> argparse.ArgumentParser:
    """The parser that the ``main`` of a module uses."""

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        raise _Parser(parser)

    with mock.patch.object(argparse.ArgumentParser, "parse_args", stop), pytest.raises(_Parser) as found:
        importlib.import_module(module).main([])
    return found.value.args[0]
