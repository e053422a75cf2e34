"""Atomic writing of files, and locks of output folders."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import shutil
import uuid
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sgovss.errors import InputError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it is renamed to ``path`` if the block succeeds, else deleted.

    The content is on the disk before the file gets its name, so that a power failure does not leave a part of it.
    Missing folders are created. The temporary file is in the same folder and has the same suffix, because writers
    choose a format by the suffix. Who may read the file is as the umask says, whatever the writer sets: safetensors
    lets only the owner read its files.

    Raises:
        InputError: the folder cannot be created or written to.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        mode = partial.stat().st_mode
    except OSError as error:
        raise InputError(_unwritable(path.parent, error)) from error
    try:
        yield partial
        if partial.stat().st_mode != mode:
            partial.chmod(mode)
        replace_durably(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def replace_durably(partial: Path, path: Path) -> None:
    """Rename a file of the same file system, after its content is on the disk, and keep the new name there too."""
    synchronize(partial)
    partial.replace(path)
    synchronize(path.parent)


def allocate(path: Path, size: int | None = None) -> None:
    """Reserve the space of a file of so many bytes; by default of its size. It is created if it does not exist.

    A program that writes to a file through a memory map is killed where the disk is full. This fails before. macOS and
    Windows reserve nothing here; it is only checked that so much is free.

    Raises:
        OSError: there is not enough space.
    """
    with path.open("ab") as file:
        there = path.stat().st_size
        size = there if size is None else size
        if size and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        elif size:
            if size > shutil.disk_usage(path.parent).free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            file.truncate(max(size, there))


def synchronize(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    folder = path.is_dir()
    try:
        # Windows opens no folders, and synchronises only what is open for writing.
        descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    except PermissionError:
        if folder:
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot synchronise folders
            raise
    finally:
        os.close(descriptor)


@contextmanager
def sole_run(folder: str | Path, lock: str = ".lock") -> Iterator[None]:
    """Lock an output folder for the duration of the block; create the folder if needed.

    The lock belongs to the operating system, so it ends with the process, even after a crash. Its empty file remains.
    On Windows there is no lock.

    Args:
        folder: the folder.
        lock: name of the lock file; runs with different lock files may use the folder at the same time.

    Raises:
        InputError: another run has the lock, or the folder cannot be created or written to.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / lock).open("w")
    except OSError as error:
        raise InputError(_unwritable(folder, error)) from error
    _closed_in_forks().add(file)
    with file:
        if not _lock(file):
            raise InputError(
                f"{folder}: another run is writing here; wait until it ends, or give another output folder"
            )
        yield


@functools.cache  # a function that is registered stays for ever, and a process may have thousands of runs
def _closed_in_forks() -> weakref.WeakSet[IO[str]]:
    """Open files that forked processes close.

    Such processes, as loader workers, inherit the file of a lock. They may outlive a killed run by seconds, and would
    keep its lock.
    """
    files: weakref.WeakSet[IO[str]] = weakref.WeakSet()

    def close() -> None:
        for file in [*files]:
            file.close()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=close)
    return files


def _lock(file: IO[str]) -> bool:
    """Lock an open file; return whether no other process has locked it.

    Nothing is locked on Windows, which has no ``fcntl``, and on network file systems without locks.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def sha256(path: Path) -> str:
    """The digest of a file of any size, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_json_atomically(path: str | Path, content: object, indent: int | None = 2) -> None:
    """Write ``content`` as strict JSON in UTF-8, atomically.

    Raises:
        InputError: the folder cannot be written to.
        ValueError: a number is NaN or infinite, which JSON does not allow; use None instead.
    """
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=indent, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def _unwritable(folder: Path, error: OSError) -> str:
    return f"{folder}: cannot write here ({error.strerror}); choose another output folder"
