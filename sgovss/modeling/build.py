"""Build the model of a config."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode
from torch import nn

from sgovss.errors import InputError
from sgovss.modeling.cost_volume import CostVolumeHead
from sgovss.modeling.meta_arch import SGOVSS

_OWN = {"META_ARCHITECTURE": SGOVSS.__name__, "SEM_SEG_HEAD.NAME": CostVolumeHead.__name__}


def check_registered(cfg: CfgNode) -> None:
    """Check that the classes named in a config are those of sgovss, or are registered with Detectron2.

    Raises:
        InputError: MODEL.META_ARCHITECTURE or MODEL.SEM_SEG_HEAD.NAME is not registered.
    """
    names = _names(cfg)
    if names == _OWN:
        return
    from sgovss.modeling.registration import REGISTRIES

    for key, name in names.items():
        if name not in REGISTRIES[key]:
            raise InputError(f"MODEL.{key}: '{name}' is not registered with Detectron2; check its spelling")


def build_model(cfg: CfgNode) -> nn.Module:
    """Build the model of a config on MODEL.DEVICE, in training mode, with its initial weights.

    Raises:
        InputError: see :func:`check_registered` and :func:`sgovss.modeling.clip_models.load_clip`.
    """
    check_registered(cfg)
    if _names(cfg)["META_ARCHITECTURE"] == SGOVSS.__name__:
        return SGOVSS(cfg).to(torch.device(cfg.MODEL.DEVICE))
    from detectron2 import modeling

    return modeling.build_model(cfg)


def _names(cfg: CfgNode) -> dict[str, str]:
    return {"META_ARCHITECTURE": cfg.MODEL.META_ARCHITECTURE, "SEM_SEG_HEAD.NAME": cfg.MODEL.SEM_SEG_HEAD.NAME}
