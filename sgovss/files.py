"""Files that are either whole or absent, and folders that one run at a time writes to."""

from __future__ import annotations

import fcntl
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
        raise InputError(_unwritable(path.parent, error)) from error
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def sole_run(folder: str | Path, lock: str = ".lock") -> Iterator[None]:
    """Keep an output folder, which is created, for one run at a time.

    The lock is the operating system's: it ends with the process, however that ends. Its empty file stays.

    Args:
        lock: name of that file; runs with different ones do not disturb each other.

    Raises:
        InputError: another run has the folder, or it cannot be created or written to.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / lock).open("w")
    except OSError as error:
        raise InputError(_unwritable(folder, error)) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{folder}: another run is writing here; wait for its end, or give another output folder"
            ) from error
        except OSError:
            pass  # some network file systems have no locks
        yield


def write_json_atomically(path: str | Path, content: object, indent: int | None = 2) -> None:
    """Write ``content`` as strict JSON (UTF-8).

    Raises:
        InputError: the folder cannot be written to.
        ValueError: a number is NaN or infinite, which JSON cannot hold; use None.
    """
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=indent, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def _unwritable(folder: Path, error: OSError) -> str:
    return f"{folder}: cannot write here ({error.strerror}); choose another output folder"
