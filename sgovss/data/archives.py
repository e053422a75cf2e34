"""The files of a published dataset where the user put them: in folders, in zip archives, or in both."""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from sgovss.errors import InputError

_BRACES = re.compile(r"\{([^{}]*)\}")
_LARGEST = 2**31  # bytes of a file: no image of a dataset has more, an archive of a few kilobytes may say so
_WILDCARDS = {"*": "[^/]*", "?": "[^/]"}


class RawFile(NamedTuple):
    """One file, in a folder or inside an archive.

    Attributes:
        path: the file, or the archive that holds it.
        member: its name inside the archive; None for a file in a folder.
    """

    path: str
    member: str | None = None

    def read(self) -> bytes:
        """Its content.

        Raises:
            InputError: it cannot be read; for a member of an archive this includes a wrong checksum.
        """
        try:
            if self._size() > _LARGEST:
                raise InputError(f"{self}: larger than {_LARGEST:,} bytes, which no image of a dataset is; remove it")
            if self.member is None:
                return Path(self.path).read_bytes()
            return _archive(self.path, os.getpid()).read(self.member)
        except (
            OSError,
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            RuntimeError,
            NotImplementedError,
            KeyError,
        ) as error:
            raise InputError(
                f"{self}: cannot read this file ({error}); get it again from the dataset's source"
            ) from error

    def _size(self) -> int:
        """Bytes of its content; of a member no more are read than its archive says here."""
        if self.member is None:
            return Path(self.path).stat().st_size
        return _archive(self.path, os.getpid()).getinfo(self.member).file_size

    @property
    def stamp(self) -> tuple[int, int]:
        """Size and time of change of the file, or of the archive: another stamp is another file."""
        stat = Path(self.path).stat()
        return stat.st_size, stat.st_mtime_ns

    def __str__(self) -> str:
        return self.path if self.member is None else f"{self.path}!{self.member}"


class RawFiles:
    """The files below a folder; zip archives count as folders of their content.

    A pattern names files by their path, as in a shell: ``*`` for any part of a name, ``?`` for one character, and
    it may begin anywhere in the path, so that a folder around everything does no harm. What stands in braces is
    the file's name as one of a pair: ``Train/{*}/images_png/{*}.png`` matches ``LoveDA/Train/Rural/images_png/7.png``
    and calls it ``Rural_7``.

    Args:
        source: a folder, or one archive.

    Raises:
        InputError: there is no such folder or archive, or an archive in it cannot be read.
    """

    def __init__(self, source: str | Path) -> None:
        self.source = Path(source).expanduser()
        self._files = dict(_list(self.source))

    def find(self, patterns: Sequence[str], without: Sequence[str] = ()) -> dict[str, RawFile]:
        """Name to file of all that match one of ``patterns`` and none of ``without``.

        Raises:
            InputError: two files have one name; says which.
        """
        wanted, unwanted = [list(map(_expression, some)) for some in (patterns, without)]
        found: dict[str, RawFile] = {}
        for path, file in self._files.items():
            match = next(filter(None, (expression.search(path) for expression in wanted)), None)
            if match is None or any(expression.search(path) for expression in unwanted):
                continue
            name = "_".join(match.groups())
            if name in found:
                raise InputError(f"{found[name]} and {file} are both '{name}'; keep one of them")
            found[name] = file
        return found


@lru_cache(maxsize=4)
def _archive(path: str, process: int) -> zipfile.ZipFile:
    """An open archive: reading its directory anew for each of its thousands of files would take hours.

    Of one process only, because a handle inherited from a parent shares its position.
    """
    return zipfile.ZipFile(path)


def pattern_problem(pattern: str) -> str | None:
    """What is wrong with a pattern, in one line; None if nothing is."""
    if not _BRACES.search(pattern):
        return f"'{pattern}' has no {{braces}} around the part that pairs images with labels, as in 'images/{{*}}.png'"
    if set(_BRACES.sub("", pattern)) & set("{}"):
        return f"'{pattern}': braces are not closed"
    if "/" in "".join(_BRACES.findall(pattern)):
        return f"'{pattern}': braces hold one folder or file name; use a pair for each"
    return None


def _expression(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"([{}*?])", pattern)
    words = {"{": "(", "}": ")", **_WILDCARDS}
    return re.compile(r"(?:^|/)" + "".join(words.get(part, re.escape(part)) for part in parts) + "$")


def _list(source: Path) -> Iterator[tuple[str, RawFile]]:
    """Path, as patterns see it, and file."""
    if not source.exists():
        raise InputError(f"--source {source}: no such folder or archive; name the one that holds the downloaded data")
    files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    top = source.parent if source.is_file() else source
    for path in files:
        relative = path.relative_to(top)
        if any(part.startswith(".") for part in relative.parts):
            continue
        if path.suffix.lower() == ".zip":
            yield from _members(path, relative)
        else:
            yield relative.as_posix(), RawFile(str(path))


def _members(path: Path, relative: Path) -> Iterator[tuple[str, RawFile]]:
    first_part = next(path.parent.glob(f"{path.stem}.z01"), None)
    if first_part is not None:
        raise InputError(
            f"{path}: one archive in several parts; join them (zip -s 0 '{path.name}' --out whole.zip), then move the "
            "parts away"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: cannot read this archive ({error}); get it again from the dataset's source"
        ) from error
    for name in names:
        # Archives made on a Mac carry a hidden companion for each file.
        if not any(part.startswith(".") or part == "__MACOSX" for part in Path(name).parts):
            yield (relative.parent / name).as_posix(), RawFile(str(path), name)
