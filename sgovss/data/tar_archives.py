"""Index of the members of tar archives; compressed archives are first decompressed to a temporary file.

A tar archive has no directory, and a compressed one can only be read from its start: each access to a member would
decompress everything before it. So a compressed archive is decompressed once, to a temporary file that is as large as
its content. Then each member is a range of bytes in one file, which any process can read.
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import weakref
import zlib
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from sgovss.errors import InputError
from sgovss.paths import cache_folder

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_PIECE = 2**23  # bytes decompressed at a time
_RESERVE = 2**30  # bytes that must stay free on the disk
_BLOCK = 512  # bytes; a tar archive ends with blocks of zeros


class Extent(NamedTuple):
    """A range of bytes in a file."""

    path: str
    offset: int
    size: int

    def read(self) -> bytes:
        """Read the bytes.

        Raises:
            OSError: the file cannot be read.
            EOFError: it ends within the range.
        """
        with Path(self.path).open("rb") as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise EOFError("the archive ends within this file")
        return content


class TarIndex:
    """The regular files in a tar archive.

    Attributes:
        members: name -> position of the file's bytes. If several files have the same name, the last one counts, as when
            an archive is unpacked.

    Args:
        path: the archive. One that ends with .gz or .tgz is decompressed to a temporary file below
            :func:`sgovss.paths.cache_folder`, which is deleted with this object, or when the process ends.

    Raises:
        InputError: the archive is damaged, or the disk has no room for the temporary file.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() == ".tar":
            self.members = _members(path, path)
            return
        folder = _temporary_folder()
        delete = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        try:
            self.members = _members(path, _decompressed(path, folder))
        except InputError:
            delete()
            raise


def _temporary_folder() -> Path:
    parent = cache_folder()
    try:
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="unpacked-", dir=parent))
    except OSError as error:
        raise InputError(
            f"{parent}: cannot write here ({error.strerror}); set SGOVSS_CACHE to another folder"
        ) from error


def _decompressed(path: Path, folder: Path) -> Path:
    """Decompress a gzip file to a file in ``folder``; returns that file."""
    plain = folder / "content.tar"
    try:
        with (
            plain.open("wb") as target,
            path.open("rb") as compressed,
            gzip.open(compressed) as source,
            tqdm(total=path.stat().st_size, desc=f"decompressing {path.name}", unit="B", unit_scale=True) as progress,
        ):
            while piece := source.read(_PIECE):
                if shutil.disk_usage(folder).free < _RESERVE + len(piece):
                    raise InputError(
                        f"{path}: no room to decompress it in {folder.parent}; unpack it to a folder and give that as "
                        "--source, or set SGOVSS_CACHE to a folder on another disk"
                    )
                target.write(piece)
                progress.update(compressed.tell() - progress.n)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error
    return plain


def _members(path: Path, plain: Path) -> dict[str, Extent]:
    """Name -> bytes of each regular file in ``plain``, which is the uncompressed content of the archive ``path``."""
    members = {}
    try:
        with tarfile.open(plain, "r:") as archive:
            for member in archive:
                # Links and devices have no content; the content of a sparse file is in pieces.
                if member.isreg() and not member.issparse():
                    members[member.name] = Extent(str(plain), member.offset_data, member.size)
            end = archive.offset
        # tarfile mistakes a damaged header for the end of the archive and raises no error.
        if set(Extent(str(plain), end, _BLOCK).read()) != {0}:
            raise tarfile.ReadError("damaged after its first files")
    except (OSError, EOFError, tarfile.TarError, ValueError, OverflowError) as error:
        raise _unreadable(path, error) from error
    return members


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: cannot read this archive ({error}); get it again from the dataset's source")
