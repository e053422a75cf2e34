"""Reading of YAML that sgovss wrote or ships."""

from __future__ import annotations

from typing import Any

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C loader, if PyYAML has it, because every command reads dozens of files and configs when it starts."""


def load_yaml(text: str) -> Any:
    """The content of a text of YAML.

    Raises:
        yaml.YAMLError: it is none.
    """
    return yaml.load(text, Loader=LOADER)
