"""Registers the parts of the model with Detectron2, whose own functions then find them by name.

:func:`sgovss.modeling.build_model` does not need it; Detectron2's registries take longer to import than PyTorch.
"""

from __future__ import annotations

from sgovss._detectron2 import quiet_import

with quiet_import():
    from detectron2.modeling import META_ARCH_REGISTRY, SEM_SEG_HEADS_REGISTRY, Backbone

from sgovss.modeling.cost_volume import CostVolumeHead
from sgovss.modeling.image_encoder import CLIPImageEncoder
from sgovss.modeling.meta_arch import SGOVSS

META_ARCH_REGISTRY.register(SGOVSS)
SEM_SEG_HEADS_REGISTRY.register(CostVolumeHead)
Backbone.register(CLIPImageEncoder)

REGISTRIES = {"META_ARCHITECTURE": META_ARCH_REGISTRY, "SEM_SEG_HEAD.NAME": SEM_SEG_HEADS_REGISTRY}
"""Detectron2's registries by the config key, below MODEL, that names one of their entries."""
