"""Build the model of a config."""

from __future__ import annotations

from detectron2 import modeling
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY, SEM_SEG_HEADS_REGISTRY
from torch import nn

from sgovss.errors import InputError

_REGISTRIES = {"META_ARCHITECTURE": META_ARCH_REGISTRY, "SEM_SEG_HEAD.NAME": SEM_SEG_HEADS_REGISTRY}


def check_registered(cfg: CfgNode) -> None:
    """Check that the classes named in a config are registered with Detectron2.

    Raises:
        InputError: MODEL.META_ARCHITECTURE or MODEL.SEM_SEG_HEAD.NAME is not registered.
    """
    names = {"META_ARCHITECTURE": cfg.MODEL.META_ARCHITECTURE, "SEM_SEG_HEAD.NAME": cfg.MODEL.SEM_SEG_HEAD.NAME}
    for key, registry in _REGISTRIES.items():
        if names[key] not in registry:
            raise InputError(f"MODEL.{key}: '{names[key]}' is not registered with Detectron2; check its spelling")


def build_model(cfg: CfgNode) -> nn.Module:
    """Build the model of a config on MODEL.DEVICE, in training mode, with its initial weights.

    Raises:
        InputError: see :func:`check_registered` and :func:`sgovss.modeling.clip_loading.load_clip`.
    """
    check_registered(cfg)
    return modeling.build_model(cfg)
