"""The files of a published dataset, in folders, in zip or tar archives, or in both.

Members of an archive are read one by one; an archive is never unpacked to a folder. A compressed tar has no index and
cannot be read from the middle, so it is decompressed once, to one temporary file (:mod:`sgovss.data.tar_archives`).
"""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from sgovss import paths
from sgovss.data.suffixes import suffix_pattern
from sgovss.data.tar_archives import TAR_SUFFIXES, Extent, TarIndex
from sgovss.errors import InputError

_BRACES = re.compile(r"\{([^{}]*)\}")
_LARGEST = 2**31  # bytes of one file; a damaged or malicious archive may claim more, no image of a dataset has more
_WILDCARDS = {"*": "[^/]*", "?": "[^/]"}
_READ_ERRORS = (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, KeyError)


class RawFile(NamedTuple):
    """One file, in a folder or inside an archive.

    Attributes:
        path: the file, or the archive that holds it.
        member: its name inside the archive; None for a file in a folder.
        extent: for a member of a tar archive, where its bytes are.
    """

    path: str
    member: str | None = None
    extent: Extent | None = None

    def read(self) -> bytes:
        """Read the content.

        Raises:
            InputError: the file cannot be read or is too large, or the checksum of a member of a zip archive is wrong.
        """
        try:
            if self._size() > _LARGEST:
                raise InputError(
                    f"{self}: larger than {_LARGEST:,} bytes, too large for an image of a dataset; remove it"
                )
            if self.extent is not None:
                return self.extent.read()
            if self.member is None:
                return Path(self.path).read_bytes()
            return _archive(self.path, os.getpid()).read(self.member)
        except _READ_ERRORS as error:
            raise InputError(
                f"{self}: cannot read this file ({error}); get it again from the dataset's source"
            ) from error

    def _size(self) -> int:
        """Size of the content in bytes. :meth:`read` never reads more from an archive."""
        if self.extent is not None:
            return self.extent.size
        if self.member is None:
            return Path(self.path).stat().st_size
        return _archive(self.path, os.getpid()).getinfo(self.member).file_size

    @property
    def stamp(self) -> tuple[int, int]:
        """Size and modification time of the file, or of the archive; they differ if the file was replaced."""
        stat = Path(self.path).stat()
        return stat.st_size, stat.st_mtime_ns

    def __str__(self) -> str:
        return self.path if self.member is None else f"{self.path}!{self.member}"


class RawFiles:
    """The files below a folder. An archive (.zip, .tar, .tar.gz, .tgz) is treated as a folder with its content.

    A pattern selects files by their path, as in a shell: ``*`` matches any part of a name, ``?`` one character. It may
    start at any folder of the path, so an additional folder around the data does not matter, and neither does the case
    of the suffix. The parts in braces are joined to a name, which pairs an image with its label:
    ``Train/{*}/images_png/{*}.png`` matches ``LoveDA/Train/Rural/images_png/7.PNG`` and gives it the name ``Rural_7``.

    Hidden files and links inside tar archives are left out. The temporary files of compressed tar archives are deleted
    together with this object, so keep the object while its files are read.

    Args:
        source: a folder, or one archive.

    Raises:
        InputError: the folder or archive does not exist, or an archive in it cannot be read.
    """

    def __init__(self, source: str | Path) -> None:
        self.source = Path(source).expanduser()
        self._tars: list[TarIndex] = []
        self._files = dict(self._list())

    def find(self, patterns: Sequence[str], without: Sequence[str] = ()) -> dict[str, RawFile]:
        """Find all files that match one of ``patterns`` and none of ``without``.

        Returns:
            Name -> file.

        Raises:
            InputError: two files have the same name; the message gives both.
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

    def with_other_suffixes(self, patterns: Sequence[str], without: Sequence[str]) -> dict[str, RawFile]:
        """Find the files that would match one of ``patterns`` if their suffix were another.

        Args:
            patterns: as for :meth:`find`.
            without: patterns of files that are left out.

        Returns:
            Name -> file.
        """
        loose = [_expression(pattern.removesuffix(_parts(pattern)[1] or "")) for pattern in patterns]
        known = [_expression(pattern) for pattern in (*patterns, *without)]
        found = {}
        for path, file in self._files.items():
            stem = path.removesuffix(Path(path).suffix)
            match = next(filter(None, (expression.search(stem) for expression in loose)), None)
            if match is not None and not any(expression.search(path) for expression in known):
                found["_".join(match.groups())] = file
        return found

    def _list(self) -> Iterator[tuple[str, RawFile]]:
        """Yield each file with the path that patterns are matched against."""
        source = self.source
        if not paths.exists(source):
            raise InputError(
                f"--source {source}: no such folder or archive; name the one that holds the downloaded data"
            )
        files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
        top = source.parent if source.is_file() else source
        for path in files:
            relative = path.relative_to(top)
            if _is_hidden(relative):
                continue
            if path.suffix.lower() == ".zip":
                members = [(name, RawFile(str(path), name)) for name in _zip_members(path)]
            elif path.name.lower().endswith(TAR_SUFFIXES):
                self._tars.append(index := TarIndex(path))
                members = [(name, RawFile(str(path), name, extent)) for name, extent in index.members.items()]
            else:
                yield relative.as_posix(), RawFile(str(path))
                continue
            yield from ((_inside(relative, name), file) for name, file in members if not _is_hidden(Path(name)))


@lru_cache(maxsize=4)
def _archive(path: str, process: int) -> zipfile.ZipFile:
    """An open archive. It stays open, because reading the archive's directory again for each member is slow.

    Each process opens its own, because a handle inherited from the parent process shares the parent's file position.
    """
    return zipfile.ZipFile(path)


def pattern_problem(pattern: str) -> str | None:
    """Check a pattern. Returns one line that describes the problem, or None if the pattern is correct."""
    if not _BRACES.search(pattern):
        return f"'{pattern}' has no {{braces}} around the part that pairs images with labels, as in 'images/{{*}}.png'"
    if set(_BRACES.sub("", pattern)) & set("{}"):
        return f"'{pattern}': braces are not closed"
    if "/" in "".join(_BRACES.findall(pattern)):
        return f"'{pattern}': braces may contain one folder or file name; use separate braces for each"
    return None


def _parts(pattern: str) -> tuple[str, str | None]:
    """A pattern without its suffix, and the suffix, if it has one without wildcards."""
    start, suffix = re.fullmatch(r"(.*?)(\.[^.{}*?/]+)?", pattern, re.DOTALL).groups()  # type: ignore[union-attr]
    return start, suffix


def _expression(pattern: str) -> re.Pattern[str]:
    start, suffix = _parts(pattern)
    parts = re.split(r"([{}*?])", start)
    regex = {"{": "(", "}": ")", **_WILDCARDS}
    ending = suffix_pattern(suffix) if suffix else ""
    return re.compile(r"(?:^|/)" + "".join(regex.get(part, re.escape(part)) for part in parts) + ending + "$")


def _inside(archive: Path, name: str) -> str:
    """Path of a member, as if the archive were the folder that holds it."""
    return (archive.parent / name).as_posix()


def _is_hidden(path: Path) -> bool:
    # Archives made on a Mac contain a hidden file with metadata for each file.
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _zip_members(path: Path) -> list[str]:
    first_part = next(path.parent.glob(f"{path.stem}.z01"), None)
    if first_part is not None:
        raise InputError(
            f"{path}: this archive is split into several files; join them "
            f"(zip -s 0 '{path.name}' --out whole.zip), then move the parts away"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            return [info.filename for info in archive.infolist() if not info.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: cannot read this archive ({error}); get it again from the dataset's source"
        ) from error
