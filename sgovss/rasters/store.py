"""Finished chunks of a scene on disk, so that an interrupted run can continue."""

from __future__ import annotations

import json
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sgovss.errors import InputError
from sgovss.files import atomic_path, write_json_atomically
from sgovss.rasters.grid import Chunk

_SETTINGS = "settings.json"


class ChunkStore:
    """A folder with one file for each finished chunk.

    Args:
        folder: created if it does not exist.
        settings: everything that the content of the chunks depends on. Must be JSON.
        resume: keep the chunks of an earlier run, which must have the same settings; otherwise they are removed.

    Raises:
        InputError: the folder cannot be written to, or the chunks to resume from have other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], resume: bool) -> None:
        self.folder = folder
        settings = json.loads(json.dumps(settings))
        file = folder / _SETTINGS
        if resume and file.is_file():
            found = json.loads(file.read_text(encoding="utf-8"))
            if found != settings:
                changed = next(key for key in sorted({*found, *settings}) if found.get(key) != settings.get(key))
                raise InputError(
                    f"--resume: {folder} was begun with other settings ({changed}); give the same, or leave out "
                    "--resume to start again"
                )
        else:
            shutil.rmtree(folder, ignore_errors=True)
            write_json_atomically(file, settings)

    def has(self, chunk: Chunk) -> bool:
        """Whether a chunk is stored."""
        return self._path(chunk).is_file()

    def save(self, chunk: Chunk, **arrays: np.ndarray) -> None:
        """Write the arrays of a chunk atomically."""
        with atomic_path(self._path(chunk)) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy types **kwargs as its own bool option

    def load(self, chunk: Chunk, name: str) -> np.ndarray:
        """Read one array of a chunk.

        Raises:
            InputError: the file is damaged, for example by a power failure; it is removed.
        """
        path = self._path(chunk)
        try:
            with np.load(path) as content:
                return content[name]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            path.unlink(missing_ok=True)
            raise InputError(f"{path}: was damaged and has been removed; continue with --resume") from error

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, chunk: Chunk) -> Path:
        return self.folder / f"{chunk.strip:04d}_{chunk.row:06d}.npz"
