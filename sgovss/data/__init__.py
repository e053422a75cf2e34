"""Datasets: specifications, registration with Detectron2, the dataset mapper, preparation, checks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgovss.data.registration import register_dataset, register_datasets
    from sgovss.data.specification import DatasetSpecification
    from sgovss.data.specification_file import load_specification

# Imported on first use: registration imports Detectron2, which preparation does not need.
_LAZY = {
    "DatasetSpecification": "sgovss.data.specification",
    "load_specification": "sgovss.data.specification_file",
    "register_dataset": "sgovss.data.registration",
    "register_datasets": "sgovss.data.registration",
}

__all__ = ["DatasetSpecification", "load_specification", "register_dataset", "register_datasets"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'sgovss.data' has no attribute '{name}'")
    return getattr(importlib.import_module(_LAZY[name]), name)
