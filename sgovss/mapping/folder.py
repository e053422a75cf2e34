"""Temporary folders that live as long as the results in them."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path


class OwnedFolder:
    """A temporary folder, which is removed when nothing refers to this object any longer, or the process ends.

    Attributes:
        path: of the folder.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="sgovss-"))
        self._remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def remove(self) -> None:
        """Remove the folder now."""
        self._remove()
