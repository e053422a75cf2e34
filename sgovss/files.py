"""Files that are either whole or absent: an interrupted run leaves nothing half-written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sgovss.errors import InputError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary neighbour of ``path`` to write to; it takes the name ``path`` when the block ends well.

    Missing folders are created. The neighbour keeps the suffix, because writers choose a format by it.

    Raises:
        InputError: the folder cannot be created or written to.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot write here ({error.strerror}); choose another output folder"
        ) from error
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json_atomically(path: str | Path, content: object, indent: int | None = 2) -> None:
    """Write ``content`` as strict JSON (UTF-8).

    Raises:
        InputError: the folder cannot be written to.
        ValueError: a number is NaN or infinite, which JSON cannot hold; use None.
    """
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=indent, ensure_ascii=False, allow_nan=False)
        file.write("\n")
