"""pyogrio, which reads and writes vector files, imported when one of its names is used.

It imports pandas where that is installed, which takes as long as all other libraries for rasters together.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    import pyogrio

    return getattr(pyogrio, name)
