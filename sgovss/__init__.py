"""Soft-guided open-vocabulary semantic segmentation of remote sensing images, on Detectron2.

A re-implementation from the abstract and figures of An, Wang and Chen, IEEE TGRS 63, 2025
(doi 10.1109/TGRS.2025.3628336). What the paper does not state is our choice.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sgovss.errors import InputError
from sgovss.version import __version__
from sgovss.vocabulary import ClassEntry, Vocabulary

if TYPE_CHECKING:
    from sgovss.config import add_sgovss_config, load_config
    from sgovss.data import register_dataset
    from sgovss.inference.predictor import Predictor
    from sgovss.inference.segmentation import Segmentation

# Detectron2 and torch take seconds to import; they are when one of these is first asked for.
_LAZY = {
    "add_sgovss_config": "sgovss.config",
    "load_config": "sgovss.config",
    "register_dataset": "sgovss.data",
    "Predictor": "sgovss.inference.predictor",
    "Segmentation": "sgovss.inference.segmentation",
}

__all__ = [
    "ClassEntry",
    "InputError",
    "Predictor",
    "Segmentation",
    "Vocabulary",
    "__version__",
    "add_sgovss_config",
    "load_config",
    "register_dataset",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'sgovss' has no attribute '{name}'")
    importlib.import_module("sgovss._detectron2")
    return getattr(importlib.import_module(_LAZY[name]), name)
