"""Open-vocabulary semantic segmentation of remote sensing images, as an extension of Detectron2.

A re-implementation of An, Wang and Chen, IEEE TGRS 63, 2025 (doi 10.1109/TGRS.2025.3628336), from the paper's abstract
and figures. Details that the paper does not give are choices of this implementation.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sgovss.errors import InputError
from sgovss.version import __version__

if TYPE_CHECKING:
    from sgovss.config import add_sgovss_config, load_config
    from sgovss.data import register_dataset
    from sgovss.inference.predictor import Predictor
    from sgovss.inference.segmentation import Segmentation
    from sgovss.mapping.call import segment
    from sgovss.vocabulary import ClassEntry, Vocabulary

# Imported at first use: NumPy, PyTorch and Detectron2 take seconds to import.
_LAZY = {
    "ClassEntry": "sgovss.vocabulary",
    "Predictor": "sgovss.inference.predictor",
    "Segmentation": "sgovss.inference.segmentation",
    "Vocabulary": "sgovss.vocabulary",
    "add_sgovss_config": "sgovss.config",
    "load_config": "sgovss.config",
    "register_dataset": "sgovss.data",
    "segment": "sgovss.mapping.call",
}
_WITHOUT_DETECTRON2 = ("sgovss.vocabulary",)

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
    "segment",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'sgovss' has no attribute '{name}'")
    module = _LAZY[name]
    if module not in _WITHOUT_DETECTRON2:
        importlib.import_module("sgovss._detectron2")
    if name == "add_sgovss_config":  # for scripts that let Detectron2 build the model
        importlib.import_module("sgovss.modeling.registration")
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted(__all__)
