"""Libraries that only some uses need, imported where they are needed."""

from __future__ import annotations

import importlib
from types import ModuleType

from sgovss.errors import InputError


def library(name: str, purpose: str, extra: str = "notebook") -> ModuleType:
    """Import a library.

    Args:
        name: of the module.
        purpose: what needs it, for the message.
        extra: of sgovss that installs it.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"{purpose} needs {name}: pip install 'sgovss[{extra}]'") from error
