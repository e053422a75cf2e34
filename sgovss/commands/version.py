"""Print the versions of sgovss and of the libraries that its results depend on, and which extras are installed.

example:
  sgovss version
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import warnings
from collections.abc import Sequence

from packaging.requirements import Requirement

from sgovss.errors import command
from sgovss.version import __version__

_LIBRARIES = {"torch": "torch", "Detectron2": "detectron2", "open_clip": "open_clip"}
_REMEDIES = {"Detectron2": "sgovss install-detectron2"}


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sgovss version``; returns its exit status."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(argv)
    print(f"sgovss {__version__}")
    for name, module in _LIBRARIES.items():
        print(f"{name} {_version_of(module) or _not_installed(name)}")
    print(f"device: {_device()}")
    for extra, missing in _missing_by_extra().items():
        print(f"extra {extra}: {_state(missing)}")
    return 0


def _state(missing: Sequence[str]) -> str:
    return f"not installed, needs {', '.join(missing)}" if missing else "installed"


def _version_of(module: str) -> str | None:
    """The version of a library, or None if it cannot be imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(module).__version__
        except ImportError:
            return None


def _not_installed(name: str) -> str:
    remedy = _REMEDIES.get(name)
    return f"not installed; run '{remedy}'" if remedy else "not installed"


def _device() -> str:
    """The device that models run on by default."""
    try:
        import torch
    except ImportError:
        return "unknown, since torch is not installed"
    if torch.cuda.is_available():
        return f"cuda ({torch.cuda.get_device_name()})"
    return f"cpu ({torch.get_num_threads()} threads)"


def _missing_by_extra() -> dict[str, list[str]]:
    """Return the missing or outdated requirements of each extra; nothing if sgovss itself is not installed."""
    try:
        metadata = importlib.metadata.metadata("sgovss")
    except importlib.metadata.PackageNotFoundError:
        return {}
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist") or ()]
    return {
        extra: sorted({item.name for item in requirements if _applies(item, extra) and not _is_satisfied(item)})
        for extra in metadata.get_all("Provides-Extra") or ()
        if extra != "all"
    }


def _applies(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement is one of this extra's rather than of sgovss itself."""
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


def _is_satisfied(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(importlib.metadata.version(requirement.name), prereleases=True)
    except importlib.metadata.PackageNotFoundError:
        return False
