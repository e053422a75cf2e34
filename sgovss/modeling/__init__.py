"""The model. :mod:`sgovss.modeling.registration` registers its parts with Detectron2."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import sgovss._detectron2  # noqa: F401

if TYPE_CHECKING:
    from sgovss.modeling.build import build_model
    from sgovss.modeling.cost_volume import CostVolumeHead
    from sgovss.modeling.image_encoder import CLIPImageEncoder
    from sgovss.modeling.meta_arch import SGOVSS

_LAZY = {
    "CLIPImageEncoder": "sgovss.modeling.image_encoder",
    "CostVolumeHead": "sgovss.modeling.cost_volume",
    "SGOVSS": "sgovss.modeling.meta_arch",
    "build_model": "sgovss.modeling.build",
}

__all__ = ["SGOVSS", "CLIPImageEncoder", "CostVolumeHead", "build_model"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'sgovss.modeling' has no attribute '{name}'")
    return getattr(importlib.import_module(_LAZY[name]), name)
